/** @file Chapter 10 beside the library: its formulas are what `adapt` reports, and a model's answer is its likeliest mood. */
import {
  adapt,
  answeredMoods,
  findExercise,
  moods,
  startBackend,
  theCourse,
  tokensTensor,
  Transformer,
  type AdaptationOptions,
  type MoodExample,
} from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { countTrained } from '../../solutions/10-peft.ts';

beforeAll(async () => {
  await startBackend();
});

const [layers, width, size, tokens] = [3, 12, 5, 4] as const;
const make = (): Transformer => new Transformer({ vocabSize: 19, contextLength: 16, layers, width, heads: 2, seed: 2 }).eval();

describe('what is trained', () => {
  it.each<[keyof ReturnType<typeof countTrained>, AdaptationOptions]>([
    ['lora', { method: 'lora', rank: size }],
    ['adapters', { method: 'houlsby', size }],
    ['bitfit', { method: 'bitfit' }],
    ['prompt', { method: 'prompt', tokens }],
    ['prefix', { method: 'prefix', tokens }],
  ])('%s: the formula is what is reported', (name, options) => {
    const { trainable } = adapt(make(), options).report();
    const { countTrained: library } = findExercise('10.1', theCourse()).exercise.library as {
      countTrained: typeof countTrained;
    };
    expect(countTrained(layers, width, size, tokens)[name]).toBe(trainable);
    expect(library(layers, width, size, tokens)[name]).toBe(trainable);
  });
});

describe('answered moods', () => {
  it('are the likeliest of the three tokens behind each prompt, however long the others are', async () => {
    const model = make();
    const moodTokens = [7, 3, 12];
    const examples = Array.from({ length: 9 }, (_, i): MoodExample => ({
      sentence: '',
      mood: 'neutral',
      prompt: Array.from({ length: 2 + ((5 * i) % 9) }, (__, t) => (i * i + 3 * t) % 19),
      completion: [3],
    }));
    const alone: string[] = [];
    for (const { prompt } of examples) {
      const logits = await model.forward(tokensTensor(Int32Array.from(prompt), [1, prompt.length], 19)).data();
      const own = moodTokens.map((token) => logits[(prompt.length - 1) * 19 + token]!);
      alone.push(moods[own.indexOf(Math.max(...own))]!);
    }
    expect(new Set(alone).size).toBeGreaterThan(1);
    expect(await answeredMoods(model, { moodTokens }, examples)).toEqual(alone);
  });
});
