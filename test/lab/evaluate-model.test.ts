/**
 * @file Choices by log-likelihood and answers in words: with a shared prefix as when all is read from its start.
 */
import {
  answerChoices,
  answerInWords,
  bestChoice,
  BPETokenizer,
  choiceProbabilities,
  CharacterTokenizer,
  ContinuationScorer,
  exactMatch,
  generate,
  loadPretrained,
  logLikelihood,
  logLikelihoods,
  normalizedScore,
  numericMatch,
  perplexity,
  presets,
  Random,
  scoreChoices,
  SharedPrefixCache,
  startBackend,
  tf,
  Transformer,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkpoints, expectedOf, fixturePath } from './interop-fixture.ts';

const quiet = { quiet: true };
const text =
  'net income rose in 2009 and net sales fell in 2008; income before taxes rose by 12.5 percent, ' +
  'sales of services fell by 3 percent. ';
const tokenizer = BPETokenizer.train(text.repeat(3), { vocabSize: 290, ...quiet });
/** Large weights, so that the probabilities are far from equal, and dropout, which must not disturb. */
const sizes = {
  contextLength: 64,
  layers: 2,
  width: 24,
  heads: 4,
  initializerStd: 0.3,
  dropout: 0.3,
  vocabSize: tokenizer.vocabSize,
};
let models: Readonly<Record<string, Transformer>>;

beforeAll(async () => {
  await startBackend({ backend: 'wasm', threads: 1 });
  models = {
    gpt2: new Transformer({ ...sizes, seed: 4 }),
    llama: new Transformer({ ...presets.llama, ...sizes, keyValueHeads: 2, hiddenSize: 40, seed: 5 }),
  };
});
afterAll(() => Object.values(models).forEach((model) => model.dispose()));

