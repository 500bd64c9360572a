/**
 * @file What PPO minimizes: the clipped objective of the policy and the clipped error of the values.
 * Schulman et al. 2017, equations 7 and 9; as TRL computes them.
 *
 * Shapes: N tokens that were drawn.
 */
import { tf, type Scalar, type Tensor1D } from '../../backend/index.ts';

/** How far the ratio of new to old probability may be pulled from one. */
export interface RatioClip {
  /** Default 0.2. */
  readonly clip?: number;
}

/**
 * The terms max(−A ρ, −A clamp(ρ, 1 − ε, 1 + ε)), where ρ = exp(new − old).
 *
 * @param now log-probabilities [N] @param before those under which the tokens were drawn [N] @param advantages [N]
 * @returns [N]
 */
export function clippedObjective(now: Tensor1D, before: Tensor1D, advantages: Tensor1D, { clip = 0.2 }: RatioClip = {}): Tensor1D {
  return tf.tidy(() => {
    const ratio = tf.exp(tf.sub(now, before));
    const against = tf.neg(advantages);
    return tf.maximum<Tensor1D>(tf.mul(against, ratio), tf.mul(against, tf.clipByValue(ratio, 1 - clip, 1 + clip)));
  });
}

/** Which share of the tokens the clipping holds back. */
export function clipFraction(now: Tensor1D, before: Tensor1D, advantages: Tensor1D, { clip = 0.2 }: RatioClip = {}): Scalar {
  return tf.tidy(() => {
    const ratio = tf.exp(tf.sub(now, before));
    const against = tf.neg(advantages);
    const held = tf.greater(tf.mul(against, tf.clipByValue(ratio, 1 - clip, 1 + clip)), tf.mul(against, ratio));
    return tf.mean(tf.cast(held, 'float32'));
  });
}

/**
 * ½ mean of max((V − R)², (clamp(V, V_old ± ε) − R)²).
 *
 * @param values [N] @param before the values at the time of drawing [N] @param returns [N]
 */
export function clippedValueLoss(values: Tensor1D, before: Tensor1D, returns: Tensor1D, { clip = 0.2 }: RatioClip = {}): Scalar {
  return tf.tidy(() => {
    const clipped = tf.maximum(tf.minimum(values, tf.add(before, clip)), tf.sub(before, clip));
    const worse = tf.maximum(tf.square(tf.sub(values, returns)), tf.square(tf.sub(clipped, returns)));
    return tf.mul<Scalar>(tf.mean(worse), 0.5);
  });
}
