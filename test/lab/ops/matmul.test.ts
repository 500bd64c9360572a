/**
 * @file The matrix product on wasm, against sums in double precision, in every flavour that this machine runs.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { planProduct, Random, runnableFlavours, startBackend, stopBackend, tf } from 'lab';
import { single, TOLERANCE, worstOf } from './matmul-truth.ts';

const random = new Random(7);
const flavours = runnableFlavours(true);
const engines = flavours.flatMap((flavour) => [1, 2, 3].map((threads) => ({ flavour, threads })));

describe.each(engines)('matMul on wasm, $flavour, $threads threads', ({ flavour, threads }) => {
  beforeAll(async () => {
    await stopBackend();
    process.env['LAB_WASM_FLAVOUR'] = flavour;
    const device = await startBackend({ backend: 'wasm', threads });
    expect(device.threads).toBe(threads);
  });

  afterAll(() => {
    delete process.env['LAB_WASM_FLAVOUR'];
  });

  it('is right for odd sizes and all transpositions', async () => {
    const sizes = [1, 2, 3, 5, 7, 17, 63, 65, 130];
    const products = Array.from({ length: 40 }, () => single(random.pick(sizes), random.pick(sizes), random.pick(sizes)));
    expect(await worstOf(products)).toBeLessThan(TOLERANCE);
  });

  it('is right for batches, equal, shared and broadcast', async () => {
    const batches: [number[], number[]][] = [[[3], [3]], [[3], []], [[], [3]], [[2, 1], [1, 3]], [[2, 3], [3]], [[1], [5]], [[2, 1, 2], [3, 1]]];
    const products = batches.flatMap(([batchA, batchB]) => [
      { batchA, batchB, m: 33, k: 17, n: 40 },
      { batchA, batchB, m: 1, k: 19, n: 70 },
    ]);
    expect(await worstOf(products)).toBeLessThan(TOLERANCE);
  });

  it('is right for very long sums, cut into parts and panels or not', async () => {
    const products = [single(20, 1024, 37), single(9, 40_001, 21), single(1, 9001, 5), { batchA: [2], batchB: [2], m: 20, k: 3000, n: 130 }];
    expect(await worstOf(products)).toBeLessThan(TOLERANCE);
  });

  it('is right where several blocks of rows and columns meet', async () => {
    expect(await worstOf([single(300, 70, 1100), single(150, 1500, 140)])).toBeLessThan(TOLERANCE);
  });
});

describe('matMul on wasm', () => {
  beforeAll(async () => {
    await stopBackend();
    await startBackend({ backend: 'wasm', threads: 3 });
  });

  it('gives zeros for sums of no terms, and nothing for empty matrices', async () => {
    expect(await tf.matMul(tf.zeros([2, 3, 0]), tf.zeros([2, 0, 2])).data()).toEqual(new Float32Array(12));
    expect(tf.matMul(tf.zeros([0, 4]), tf.zeros([4, 5])).shape).toEqual([0, 5]);
    expect(tf.matMul(tf.zeros([0, 3, 4]), tf.zeros([0, 4, 5])).shape).toEqual([0, 3, 5]);
  });

  it('lets NaN and infinity through, to their row and column alone', async () => {
    const a = new Float32Array(70 * 20).fill(1);
    a[3 * 20 + 4] = NaN;
    a[69 * 20 + 19] = Infinity;
    const c = await tf.matMul(tf.tensor(a, [70, 20]), tf.ones([20, 13])).data();
    for (let i = 0; i < 70; i++) {
      const expected = i === 3 ? NaN : i === 69 ? Infinity : 20;
      expect(c.slice(i * 13, (i + 1) * 13)).toEqual(new Float32Array(13).fill(expected));
    }
  });

  it('gives the same bits for every number of threads', async () => {
    const shapes: [number, number, number][] = [[200, 150, 90], [64, 5000, 96], [2, 300, 500]];
    const inputs = shapes.map(([m, k, n]) => ({ a: random.normals(m * k), b: random.normals(k * n), m, k, n }));
    const results: Float32Array[][] = [];
    for (const threads of [1, 2, 4]) {
      await startBackend({ backend: 'wasm', threads });
      const all = inputs.map(({ a, b, m, k, n }) => tf.matMul(tf.tensor(a, [m, k]), tf.tensor(b, [k, n])).data());
      results.push((await Promise.all(all)) as Float32Array[]);
    }
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  });

  it('has the gradients that the product rule says', async () => {
    const [a, b, g] = [tf.randomNormal([2, 9, 5]), tf.randomNormal([2, 7, 5]), tf.randomNormal([2, 9, 7])];
    const [da, db] = tf.grads((x, y) => tf.matMul(x!, y!, false, true).mul(g).sum())([a, b]) as [typeof a, typeof b];
    // d/da Σ g ∘ (a bᵀ) = g b; d/db = gᵀ a, here by elementwise products and sums alone
    const expectedA = g.expandDims(3).mul(b.expandDims(1)).sum(2);
    const expectedB = g.expandDims(3).mul(a.expandDims(2)).sum(1);
    expect(Math.max(...(await da.sub(expectedA).abs().max().data()))).toBeLessThan(1e-5);
    expect(Math.max(...(await db.sub(expectedB).abs().max().data()))).toBeLessThan(1e-5);
  });

  it('refuses sizes that do not fit', () => {
    expect(() => tf.matMul(tf.zeros([2, 3]), tf.zeros([4, 5]))).toThrow(/3.*4|inner/);
  });

  it('multiplies inside a fused matMul with bias and activation', async () => {
    const [x, w, bias] = [tf.randomNormal([4, 6]), tf.randomNormal([6, 5]), tf.randomNormal([5])] as [tf.Tensor2D, tf.Tensor2D, tf.Tensor];
    const fused = tf.fused.matMul({ a: x, b: w, bias, activation: 'relu' });
    const plain = tf.matMul(x, w).add(bias).relu();
    expect((await fused.sub(plain).abs().max().data())[0]).toBeLessThan(1e-5);
  });
});

describe('planProduct', () => {
  it('covers the whole product with blocks that fit their space', () => {
    for (let i = 0; i < 2000; i++) {
      const size = (): number => Math.ceil(2 ** (random.uniform() * 14));
      const shape = { batch: random.pick([1, 1, 3, 64]), m: size(), n: size(), k: size() };
      const plan = planProduct(shape, 8);
      expect(plan.rows * plan.rowBlocks).toBeGreaterThanOrEqual(shape.m);
      expect(plan.columns * plan.columnBlocks).toBeGreaterThanOrEqual(shape.n);
      expect(plan.terms * plan.parts).toBeGreaterThanOrEqual(shape.k);
      expect((plan.rowBlocks - 1) * plan.rows).toBeLessThan(shape.m);
      expect((plan.columnBlocks - 1) * plan.columns).toBeLessThan(shape.n);
      expect((plan.parts - 1) * plan.terms).toBeLessThan(shape.k);
      expect(plan.rows).toBeLessThanOrEqual(132);
      expect(Math.ceil(plan.columns / 8) * 8 * Math.min(plan.terms, shape.k, 1024)).toBeLessThanOrEqual(128 * 1024);
    }
  });
});
