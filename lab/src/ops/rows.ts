/**
 * @file Leading axes, whatever they are, as the rows of one matrix.
 */
import { tf, type Tensor, type Tensor2D } from '../backend/index.ts';

/** [..., I] → [N, I] */
export function rowsOf(x: Tensor): Tensor2D {
  return (x.rank === 2 ? x : tf.reshape(x, [-1, x.shape.at(-1)!])) as Tensor2D;
}

/** Sums over every axis but the last: how the gradient of something that was broadcast over rows is collected. */
export function sumOverRows(x: Tensor): Tensor {
  return tf.sum(rowsOf(x), 0);
}
