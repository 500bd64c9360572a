/** @file The residual connection: what a layer found out is added to what was there. He et al. 2016, section 3. */
import { tf, type Tensor } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { withGradient } from '../with-gradient.ts';

/**
 * stream + update. The gradient goes to both as it is, and nothing is kept for it: the tape's own addition would keep both
 * tensors, only to know their shapes.
 *
 * @param stream any shape
 * @param update the same shape
 * @throws RangeError when the shapes differ.
 */
export function residual<T extends Tensor>(stream: T, update: T): T {
  invariant(
    stream.shape.join() === update.shape.join(),
    () => `residual: the stream is [${stream.shape}] but the update is [${update.shape}]; they must be equal`,
  );
  return withGradient<T>([stream, update], () => ({
    value: tf.add(stream, update) as Tensor as T,
    gradient: (dy) => [tf.clone(dy), tf.clone(dy)],
  }));
}
