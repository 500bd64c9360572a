/** @file One wide vector as several heads, and back; each is the other's gradient, so that nothing is kept for it. Shapes: B batch, T tokens, H heads, S head size. */
import { tf, type Tensor3D, type Tensor4D } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import { withGradient } from '../ops/index.ts';

/**
 * @param x [B, T, H·S]
 * @returns [B, H, T, S]
 * @throws RangeError when the width is not a multiple of heads.
 */
export function splitHeads(x: Tensor3D, heads: number): Tensor4D {
  const [batch, tokens, width] = x.shape;
  invariant(width % heads === 0, () => `splitHeads: the width ${width} of x [${x.shape}] is not a multiple of ${heads} heads`);
  return withGradient<Tensor4D>([x], () => ({
    value: swapAxes(tf.reshape(x, [batch, tokens, heads, width / heads])),
    gradient: (dy) => [mergeHeads(dy)],
  }));
}

/**
 * @param x [B, H, T, S]
 * @returns [B, T, H·S]
 */
export function mergeHeads(x: Tensor4D): Tensor3D {
  const [batch, heads, tokens, headSize] = x.shape;
  return withGradient<Tensor3D>([x], () => ({
    value: tf.reshape(swapAxes(x), [batch, tokens, heads * headSize]),
    gradient: (dy) => [splitHeads(dy, heads)],
  }));
}

/** [B, X, Y, S] → [B, Y, X, S]. Where one of the two is a single one, as in decoding, nothing has to move. */
function swapAxes(x: Tensor4D): Tensor4D {
  const [batch, first, second, last] = x.shape;
  return first === 1 || second === 1 ? tf.reshape(x, [batch, second, first, last]) : tf.transpose(x, [0, 2, 1, 3]);
}
