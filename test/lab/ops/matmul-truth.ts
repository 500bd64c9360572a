/** @file Matrix products against sums in double precision. */
import { Random, tf } from 'lab';
import { expect } from 'vitest';

/** op(A) op(B) with batch axes that may be broadcast. */
export interface Product {
  readonly batchA: readonly number[];
  readonly batchB: readonly number[];
  readonly m: number;
  readonly k: number;
  readonly n: number;
}

const random = new Random(7);
const sizeOf = (shape: readonly number[]): number => shape.reduce((size, n) => size * n, 1);
export const transpositions = [
  [false, false],
  [false, true],
  [true, false],
  [true, true],
] as const;

/** Which matrix of an operand meets the i-th of the broadcast batch. */
function matrixIndex(i: number, batch: readonly number[], shape: readonly number[]): number {
  let index = 0;
  let step = 1;
  let rest = i;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = batch[axis - shape.length + batch.length] ?? 1;
    const place = rest % shape[axis]!;
    rest = Math.floor(rest / shape[axis]!);
    if (size > 1) index += place * step;
    step *= size;
  }
  return index;
}

/** ‖C − reference‖ relative to ‖ |A| |B| ‖, the yardstick of rounding errors in a sum (Higham 2002, section 3.5). */
export async function errorOf({ batchA, batchB, m, k, n }: Product, transposeA: boolean, transposeB: boolean): Promise<number> {
  const shapeA = [...batchA, ...(transposeA ? [k, m] : [m, k])];
  const shapeB = [...batchB, ...(transposeB ? [n, k] : [k, n])];
  const valuesA = random.normals(sizeOf(shapeA));
  const valuesB = random.normals(sizeOf(shapeB));
  const [a, b] = [tf.tensor(valuesA, shapeA), tf.tensor(valuesB, shapeB)];
  const c = tf.matMul(a, b, transposeA, transposeB);
  const batch = tf.broadcast_util.assertAndGetBroadcastShape([...batchA], [...batchB]);
  expect(c.shape).toEqual([...batch, m, n]);
  const values = await c.data();
  tf.dispose([a, b, c]);
  let error = 0;
  let scale = 0;
  for (let q = 0; q < sizeOf(batch); q++) {
    const startA = matrixIndex(q, batchA, batch) * m * k;
    const startB = matrixIndex(q, batchB, batch) * k * n;
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        let size = 0;
        for (let p = 0; p < k; p++) {
          const term = valuesA[startA + (transposeA ? p * m + i : i * k + p)]! * valuesB[startB + (transposeB ? j * k + p : p * n + j)]!;
          sum += term;
          size += Math.abs(term);
        }
        error += (values[(q * m + i) * n + j]! - sum) ** 2;
        scale += size ** 2;
      }
    }
  }
  return scale === 0 ? Math.sqrt(error) : Math.sqrt(error / scale);
}

/** Over all transpositions. */
export async function worstOf(products: readonly Product[]): Promise<number> {
  let worst = 0;
  for (const one of products) {
    for (const [transposeA, transposeB] of transpositions) worst = Math.max(worst, await errorOf(one, transposeA, transposeB));
  }
  return worst;
}

/** A few units in the last place of a float. */
export const TOLERANCE = 5e-7;
export const single = (m: number, k: number, n: number): Product => ({ batchA: [], batchB: [], m, k, n });

/** The nearest number of float16 (IEEE 754, ties to even), in double precision. */
export function toHalf(x: number): number {
  if (!Number.isFinite(x) || x === 0) return x;
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(x))), -14);
  const unit = 2 ** (exponent - 10);
  const whole = Math.floor(x / unit);
  const rest = x / unit - whole;
  const rounded = (rest > 0.5 || (rest === 0.5 && whole % 2 !== 0) ? whole + 1 : whole) * unit;
  return Math.abs(rounded) > 65_504 ? Math.sign(x) * Infinity : rounded;
}
