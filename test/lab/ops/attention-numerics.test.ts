/**
 * @file Attention on numbers that are not finite: what they touch becomes NaN and says so, and nothing else does.
 */
import { fusedAttention, Random, startBackend, stopBackend, tf, type BackendName, type FusedAttentionOptions, type Tensor4D } from 'lab';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { hasSoftwareGpu } from './software-gpu.ts';

const backends: BackendName[] = ['cpu', 'wasm', ...(hasSoftwareGpu ? (['webgpu'] as const) : [])];
const [B, H, K, S] = [2, 4, 2, 5];
/** The only number that is not finite stands in the last batch entry, first key/value head (heads 0 and 1 share it). */
const at = { b: 1, h: 0, number: 3 };

type Shape4 = [number, number, number, number];

class Problem {
  readonly #random = new Random(5);
  readonly q: Tensor4D;
  readonly k: Tensor4D;
  readonly v: Tensor4D;

  constructor(queries: number, keys: number, which: 'q' | 'k' | 'v', row: number, value: number) {
    const make = (name: string, heads: number, rows: number): Tensor4D => {
      const shape: Shape4 = [B, heads, rows, S];
      const numbers = this.#random.normals(B * heads * rows * S);
      if (name === which) numbers[((at.b * heads + at.h) * rows + row) * S + at.number] = value;
      return tf.tensor4d(numbers, shape);
    };
    this.q = make('q', H, queries);
    this.k = make('k', K, keys);
    this.v = make('v', K, keys);
  }
}

/** Which rows hold a number that is not finite: `batch.head.row`. */
async function badRows(x: Tensor4D): Promise<string[]> {
  const [, heads, rows, size] = x.shape;
  const values = await x.data();
  const bad = new Set<string>();
  values.forEach((value, i) => {
    const row = Math.floor(i / size);
    if (!Number.isFinite(value)) bad.add(`${Math.floor(row / rows / heads)}.${Math.floor(row / rows) % heads}.${row % rows}`);
  });
  return [...bad];
}

const rowsOf = (heads: readonly number[], from: number, to: number): string[] =>
  heads.flatMap((h) => Array.from({ length: to - from }, (_, i) => `${at.b}.${h}.${from + i}`));

interface Case {
  readonly queries: number;
  readonly keys: number;
  readonly options: FusedAttentionOptions;
}

const cases: Record<string, Case> = {
  'no mask': { queries: 37, keys: 37, options: {} },
  causal: { queries: 37, keys: 37, options: { causal: true } },
  'a window': { queries: 70, keys: 70, options: { causal: true, window: { left: 8 } } },
  'few queries, many keys': { queries: 2, keys: 300, options: {} },
  'a soft cap': { queries: 37, keys: 37, options: { softCap: 3 } },
};

describe.each(backends)('on %s', (backend) => {
  beforeAll(() => startBackend({ backend, threads: 2, softwareGpu: true }));
  beforeEach(() => tf.engine().startScope());
  afterEach(() => tf.engine().endScope());
  afterAll(stopBackend);

  it.each(Object.entries(cases))('%s: NaN in a query is in its row and in no other', async (_, { queries, keys, options }) => {
    const { q, k, v } = new Problem(queries, keys, 'q', 1, NaN);
    expect(await badRows(fusedAttention(q, k, v, options))).toEqual([`${at.b}.${at.h}.1`]);
  });

  it.each(Object.entries(cases))('%s: NaN in a key is in every row that sees it, and in no other head', async (_, problem) => {
    const { queries, keys, options } = problem;
    const row = Math.min(5, keys - 1);
    const { q, k, v } = new Problem(queries, keys, 'k', row, NaN);
    const bad = await badRows(fusedAttention(q, k, v, options));
    const [from, to] = options.causal ? [row, options.window ? row + 9 : queries] : [0, queries];
    expect(bad).toEqual(expect.arrayContaining(rowsOf([0, 1], from, to)));
    expect(bad.filter((name) => !/^1\.[01]\./.test(name))).toEqual([]);
  });

  it.each(Object.entries(cases))('%s: a value that is not finite is in the rows that see it, and in no other head', async (_, problem) => {
    const { queries, keys, options } = problem;
    const row = Math.min(5, keys - 1);
    for (const value of [NaN, Infinity, -Infinity]) {
      const { q, k, v } = new Problem(queries, keys, 'v', row, value);
      const output = fusedAttention(q, k, v, options);
      const bad = await badRows(output);
      const [from, to] = options.causal ? [row, options.window ? row + 9 : queries] : [0, queries];
      expect(bad, String(value)).toEqual(expect.arrayContaining(rowsOf([0, 1], from, to)));
      expect(bad.filter((name) => !/^1\.[01]\./.test(name)), String(value)).toEqual([]);
      const columns = new Set([...(await output.data())].flatMap((x, i) => (Number.isFinite(x) ? [] : i % S)));
      expect([...columns], String(value)).toEqual([at.number]);
    }
  });

  it('an infinite score hides its key or makes NaN, in its own head alone', async () => {
    for (const [which, value] of [['q', Infinity], ['k', Infinity], ['k', -Infinity]] as const) {
      const { q, k, v } = new Problem(37, 37, which, 5, value);
      const bad = await badRows(fusedAttention(q, k, v, {}));
      expect(bad.filter((name) => !/^1\.[01]\./.test(name)), which).toEqual([]);
      expect(bad.length, which).toBeGreaterThan(0);
    }
  });

  it('gradients stay in their batch entry and head, and say that there is NaN', async () => {
    for (const which of ['q', 'k', 'v'] as const) {
      const { q, k, v } = new Problem(37, 37, which, 5, NaN);
      const [dq, dk, dv] = tf.grads((a, b, c) => fusedAttention(a as Tensor4D, b as Tensor4D, c as Tensor4D, { causal: true }))([q, k, v]);
      const bad = { dq: await badRows(dq as Tensor4D), dk: await badRows(dk as Tensor4D), dv: await badRows(dv as Tensor4D) };
      expect(bad.dq.length, which).toBeGreaterThan(0);
      expect(bad.dk.length, which).toBeGreaterThan(0);
      expect(bad.dq.filter((name) => !/^1\.[01]\./.test(name)), which).toEqual([]);
      for (const name of ['dk', 'dv'] as const) expect(bad[name].filter((row) => !row.startsWith('1.0.')), `${which} ${name}`).toEqual([]);
    }
  });
});
