/** @file Writing text: greedy as transformers writes, the same with and without the cache, stopped where it should be. */
import {
  CharacterTokenizer,
  generate,
  generateTokens,
  nextTokenDistribution,
  Random,
  sampleFrom,
  tf,
  Transformer,
  type GenerateTokensOptions,
  type SamplingOptions,
  type TransformerConfig,
} from 'lab';
import { describe, expect, it } from 'vitest';
import { type FixtureTensor, onEveryBackend, readFixture, relativeError, tensorOf } from './core-fixture.ts';
import { fromGPT2, fromLlama, gpt2Config, llamaConfig } from './core-models.ts';

interface SamplingCase {
  options: SamplingOptions;
  previous: number[];
  logits: FixtureTensor;
  probabilities: FixtureTensor;
}

async function collect(model: Transformer, prompt: number[], options: GenerateTokensOptions): Promise<number[]> {
  const tokens: number[] = [];
  for await (const token of generateTokens(model, prompt, options)) tokens.push(token);
  return tokens;
}

const text = 'abcdefghijkl ';
const tokenizer = CharacterTokenizer.train(text);
const config: TransformerConfig = {
  vocabSize: tokenizer.vocabSize,
  contextLength: 12,
  layers: 2,
  width: 16,
  heads: 2,
  initializerStd: 0.5,
};

onEveryBackend(() => {
  for (const [family, familyConfig, convert] of [
    ['gpt2', gpt2Config, fromGPT2],
    ['llama', llamaConfig, fromLlama],
  ] as const) {
    it(`${family}: 30 greedy tokens are those of transformers`, async () => {
      const fixture = readFixture<{ weights: Record<string, FixtureTensor>; greedy: number[] }>(family);
      const model = new Transformer(familyConfig);
      model.loadStateDict(convert(fixture.weights));
      for (const cache of [true, false]) {
        const tokens = await collect(model, fixture.greedy.slice(0, 5), { maxTokens: 30, temperature: 0, cache });
        expect(tokens, `cache ${cache}`).toEqual(fixture.greedy.slice(5));
      }
      model.dispose();
    });
  }

  const variants: Record<string, Partial<TransformerConfig>> = {
    learned: {},
    llama: { norm: 'rms', position: 'rotary', mlp: 'swiglu', keyValueHeads: 1 },
    alibi: { position: 'alibi' },
  };
  for (const [name, variant] of Object.entries(variants)) {
    it(`${name}: the cache changes no token, also far beyond the context`, async () => {
      const model = new Transformer({ ...config, ...variant });
      const options = { maxTokens: 40, temperature: 0.8, topP: 0.95, repetitionPenalty: 1.1, seed: 5 };
      const [cached, plain] = [
        await collect(model, [3, 1, 4], { ...options, cache: true }),
        await collect(model, [3, 1, 4], { ...options, cache: false }),
      ];
      expect(cached).toHaveLength(40);
      expect(cached).toEqual(plain);
      expect(await collect(model, [3, 1, 4], { ...options, seed: 6 })).not.toEqual(cached);
      model.dispose();
    });
  }

  it('reads the end of a prompt that is longer than the context', async () => {
    const model = new Transformer(config);
    const prompt = Array.from({ length: 30 }, (_, i) => i % 7);
    const options = { maxTokens: 1, temperature: 0 };
    expect(await collect(model, prompt, options)).toEqual(await collect(model, prompt.slice(-12), options));
    model.dispose();
  });

  it('leaves no tensor behind, also when the loop is left early', async () => {
    const model = new Transformer(config);
    const before = tf.memory().numTensors;
    await collect(model, [1, 2], { maxTokens: 20 });
    for await (const token of generateTokens(model, [1, 2])) if (token >= 0) break;
    await expect(
      collect(model, [1, 2], {
        sampler: () => {
          throw new Error('mine');
        },
      }),
    ).rejects.toThrow('mine');
    expect(tf.memory().numTensors).toBe(before);
    expect(model.training).toBe(true);
    model.dispose();
  });

  it('streams the text that it returns', async () => {
    const model = new Transformer(config);
    const pieces: string[] = [];
    const written = await generate(model, tokenizer, 'abc', {
      maxTokens: 15,
      seed: 2,
      onToken: (piece) => void pieces.push(piece),
    });
    expect(written).toHaveLength(18);
    expect(pieces).toHaveLength(15);
    expect(`abc${pieces.join('')}`).toBe(written);
    model.dispose();
  });

  it('ends before a stop text or a stop token, and never streams a part of it', async () => {
    const model = new Transformer(config);
    const options = { maxTokens: 30, seed: 2 };
    const free = (await generate(model, tokenizer, 'abc', options)).slice(3);
    const stop = free.slice(7, 10);
    const pieces: string[] = [];
    const stopped = await generate(model, tokenizer, 'abc', {
      ...options,
      stop: [stop],
      onToken: (piece) => void pieces.push(piece),
    });
    expect(stopped).toBe(`abc${free.slice(0, free.indexOf(stop))}`);
    expect(`abc${pieces.join('')}`).toBe(stopped);
    const [token] = tokenizer.encode(free[4]!);
    expect(await generate(model, tokenizer, 'abc', { ...options, stop: [token!] })).toBe(
      `abc${free.slice(0, free.indexOf(free[4]!))}`,
    );
    model.dispose();
  });

  it('asks the sampler it is given', async () => {
    const model = new Transformer(config);
    const sampler = (logits: Float32Array) => Float32Array.from(logits, (_, token) => (token === 2 ? 1 : 0));
    expect(await generate(model, tokenizer, 'a', { maxTokens: 3, sampler })).toBe(`a${tokenizer.decode([2, 2, 2])}`);
    model.dispose();
  });

  it('refuses an empty prompt, unknown tokens and options out of range', async () => {
    const model = new Transformer(config);
    await expect(generate(model, tokenizer, '')).rejects.toThrow('The prompt is empty');
    await expect(generate(model, tokenizer, 'Z')).rejects.toThrow('Z');
    await expect(collect(model, [1, 99], {})).rejects.toThrow('Token 99 at position 1');
    for (const [options, message] of [
      [{ temperature: -1 }, 'temperature must be 0 or more, got -1'],
      [{ topK: 0 }, 'topK must be a whole number from 1 on, got 0'],
      [{ topP: 0 }, 'topP must be above 0'],
      [{ repetitionPenalty: 0 }, 'repetitionPenalty must be positive'],
      [{ maxTokens: -1 }, 'maxTokens'],
    ] as const)
      await expect(collect(model, [1], options), message).rejects.toThrow(message);
    model.dispose();
  });
});

