/** @file One wide vector as several heads, and back. Shapes: B batch, T tokens, H heads, S head size. */
import { tf, type Tensor3D, type Tensor4D } from '../backend/index.ts';
import { invariant } from '../base/index.ts';

/**
 * @param x [B, T, H·S]
 * @returns [B, H, T, S]
 * @throws RangeError when the width is not a multiple of heads.
 */
export function splitHeads(x: Tensor3D, heads: number): Tensor4D {
  const [batch, tokens, width] = x.shape;
  invariant(width % heads === 0, () => `splitHeads: the width ${width} of x [${x.shape}] is not a multiple of ${heads} heads`);
  return tf.tidy(() => tf.transpose(tf.reshape(x, [batch, tokens, heads, width / heads]), [0, 2, 1, 3]));
}

/**
 * @param x [B, H, T, S]
 * @returns [B, T, H·S]
 */
export function mergeHeads(x: Tensor4D): Tensor3D {
  const [batch, heads, tokens, headSize] = x.shape;
  return tf.tidy(() => tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [batch, tokens, heads * headSize]));
}