describe('log-likelihood', () => {
  it.each(checkpoints)('%s: e to minus its mean is the perplexity', async (name) => {
    const { model } = await loadPretrained(fixturePath(name), quiet);
    const ids = Array.from(expectedOf(name).text).slice(0, model.config.contextLength);
    const { loss, tokens } = await perplexity(model, ids, quiet);
    expect(await logLikelihood(model, { ids, from: 1 })).toBeCloseTo(-loss * tokens, 3);
    model.dispose();
  });

  it.each(['gpt2', 'llama'])(
    '%s: with the shared prefix it is what the plain path finds, whatever the lengths',
    async (name) => {
      const model = models[name]!;
      const random = new Random(9);
      const draw = (count: number): number[] => Array.from({ length: count }, () => random.integer(tokenizer.vocabSize));
      for (const [shared, rests, rows] of [
        [1, [1, 1, 1], 2],
        [2, [3, 1, 7, 2], 3],
        [40, [25, 5, 1], 16],
        [17, [4], 1],
        [30, [6, 9, 2, 2, 1], 2],
      ] as const) {
        const prefix = draw(shared);
        const continuations = rests.map((rest) => ({ ids: [...prefix, ...draw(rest)], from: shared }));
        const before = tf.memory().numTensors;
        const fast = await logLikelihoods(model, continuations, { rows });
        expect(tf.memory().numTensors).toBe(before);
        for (const [i, one] of continuations.entries()) {
          const plain = await logLikelihood(model, one);
          expect(Math.abs(fast[i]! / plain - 1), `${shared} ${rests[i]}`).toBeLessThan(1e-5);
        }
        expect(await logLikelihoods(model, continuations, { rows })).toEqual(fast);
      }
      expect(model.training).toBe(true);
    },
  );

  it.each(['gpt2', 'llama'])('%s: reads on from what the questions before had in common, and only that', async (name) => {
    const model = models[name]!;
    const random = new Random(7);
    const draw = (count: number): number[] => Array.from({ length: count }, () => random.integer(tokenizer.vocabSize));
    const [a, b, c] = [draw(20), draw(20), draw(9)];
    const questions = [[...a, ...b], [...a, ...b, ...c], [...a, ...b], [...a, ...c], a, c, [...a, ...b], [3]];
    // Tokens that are read anew before the ends: all but the last in common, which every row reads.
    const anew = [39, 9, 0, 8, 0, 8, 39, 0];
    const read: number[] = [];
    const embed = model.embed.bind(model);
    model.embed = (tokens, cache) => {
      read.push(tokens.shape[1]);
      return embed(tokens, cache);
    };
    const before = tf.memory().numTensors;
    const scorer = new ContinuationScorer(model, { rows: 4 });
    for (const [i, prompt] of questions.entries()) {
      const continuations = [1, 4, 2].map((rest) => ({ ids: [...prompt, ...draw(rest)], from: prompt.length }));
      read.length = 0;
      const fast = await scorer.score(continuations);
      expect(read).toEqual([...(anew[i]! > 0 ? [anew[i]!] : []), 4]);
      for (const [j, one] of continuations.entries()) {
        expect(Math.abs(fast[j]! / (await logLikelihood(model, one)) - 1), `${i} ${j}`).toBeLessThan(1e-5);
      }
    }
    scorer.dispose();
    expect(tf.memory().numTensors).toBe(before);
    Reflect.deleteProperty(model, 'embed');
  });

  it('sums to one over all next tokens', async () => {
    const model = models['llama']!;
    const continuations = Array.from({ length: tokenizer.vocabSize }, (_, id) => ({ ids: [5, 9, 40, id], from: 3 }));
    const found = await logLikelihoods(model, continuations, { rows: 64 });
    expect(found.reduce((sum, value) => sum + Math.exp(value), 0)).toBeCloseTo(1, 5);
  });

  it('is a product: a text in two pieces', async () => {
    const model = models['gpt2']!;
    const ids = Array.from(tokenizer.encode(text)).slice(0, 30);
    const whole = await logLikelihood(model, { ids, from: 4 });
    const pieces =
      (await logLikelihood(model, { ids: ids.slice(0, 17), from: 4 })) + (await logLikelihood(model, { ids, from: 17 }));
    expect(pieces).toBeCloseTo(whole, 3);
  });

  it('handles continuations that differ before they are judged', async () => {
    const model = models['gpt2']!;
    const some = [
      { ids: [7, 8, 9, 10], from: 3 },
      { ids: [6, 8, 9, 10], from: 2 },
      { ids: [7, 8, 1], from: 1 },
    ];
    const found = await logLikelihoods(model, some);
    for (const [i, one] of some.entries()) expect(found[i]).toBeCloseTo(await logLikelihood(model, one), 4);
    expect(await logLikelihoods(model, [])).toEqual([]);
  });

  it('has a cache that says what it cannot do', () => {
    const cache = new SharedPrefixCache(5);
    const [one, two] = [1, 2].map((rows) => tf.zeros<tf.Rank.R4>([rows, 1, 3, 2]));
    expect(() => cache.append(0, two!, two!)).toThrow(/the beginning is read by one row, got 2/);
    cache.append(0, one!, one!);
    cache.advance(3);
    expect(() => cache.append(0, one!, one!)).toThrow(/6 tokens, but there is room for 5/);
    expect(() => cache.truncate(4)).toThrow(/cannot truncate 3 tokens to 4/);
    cache.truncate(1);
    expect(() => cache.append(1, one!, one!)).toThrow(/layer 1 has not read the beginning/);
    cache.branching = true;
    expect(cache.append(0, two!, two!).k.shape).toEqual([2, 1, 4, 2]);
    cache.advance(3);
    expect(cache.length).toBe(1);
    cache.dispose();
    tf.dispose([one!, two!]);
  });

  it('fills the context to the last token, and refuses one more', async () => {
    const model = models['gpt2']!;
    const ids = Array.from({ length: 66 }, (_, i) => i);
    await expect(logLikelihoods(model, [{ ids: ids.slice(0, 65), from: 60 }])).resolves.toHaveLength(1);
    await expect(logLikelihoods(model, [{ ids, from: 60 }])).rejects.toThrow(/have 66 tokens, but the model reads 64/);
    await expect(logLikelihood(model, { ids: [1, 2], from: 0 })).rejects.toThrow(RangeError);
    await expect(logLikelihood(model, { ids: [1, 2], from: 2 })).rejects.toThrow(RangeError);
  });
});