describe('nextTokenDistribution', () => {
  it("is what transformers' processors give", () => {
    const { cases } = readFixture<{ cases: SamplingCase[] }>('sampling');
    expect(cases).toHaveLength(6);
    for (const { options, previous, logits, probabilities } of cases) {
      const distribution = nextTokenDistribution(tensorOf(logits).dataSync() as Float32Array, { ...options, previous });
      expect(relativeError(distribution, tensorOf(probabilities).dataSync()), JSON.stringify(options)).toBeLessThan(1e-5);
    }
  });
  const logits = new Random(8).normals(50, 3);
  const kept = (options: SamplingOptions) => [...nextTokenDistribution(logits, options).entries()].filter(([, p]) => p > 0);
  it('sums to one, whatever is cut off, and leaves the logits alone', () => {
    const before = logits.slice();
    for (const options of [
      {},
      { topK: 3 },
      { topP: 0.2 },
      { temperature: 0 },
      { temperature: 1e-3 },
      { temperature: 50, topP: 1 },
      { topK: 1000 },
    ]) {
      expect(kept(options).reduce((sum, [, p]) => sum + p, 0)).toBeCloseTo(1, 5);
    }
    nextTokenDistribution(logits, { repetitionPenalty: 2, previous: [0, 1, 2] });
    expect(logits).toEqual(before);
  });
  it('keeps exactly k tokens, the lower ids among equals', () => {
    expect(kept({ topK: 7 })).toHaveLength(7);
    expect([...nextTokenDistribution(new Float32Array(5), { topK: 2 })]).toEqual([0.5, 0.5, 0, 0, 0]);
  });
  it('keeps the fewest tokens that reach p', () => {
    const logs = Float32Array.from([0.5, 0.3, 0.15, 0.05], Math.log);
    const tokens = (topP: number) => [...nextTokenDistribution(logs, { topP })].filter((p) => p > 0).length;
    expect([0.1, 0.49, 0.51, 0.79, 0.81, 0.94, 0.96, 1].map(tokens)).toEqual([1, 1, 2, 2, 3, 3, 4, 4]);
  });
  it('keeps what sorting all tokens keeps, with ties, order and endings of any kind', () => {
    const random = new Random(11);
    const texts: Record<string, Float32Array> = {
      'drawn from a normal': random.normals(3000, 4),
      'with many equal ones': random.normals(3000, 2).map(Math.round),
      'all equal': new Float32Array(700),
      ascending: Float32Array.from({ length: 500 }, (_, i) => i / 50),
      'some impossible': random.normals(400).map((x) => (x > 0 ? -Infinity : x)),
    };
    for (const [name, scores] of Object.entries(texts)) {
      for (const topK of [1, 2, 17, scores.length - 1, scores.length]) {
        for (const topP of [0.02, 0.5, 0.9, 0.9999, 1]) {
          const order = [...scores.keys()].sort((a, b) => scores[b]! - scores[a]! || a - b).slice(0, topK);
          const weights = order.map((i) => Math.exp(scores[i]! - scores[order[0]!]!));
          const total = weights.reduce((a, b) => a + b);
          const sums = weights.map((_, i) => weights.slice(0, i).reduce((a, b) => a + b, 0));
          const expected = new Set(order.filter((_, i) => weights[i]! > 0 && (i === 0 || topP === 1 || sums[i]! < topP * total)));
          const given = [...nextTokenDistribution(scores, { topK, topP }).entries()].filter(([, p]) => p > 0);
          const differing = given.filter(([i]) => !expected.delete(i)).length + expected.size;
          // A token on the very edge of p may fall either way by rounding.
          expect(differing, `${name}, k ${topK}, p ${topP}`).toBeLessThanOrEqual(topP < 1 ? 1 : 0);
        }
      }
    }
  });
  it('is the most likely token at temperature 0', () => {
    expect(kept({ temperature: 0 })).toEqual([[logits.indexOf(Math.max(...logits)), 1]]);
  });
  it('makes what was there less likely, whether its logit is positive or negative', () => {
    const [plain, penalized] = [{}, { repetitionPenalty: 1.5, previous: [0, 1] }].map((o) =>
      nextTokenDistribution(Float32Array.of(2, -2, 0), o),
    );
    expect(penalized![0]! / penalized![2]!).toBeLessThan(plain![0]! / plain![2]!);
    expect(penalized![1]! / penalized![2]!).toBeLessThan(plain![1]! / plain![2]!);
  });
});

describe('sampleFrom', () => {
  it('draws every index with its probability, and never one without', () => {
    const probabilities = Float32Array.of(0.1, 0, 0.6, 0.3);
    const random = new Random(2);
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < 20_000; i++) counts[sampleFrom(probabilities, random)]!++;
    counts.forEach((count, i) => expect(count / 20_000).toBeCloseTo(probabilities[i]!, 1));
    expect(counts[1]).toBe(0);
  });
  it('stays inside when rounding leaves a rest', () => {
    expect(sampleFrom(Float32Array.of(0.3, 0.7, 0), { uniform: () => 1 - 2 ** -53 })).toBe(1);
    expect(sampleFrom(Float32Array.of(0, 1), { uniform: () => 0 })).toBe(1);
  });
  it('refuses probabilities that are none', () => expect(() => sampleFrom([NaN, 1], new Random(0))).toThrow('sum to NaN'));
});
