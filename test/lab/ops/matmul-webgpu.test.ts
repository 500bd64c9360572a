/**
 * @file The matrix product on webgpu, against sums in double precision: every transposition, batches, edges that fit no tile,
 * few rows, sums cut into parts, rounded operands.
 */
import { Random, tf, withMatmulPrecision, type MatmulPrecision, type Tensor } from 'lab';
import { describe, expect, it } from 'vitest';
import { relativeError } from '../core-fixture.ts';
import { single, toHalf, TOLERANCE, transpositions, worstOf, type Product } from './matmul-truth.ts';
import { hasSoftwareGpu } from './software-gpu.ts';
import { onBackend } from '../on-backend.ts';

const random = new Random(11);
const normal = (...shape: number[]): Tensor => tf.tensor(random.normals(shape.reduce((size, n) => size * n, 1)), shape);
/** The names of the shaders that ran. */
const shadersOf = async (run: () => unknown): Promise<string> => {
  const timed = await tf.time(() => void run());
  return (timed as unknown as { getExtraProfileInfo(): string }).getExtraProfileInfo();
};

describe.runIf(hasSoftwareGpu)('matMul on webgpu', () => {
  onBackend({ backend: 'webgpu', softwareGpu: true });

  it('is right for odd sizes and all transpositions', async () => {
    const sizes = [1, 3, 5, 17, 33, 63, 65, 127];
    const products = Array.from({ length: 30 }, () => single(random.pick(sizes), random.pick(sizes), random.pick(sizes)));
    expect(await worstOf(products)).toBeLessThan(TOLERANCE);
  });

  it.each([1, 2, 3, 4, 5])('is right for %i rows and for as many columns', async (few) => {
    const products = [single(few, 130, 77), single(few, 37, 16), single(77, 35, few), single(24, 40, few)];
    expect(await worstOf(products)).toBeLessThan(TOLERANCE);
  });

  it('is right for batches, equal, shared and broadcast', async () => {
    const same: [number[], number[]][] = [[[3], [3]], [[3], []], [[], [3]], [[1], [5]]];
    const batches = [...same, [[2, 1], [1, 3]], [[2, 3], [3]], [[2, 1, 2], [3, 1]]] as const;
    const products = batches.flatMap(([batchA, batchB]): Product[] => [
      { batchA, batchB, m: 9, k: 17, n: 12 },
      { batchA, batchB, m: 1, k: 19, n: 7 },
      { batchA, batchB, m: 6, k: 5, n: 1 },
    ]);
    expect(await worstOf(products)).toBeLessThan(TOLERANCE);
  });

  it('is right for very long sums, cut into parts or not', async () => {
    const ofTwo = { batchA: [2], batchB: [2], m: 6, k: 3000, n: 10 };
    const products = [single(5, 1024, 37), single(9, 20_001, 7), single(1, 9001, 5), ofTwo];
    expect(await worstOf(products)).toBeLessThan(TOLERANCE);
  });

  it('is right with large tiles, many of them and cut', async () => {
    for (const [m, k, n] of [[515, 9, 530], [130, 3000, 135]] as const) {
      const [a, b] = [normal(m, k), normal(n, k)];
      expect(await shadersOf(() => tf.matMul(a, b, false, true))).toMatch('matmul, tile 64');
      expect(await worstOf([single(m, k, n)])).toBeLessThan(TOLERANCE);
    }
  });

  it('gives zeros for sums of no terms, and nothing for empty matrices', async () => {
    expect(await tf.matMul(tf.zeros([2, 3, 0]), tf.zeros([2, 0, 2])).data()).toEqual(new Float32Array(12));
    expect(await tf.matMul(tf.zeros([9, 0]), tf.zeros([0, 6])).data()).toEqual(new Float32Array(54));
    for (const [m, k, n] of [[0, 4, 5], [4, 5, 0], [0, 4, 0]] as const) {
      const empty = tf.matMul(tf.zeros([m, k]), tf.zeros([k, n]));
      expect(empty.shape).toEqual([m, n]);
      expect(await empty.data()).toEqual(new Float32Array(0));
    }
    expect(tf.matMul(tf.zeros([0, 3, 4]), tf.zeros([0, 4, 5])).shape).toEqual([0, 3, 5]);
  });

  it.each([3, 70])('lets NaN and infinity through, to their row alone: %i rows', async (rows) => {
    for (const [transposeA, transposeB] of transpositions) {
      const a = new Float32Array(rows * 21).fill(1);
      a[1 * 21 + 4] = NaN;
      a[(rows - 1) * 21 + 20] = Infinity;
      const stored = tf.tensor2d(a, [rows, 21]);
      const ones = tf.ones(transposeB ? [13, 21] : [21, 13]);
      const c = await tf.matMul(transposeA ? stored.transpose() : stored, ones, transposeA, transposeB).data();
      for (let i = 0; i < rows; i++) {
        const expected = i === 1 ? NaN : i === rows - 1 ? Infinity : 21;
        expect(c.slice(i * 13, (i + 1) * 13)).toEqual(new Float32Array(13).fill(expected));
      }
    }
  });

  it.each([3, 70])('lets NaN in B through to its column alone: %i rows', async (rows) => {
    for (const [transposeA, transposeB] of transpositions) {
      const b = tf.tensor2d(Float32Array.from({ length: 21 * 13 }, (_, i) => (i === 2 * 13 + 1 ? NaN : 1)), [21, 13]);
      const ones = tf.ones(transposeA ? [21, rows] : [rows, 21]);
      const c = await tf.matMul(ones, transposeB ? b.transpose() : b, transposeA, transposeB).data();
      expect(c).toEqual(Float32Array.from(c, (_, i) => (i % 13 === 1 ? NaN : 21)));
    }
  });

  it('repeats bit for bit', async () => {
    for (const [m, k, n] of [[33, 65, 17], [40, 3000, 36], [2, 500, 30]] as const) {
      const [a, b] = [normal(m, k), normal(k, n)];
      const first = await tf.matMul(a, b).data();
      for (let i = 0; i < 3; i++) expect(await tf.matMul(a, b).data()).toEqual(first);
    }
  });

  it('has the gradients that the product rule says', async () => {
    const [a, b, g] = [normal(2, 9, 5), normal(2, 7, 5), normal(2, 9, 7)];
    const [da, db] = tf.grads((x, y) => tf.matMul(x!, y!, false, true).mul(g).sum())([a, b]) as [Tensor, Tensor];
    const expectedA = g.expandDims(3).mul(b.expandDims(1)).sum(2);
    const expectedB = g.expandDims(3).mul(a.expandDims(2)).sum(1);
    expect(relativeError(await da.data(), await expectedA.data())).toBeLessThan(1e-5);
    expect(relativeError(await db.data(), await expectedB.data())).toBeLessThan(1e-5);
  });

  it('refuses sizes that do not fit', () => {
    expect(() => tf.matMul(tf.zeros([2, 3]), tf.zeros([4, 5]))).toThrow(/3.*4|inner/);
  });

  it('leaves no tensor and no buffer behind', async () => {
    const { bufferManager } = tf.backend() as unknown as { bufferManager: { numUsedBuffers?: number; numBytesUsed: number } };
    const sizes = [[5, 3, 7], [40, 3000, 36], [4, 0, 4], [1, 9, 9]] as const;
    const operands = sizes.map(([m, k, n]) => [normal(m, k), normal(k, n)] as const);
    const [x, y] = [normal(2, 1, 5, 3), normal(1, 3, 3, 4)];
    const run = async (): Promise<void> => {
      for (const [a, b] of operands) {
        const c = tf.matMul(a, b);
        await c.data();
        c.dispose();
      }
      const c = tf.matMul(x, y);
      await c.data();
      c.dispose();
    };
    await run();
    const before = { tensors: tf.memory().numTensors, bytes: bufferManager.numBytesUsed };
    for (let i = 0; i < 3; i++) await run();
    expect({ tensors: tf.memory().numTensors, bytes: bufferManager.numBytesUsed }).toEqual(before);
  });
});