describe('multiple choice', () => {
  const prompt = 'net sales fell in 2008;';
  const choices = [' income rose', ' sales', ' services fell by 3 percent', ';', ' 12.5'];

  it.each(['gpt2', 'llama'])(
    '%s: equals the plain path, scored by sum, token, byte and against a neutral prompt',
    async (name) => {
      const model = models[name]!;
      const neutralPrompt = 'sales';
      const fast = await scoreChoices(model, tokenizer, prompt, choices, { neutralPrompt });
      const plain = await scoreChoices(model, tokenizer, prompt, choices, { neutralPrompt, plain: true });
      fast.forEach((score, i) => {
        const wanted = plain[i]!;
        expect(score).toMatchObject({ choice: choices[i], tokens: wanted.tokens, bytes: Buffer.byteLength(choices[i]!) });
        for (const normalization of ['sum', 'token', 'byte', 'unconditional'] as const) {
          expect(normalizedScore(score, normalization)).toBeCloseTo(normalizedScore(wanted, normalization), 3);
        }
        expect(normalizedScore(score, 'token') * score.tokens).toBeCloseTo(score.logLikelihood, 9);
        expect(normalizedScore(score, 'byte') * score.bytes).toBeCloseTo(score.logLikelihood, 9);
      });
      const probabilities = choiceProbabilities(fast, 'token');
      expect(probabilities.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 12);
      expect(probabilities.indexOf(Math.max(...probabilities))).toBe(bestChoice(fast, 'token'));
    },
  );

  it('judges the token that spans the border of prompt and choice', async () => {
    const model = models['gpt2']!;
    const [cut] = await scoreChoices(model, tokenizer, 'net inc', ['ome rose']);
    const ids = Array.from(tokenizer.encode('net income rose'));
    const kept = Array.from(tokenizer.encode('net inc')).findIndex((id, i) => id !== ids[i]);
    expect(kept).toBeGreaterThan(0);
    expect(cut!.tokens).toBe(ids.length - kept);
    expect(cut!.logLikelihood).toBeCloseTo(await logLikelihood(model, { ids, from: kept }), 4);
  });

  it('takes what the model was made to like, and the first of equals', () => {
    const score = (sum: number, tokens: number, bytes: number) => ({ choice: '', logLikelihood: sum, tokens, bytes });
    const scores = [score(-4, 1, 8), score(-6, 3, 4), score(-4, 2, 2)];
    expect(bestChoice(scores)).toBe(0);
    expect(bestChoice(scores, 'token')).toBe(1);
    expect(bestChoice(scores, 'byte')).toBe(0);
    expect(() => bestChoice(scores, 'unconditional')).toThrow(/needs scores made with a neutralPrompt/);
  });

  it('answers a list of questions', async () => {
    const model = models['llama']!;
    const wanted = bestChoice(await scoreChoices(model, tokenizer, prompt, choices));
    const items = [0, 1, 2, 3, 4].map((answer) => ({ prompt, choices, answer }));
    const before = tf.memory().numTensors;
    const answered = await answerChoices(model, tokenizer, items, quiet);
    expect(tf.memory().numTensors).toBe(before);
    expect(answered.map(({ correct }) => correct)).toEqual(items.map(({ answer }) => answer === wanted));
    for (const { confidence } of answered) expect(confidence).toBeGreaterThanOrEqual(1 / choices.length);
  });

  it('says which question cannot be asked', async () => {
    const model = models['gpt2']!;
    const ask = (item: object) => answerChoices(model, tokenizer, [{ prompt, choices, answer: 0, ...item }], quiet);
    await expect(ask({ prompt: '' })).rejects.toThrow(/Question 1: The prompt is empty/);
    await expect(ask({ choices: ['a', ''] })).rejects.toThrow(/none of them empty/);
    await expect(ask({ choices: [] })).rejects.toThrow(RangeError);
    await expect(ask({ answer: 9 })).rejects.toThrow(/question 0 has no choice 9/);
    await expect(ask({ prompt: text.repeat(9) })).rejects.toThrow(/give a shorter prompt/);
  });
});

describe('answers in words', () => {
  it('are what generate writes up to the stop, and judged by the given comparison', async () => {
    const characters = CharacterTokenizer.train('abc \n0123456789');
    const model = new Transformer({ ...sizes, vocabSize: characters.vocabSize, seed: 3 });
    const prompts = ['ab', 'c 12', '9'];
    const written: string[] = [];
    for (const prompt of prompts) {
      const whole = await generate(model, characters, prompt, { temperature: 0, maxTokens: 12 });
      written.push(whole.slice(prompt.length).split('\n')[0]!.trim());
    }
    const items = prompts.map((prompt, i) => ({ prompt, truth: i === 1 ? 'no such answer' : written[i]! }));
    const answered = await answerInWords(model, characters, items, { compare: exactMatch, maxTokens: 12, ...quiet });
    expect(answered.map(({ answer }) => answer)).toEqual(written);
    expect(answered.map(({ score }) => score)).toEqual([1, 0, 1]);
    const seen: unknown[] = [];
    const compare = (answer: string, truth: number): boolean => {
      seen.push(truth);
      return numericMatch(answer, truth);
    };
    await answerInWords(model, characters, [{ prompt: '1', truth: 5 }], { compare, stop: [], maxTokens: 2, ...quiet });
    expect(seen).toEqual([5]);
    model.dispose();
  });
});
