/**
 * @file Attention tile by tile, outside the kernels: the online softmax, attention by tiles in tensor operations, what is
 * moved, what a mask saves, and the texts of the shaders.
 */
import {
  attentionShader,
  blockwiseBackward,
  blockwiseForward,
  countTiles,
  flashBackwardTraffic,
  flashTraffic,
  lessonShader,
  mergePartials,
  plainBackwardTraffic,
  plainTraffic,
  Random,
  startBackend,
  tf,
  tileMap,
  tileRows,
  updateSoftmax,
  visibility,
  type BlockwiseOptions,
  type MaskRule,
  type PartialAttention,
  type Tensor3D,
  type Tensor4D,
} from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { relativeError } from '../core-fixture.ts';
import { attentionTruth, type Shape } from './attention-truth.ts';

beforeAll(async () => {
  await startBackend({ backend: 'wasm', threads: 2 });
});

describe('the online softmax', () => {
  const scores = Array.from(new Random(1).normals(20), (x) => 40 * x);
  const m = Math.max(...scores);
  const l = scores.reduce((sum, score) => sum + Math.exp(score - m), 0);

  it('does not depend on how the scores are cut', () => {
    for (const size of [1, 3, 20]) {
      let state = { m: -Infinity, l: 0 };
      for (let i = 0; i < 20; i += size) state = updateSoftmax(state, scores.slice(i, i + size));
      expect(state.m).toBe(m);
      expect(state.l).toBeCloseTo(l, 12);
    }
  });

  it('counts hidden keys as nothing, also before all others', () => {
    const hidden = updateSoftmax({ m: -Infinity, l: 0 }, [-Infinity]);
    expect(hidden).toEqual({ m: -Infinity, l: 0 });
    expect(updateSoftmax(hidden, [2, -Infinity, 2])).toEqual({ m: 2, l: 2 });
    expect(updateSoftmax({ m: 1, l: 3 }, [-Infinity])).toEqual({ m: 1, l: 3 });
  });

  it('merges parts, with nothing as the neutral element', () => {
    const nothing: PartialAttention = { m: -Infinity, l: 0, o: [0, 0] };
    const part: PartialAttention = { m: 3, l: 1.5, o: [1, -2] };
    expect(mergePartials(nothing, part)).toEqual(part);
    expect(mergePartials(part, nothing)).toEqual(part);
    expect(mergePartials(nothing, nothing)).toEqual(nothing);
    const higher = mergePartials(part, { m: 3 + Math.log(2), l: 1, o: [1, 1] });
    expect(higher.m).toBeCloseTo(3 + Math.log(2));
    expect([higher.l, ...higher.o].map((x) => Math.round(x * 1e9) / 1e9)).toEqual([1.75, 1.5, 0]);
  });
});

