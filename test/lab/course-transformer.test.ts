/**
 * @file Chapter 04 in the real model: the solutions, plugged in, train and sample exactly as the library does.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { CharacterTokenizer, generate, presets, randomBatches, startBackend, tf, TokenDataset, train, Transformer } from 'lab';
import type { Assembly, Chapter, TransformerPreset } from 'lab';
import * as solutions from '../../solutions/04-transformer.ts';

const small = { contextLength: 16, layers: 2, width: 24, heads: 2 };
const families: Record<string, TransformerPreset> = {
  'nano, without biases': { ...presets.nano, ...small },
  'GPT-2, with biases and dropout': { ...presets.gpt2, ...small, dropout: 0.2 },
  'Llama': { ...presets.llama, ...small, hiddenSize: 40 },
};
const text = 'the cat sat on the mat; the dog sat on the log. '.repeat(40);
const tokenizer = CharacterTokenizer.train(text);
const dataset = new TokenDataset(tokenizer.encode(text), tokenizer.vocabSize);
let chapter: Chapter;

beforeAll(async () => {
  await startBackend();
  const file = new URL('../../lab/dist/course/chapters/04-transformer.js', import.meta.url).href;
  ({ chapter } = (await import(file)) as { chapter: Chapter });
});

/** Everything that the exercises plug in, with a count of the calls of each function. */
function assemble(answers: Record<string, unknown>): { assembly: Assembly; calls: Map<string, number> } {
  const assembly: Assembly = { transformer: {}, train: {}, generate: {} };
  const calls = new Map<string, number>();
  const counted = (name: string) => (...given: unknown[]) => {
    calls.set(name, (calls.get(name) ?? 0) + 1);
    return (answers[name] as (...all: unknown[]) => unknown)(...given);
  };
  for (const exercise of chapter.exercises) {
    exercise.plug?.(Object.fromEntries(exercise.names.map((name) => [name, counted(name)])), assembly);
  }
  return { assembly, calls };
}

/** Losses of a short training and the text written after it. */
async function live(config: TransformerPreset, assembly: Assembly): Promise<{ losses: number[]; written: string }> {
  const model = new Transformer({ ...config, vocabSize: tokenizer.vocabSize, seed: 3, ...assembly.transformer });
  for (const change of assembly.finish ?? []) change(model);
  const batches = randomBatches(dataset, { batchSize: 3, contextLength: 16, seed: 2 });
  const { losses } = await train(model, batches, { steps: 8, warmupSteps: 3, quiet: true, ...assembly.train });
  const sampling = { temperature: 0.9, topK: 9, topP: 0.9, repetitionPenalty: 1.2, maxTokens: 12 };
  const written = await generate(model, tokenizer, 'the ', { ...sampling, ...assembly.generate });
  model.dispose();
  return { losses: losses.map(({ loss }) => loss), written };
}

describe('chapter 04, plugged in', () => {
  it.each(Object.entries(families))('trains %s as the library does, and leaves no tensors behind', async (name, config) => {
    const before = tf.memory().numTensors;
    const library = await live(config, { transformer: {}, train: {}, generate: {} });
    const { assembly, calls } = assemble(solutions);
    const own = await live(config, assembly);
    own.losses.forEach((loss, i) => expect(loss).toBeCloseTo(library.losses[i]!, 4));
    expect(own.written).toBe(library.written);
    expect(tf.memory().numTensors).toBe(before);
    const parts = name === 'Llama' ? ['rmsNorm', 'swigluMLP'] : ['layerNorm', 'geluMLP'];
    for (const used of [...parts, 'residualBlock', 'warmupCosineAt', 'adamWStep', 'tokenDistribution']) {
      expect(calls.get(used), used).toBeGreaterThan(0);
    }
  });

  it("offers the library's functions under the names of the exercises", () => {
    for (const { id, names, library } of chapter.exercises) expect(Object.keys(library), id).toEqual(names);
  });

  it('resumes the optimizer from its saved state', async () => {
    const { assembly } = assemble(solutions);
    const weight = tf.variable(tf.tensor2d([[1, -2, 3]]), true);
    const slope = (seed: number) => new Map([['weight', tf.randomNormal([1, 3], 0, 1, 'float32', seed)]]);
    const parameters = new Map([['weight', weight]]);
    const first = assembly.train.optimizer!(parameters);
    first.step(slope(1), 0.1);
    const state = first.state();
    const kept = weight.clone();
    first.step(slope(2), 0.1);
    const expected = await weight.data();
    weight.assign(kept);
    const second = assembly.train.optimizer!(parameters);
    await second.load(state);
    second.step(slope(2), 0.1);
    expect(Array.from(await weight.data())).toEqual(Array.from(expected));
  });
});