describe.runIf(hasSoftwareGpu)('mixed precision on webgpu', () => {
  onBackend({ backend: 'webgpu', softwareGpu: true });

  /** Of the kernel on `valuesA` [m, k] and `valuesB` [k, n], against the sum of products of what `round` makes of them. */
  async function errorOfMixed(
    [m, k, n]: readonly [number, number, number],
    precision: MatmulPrecision,
    round: (x: number) => number,
  ): Promise<number> {
    const [valuesA, valuesB] = [random.normals(m * k), random.normals(k * n)];
    const c = withMatmulPrecision(precision, () => tf.matMul(tf.tensor2d(valuesA, [m, k]), tf.tensor2d(valuesB, [k, n])));
    const expected = Float64Array.from({ length: m * n }, (_, at) => {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += round(valuesA[Math.floor(at / n) * k + p]!) * round(valuesB[p * n + (at % n)]!);
      return sum;
    });
    return relativeError(await c.data(), expected);
  }

  const sizes = [[33, 40, 17], [2, 40, 17], [20, 2000, 8], [9, 40, 1]] as const;
  it.each(sizes)('rounds operands to float16 and nothing else: %i × %i × %i', async (...size) => {
    expect(await errorOfMixed(size, 'mixed', toHalf)).toBeLessThan(2e-6);
    expect(await errorOfMixed(size, 'mixed', (x) => x)).toBeGreaterThan(5e-5);
    expect(await errorOfMixed(size, 'float32', (x) => x)).toBeLessThan(2e-6);
  });

  it('rounds to the nearest, ties to even, and what is too large to infinity', async () => {
    // No subnormal ones: devices may flush them.
    const numbers = [1 + 2 ** -11, 1 + 3 * 2 ** -11, 0.1, -0.1, 7e-5, 65_504, 65_519, 65_520, -1e9, 3e38, 1e-9, NaN, Infinity];
    for (const rows of [1, 6]) {
      const a = tf.tensor2d(Array.from({ length: rows }, () => numbers).flat(), [rows * numbers.length, 1]);
      const c = await withMatmulPrecision('mixed', () => tf.matMul(a, tf.ones([1, rows]))).data();
      const rounded = numbers.map((x) => toHalf(Math.fround(x)));
      const first = (column: number): number[] => rounded.map((_, i) => c[i * rows + column]!);
      for (let column = 0; column < rows; column++) expect(first(column)).toEqual(rounded);
    }
  });

  it('holds for a gradient where it is computed', async () => {
    const [a, b] = [normal(12, 9), normal(9, 7)];
    const gradient = (): Tensor => tf.grad((x: Tensor) => tf.matMul(x, b).square().sum())(a);
    const [exact, mixed] = [gradient(), withMatmulPrecision('mixed', gradient)];
    const error = relativeError(await mixed.data(), await exact.data());
    expect(error).toBeGreaterThan(1e-5);
    expect(error).toBeLessThan(2e-3);
  });
});
