/**
 * @file A limit on how far one batch may pull: when all gradients together are longer than `maximum`, all are shortened alike.
 * Pascanu, Mikolov and Bengio 2013.
 */
import { tf, type Scalar, type Tensor } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import type { NamedTensors } from './optimizer.ts';

/** √ of the sum of all squares, over all tensors. */
export function globalNorm(gradients: NamedTensors): Scalar {
  return tf.tidy(() => {
    const squares = [...gradients.values()].map((gradient) => gradient.square().sum<Scalar>());
    // Not addN: on webgpu it wants a binding for each tensor, and there are few.
    return tf.stack(squares).sum<Scalar>().sqrt();
  });
}

/**
 * The gradients times min(1, maximum / norm), as new tensors. Nothing is read back from the device.
 *
 * @param maximum length that is left alone
 */
export function clipByGlobalNorm(gradients: NamedTensors, maximum: number): Map<string, Tensor> {
  invariant(maximum > 0, `clipByGlobalNorm: the maximum must be positive, got ${maximum}`);
  const clipped = tf.tidy(() => {
    // The epsilon is PyTorch's: a norm of zero divides by something.
    const factor = tf.minimum(1, tf.div(maximum, globalNorm(gradients).add(1e-6)));
    return Object.fromEntries([...gradients].map(([path, gradient]) => [path, gradient.mul(factor)]));
  });
  return new Map(Object.entries(clipped));
}
