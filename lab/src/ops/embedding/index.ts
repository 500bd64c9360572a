/**
 * @file Embedding: token ids pick rows of a table, and in the backward pass each row collects the gradients of its tokens.
 *
 * Shapes: V vocabulary, D width, N ids.
 */
import { tf, type Tensor, type Tensor1D, type Tensor2D } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { fusedKernel } from '../fused.ts';
import { oneHotRows } from '../one-hot.ts';
import { withGradient } from '../with-gradient.ts';
import './webgpu.ts';

/**
 * The rows of `table` that `ids` name.
 *
 * @param table [V, D]
 * @param ids int32, any shape, each 0 … V − 1 (not checked here: the values are on the device)
 * @returns [...ids, D]
 * @throws RangeError when the table is not a matrix or the ids are not int32.
 */
export function embedding<T extends Tensor>(table: Tensor2D, ids: Tensor): T {
  invariant(table.rank === 2, () => `embedding: the table must be [V, D], got [${table.shape}]`);
  invariant(ids.dtype === 'int32', () => `embedding: ids must be int32, got ${ids.dtype}`);
  const [rows, width] = table.shape;
  return withGradient<T>([table], (save) => {
    const flat = tf.reshape(ids, [-1]) as Tensor1D;
    save(flat);
    return {
      value: tf.reshape(tf.gather(table, flat), [...ids.shape, width]) as Tensor as T,
      gradient: (dy, [savedIds]) => [sumByRow(tf.reshape(dy, [-1, width]), savedIds as Tensor1D, rows)],
    };
  });
}

/**
 * Row r of the result is the sum of the values whose id is r.
 * By the backend's own kernel where it has a good one, else as a product with the one-hot matrix of the ids.
 *
 * @param values [N, D]
 * @returns [rows, D]
 */
function sumByRow(values: Tensor2D, ids: Tensor1D, rows: number): Tensor2D {
  const fused = fusedKernel('embeddingGradient');
  if (fused) return fused({ dy: values, ids }, { rows })[0] as Tensor2D;
  const backend = tf.getBackend();
  // The cpu backend has a kernel too, one that walks the values once for every row.
  if (backend !== 'cpu' && tf.getKernel('UnsortedSegmentSum', backend)) return tf.unsortedSegmentSum(values, ids, rows);
  if (rows === 1) return tf.sum(values, 0, true);
  return tf.matMul(oneHotRows(ids, rows), values, true, false);
}