describe('attention by tiles in tensor operations', () => {
  const shape: Shape = { batch: 1, heads: 2, keyValueHeads: 2, queries: 21, keys: 27, headSize: 6 };
  const random = new Random(7);
  const values = {
    q: Float32Array.from(random.normals(2 * 21 * 6)),
    k: Float32Array.from(random.normals(2 * 27 * 6)),
    v: Float32Array.from(random.normals(2 * 27 * 6)),
    upstream: Float32Array.from(random.normals(2 * 21 * 6)),
  };
  const rules: Record<string, MaskRule> = {
    'no mask': {},
    causal: { causal: true },
    'a window': { window: { left: 3, right: 2 } },
    'documents, one without queries, and padding': {
      causal: true,
      documents: { queries: [[0, 8, 8, 19]], keys: [[0, 9, 12, 25]] },
    },
  };

  it.each(Object.entries(rules))('agrees with double precision, and its gradients: %s', async (_, rule) => {
    const truth = attentionTruth(shape, values, rule);
    const options: BlockwiseOptions = { ...rule, tileQueries: 5, tileKeys: 4 };
    const before = tf.memory().numTensors;
    const results = tf.tidy(() => {
      const [q, outputGradient] = [values.q, values.upstream].map((x) => tf.tensor4d(x, [1, 2, 21, 6])) as [Tensor4D, Tensor4D];
      const [k, v] = [values.k, values.v].map((x) => tf.tensor4d(x, [1, 2, 27, 6])) as [Tensor4D, Tensor4D];
      const forward = blockwiseForward(q, k, v, options);
      const backward = blockwiseBackward(q, k, v, { ...forward, outputGradient }, options);
      return { output: forward.output, ...backward };
    });
    expect(relativeError(await results.output.data(), truth.output)).toBeLessThan(1e-5);
    for (const name of ['dq', 'dk', 'dv'] as const)
      expect(relativeError(await results[name].data(), truth[name])).toBeLessThan(1e-4);
    tf.dispose(results);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('gives the log-sum-exp of each row, and zeros to a query that sees nothing', async () => {
    const [q, k] = [tf.zeros<tf.Rank.R4>([1, 1, 5, 4]), tf.zeros<tf.Rank.R4>([1, 1, 3, 4])];
    const { output, logSumExp } = blockwiseForward(q, k, tf.onesLike(k), { causal: true, tileQueries: 2, tileKeys: 2 });
    expect([...(await output.slice([0, 0, 0, 0], [1, 1, 5, 1]).data())]).toEqual([0, 0, 1, 1, 1]);
    expect((logSumExp as Tensor3D).shape).toEqual([1, 1, 5]);
    expect((await logSumExp.data())[4]).toBeCloseTo(Math.log(3));
  });

  it('names heads that do not match', () => {
    const [q, k] = [tf.zeros<tf.Rank.R4>([1, 4, 2, 4]), tf.zeros<tf.Rank.R4>([1, 2, 2, 4])];
    expect(() => blockwiseForward(q, k, k)).toThrow(/4 heads but key has 2/);
  });
});

describe('what attention moves', () => {
  const shape = { queries: 1024, keys: 1024, headSize: 64 };
  const [N, d] = [1024, 64];

  it('is 4Nd + 4N² words for the plain algorithm, and 8Nd + 7N² on the way back', () => {
    expect(plainTraffic(shape)).toMatchObject({ words: 4 * N * d + 4 * N * N, flops: 4 * N * N * d });
    expect(plainBackwardTraffic(shape)).toMatchObject({ words: 7 * N * N + 8 * N * d, flops: 8 * N * N * d });
  });

  it('is 2Nd + N words and K and V once for each tile of queries with tiles', () => {
    const tiles = { tileQueries: 96, tileKeys: 32 };
    expect(flashTraffic(shape, tiles)).toEqual({
      reads: N * d + 11 * 2 * N * d,
      writes: N * d + N,
      words: 2 * N * d + N + 11 * 2 * N * d,
      flops: 4 * N * N * d,
    });
  });

  it('falls as 1/M and never below reading and writing everything once (theorem 2)', () => {
    const words = (memory: number): number => {
      const rows = tileRows(memory, d);
      return flashTraffic(shape, { tileQueries: rows, tileKeys: rows }).words;
    };
    for (const memory of [1024, 4096, 16_384]) {
      const ratio = words(memory) / words(2 * memory);
      expect(ratio).toBeGreaterThan(1.8);
      expect(ratio).toBeLessThanOrEqual(2);
    }
    expect(words(1e9)).toBe(4 * N * d + N);
    expect(tileRows(10, d)).toBe(1);
  });

  it('is as much less as tiles are skipped', () => {
    const tiles = { tileQueries: 64, tileKeys: 64 };
    const mask = visibility({ causal: true }, N, N);
    const { work } = countTiles(tileMap(mask, 64, 64));
    expect(work).toBeCloseTo((16 * 17) / 2 / 256);
    expect(flashTraffic(shape, tiles, mask).flops / flashTraffic(shape, tiles).flops).toBeCloseTo(work);
    expect(flashBackwardTraffic(shape, tiles, { mask }).flops / flashBackwardTraffic(shape, tiles).flops).toBeCloseTo(work);
  });

  it('is more arithmetic than the plain algorithm on the way back, and fewer words', () => {
    const tiles = { tileQueries: 64, tileKeys: 64 };
    const plain = plainBackwardTraffic(shape);
    const once = flashBackwardTraffic(shape, tiles, { passes: 1 });
    const twice = flashBackwardTraffic(shape, tiles);
    expect([once.flops / plain.flops, twice.flops / plain.flops]).toEqual([10 / 8, 14 / 8]);
    expect(Math.max(once.words, twice.words)).toBeLessThan(plain.words);
    const ofD = 2 * N * d + N;
    const [line, rows] = [2 * N * d, 2 * N * d + 2 * N]; // K and V, or dK and dV; Q, dO, L and D
    expect(once.words).toBe(ofD + line + 16 * (rows + 2 * N * d) + line);
    expect(twice.words).toBe(ofD + (rows + 16 * line + N * d) + (line + 16 * rows + line));
  });

  it('refuses a tile of no rows', () => {
    expect(() => flashTraffic(shape, { tileQueries: 0, tileKeys: 4 })).toThrow(/whole number of rows, got 0/);
  });
});

describe('a map of tiles', () => {
  it('is counted by kind', () => {
    const map = tileMap(visibility({ causal: true }, 8, 8), 4, 2);
    expect(countTiles(map)).toEqual({ skipped: 2, partial: 4, full: 2, all: 8, work: 0.75 });
    expect(countTiles([])).toEqual({ skipped: 0, partial: 0, full: 0, all: 0, work: 0 });
  });
});

describe('the texts of shaders', () => {
  it.each(['forward', 'decode', 'join', 'rows', 'query gradient', 'key gradient'] as const)(
    '%s is whole and indented',
    (name) => {
      const text = attentionShader(name, { headSize: 24 });
      expect(text).toContain('fn main(');
      expect(text.match(/{/g)).toHaveLength(text.match(/}/g)!.length);
      expect(text).not.toMatch(/undefined|\n\n\n/);
      const main = text.slice(text.indexOf('fn main('));
      expect(main.split('\n').at(-1)).toBe('}');
      expect(main.split('\n')[1]).toMatch(/^ {2}\S/);
    },
  );

  it('differ with the features', () => {
    expect(attentionShader('forward', { headSize: 8, softCap: true })).toContain('tanh');
    expect(attentionShader('forward', { headSize: 8 })).not.toContain('tanh');
    expect(() => attentionShader('sideways' as 'forward', { headSize: 8 })).toThrow(/there is no 'sideways'.*forward/);
  });

  it('the lesson takes sizes that it can do', () => {
    expect(() => lessonShader({ queries: 4, keys: 4, headSize: 6 }, '')).toThrow(/multiple of 4, got 6/);
    expect(() => lessonShader({ queries: 4, keys: 3, headSize: 8, causal: true }, '')).toThrow(/got 3 and 4/);
    expect(lessonShader({ queries: 4, keys: 5, headSize: 8 }, 'fn absorb() {}')).toContain('fn absorb() {}');
  });
});
