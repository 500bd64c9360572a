/**
 * @file The sizes of a product of tensors, and which matrices meet when the axes before the last two are broadcast.
 */
import { tf } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import type { Info } from '../kernel-registry.ts';

export interface Dimensions {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly batchShape: number[];
}

/** Of op(a) op(b): [..., m, k] × [..., k, n]. @throws RangeError when they do not fit. */
export function dimensionsOf(a: Info, b: Info, transposeA: boolean, transposeB: boolean): Dimensions {
  const [aDown, aRight] = a.shape.slice(-2) as [number, number];
  const [bDown, bRight] = b.shape.slice(-2) as [number, number];
  const [m, k] = transposeA ? [aRight, aDown] : [aDown, aRight];
  const [kb, n] = transposeB ? [bRight, bDown] : [bDown, bRight];
  const sizes = (of: Info): string => `[${of.shape.join(', ')}]`;
  invariant(k === kb, () => `matMul: ${sizes(a)} and ${sizes(b)} do not fit: the inner sizes are ${k} and ${kb}`);
  const batchShape = tf.broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  return { m, n, k, batchShape };
}

/** For each matrix of the broadcast batch, how many matrices the operand's lies behind its first. */
export function matrixIndices(shape: readonly number[], batchShape: readonly number[]): number[] {
  const padded = [...new Array<number>(batchShape.length - shape.length).fill(1), ...shape];
  let indices = [0];
  let inner = 1;
  const strides = padded.map(() => 0);
  for (let axis = padded.length - 1; axis >= 0; axis--) {
    strides[axis] = padded[axis] === 1 ? 0 : inner;
    inner *= padded[axis]!;
  }
  for (const [axis, size] of batchShape.entries()) {
    indices = indices.flatMap((start) => Array.from({ length: size }, (_, i) => start + i * strides[axis]!));
  }
  return indices;
}
