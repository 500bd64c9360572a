/** @file One-hot rows, the matrix form of "this one and no other". */
import { tf, type Tensor1D, type Tensor2D } from '../backend/index.ts';

/**
 * Row i is 1 at ids[i] and 0 elsewhere, in float32.
 *
 * @param ids [N] int32
 * @returns [N, depth]
 */
export function oneHotRows(ids: Tensor1D, depth: number): Tensor2D {
  // By way of int32: asked for float32, the wasm kernel writes the bits of the integer 1.
  return tf.tidy(() => tf.cast(tf.oneHot(ids, depth) as Tensor2D, 'float32'));
}
