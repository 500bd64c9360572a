/**
 * @file Estimates of how far the policy p has gone from its reference q, from tokens that p drew. Schulman 2020,
 * "Approximating KL divergence": k1 = log p/q has no bias, k2 = ½ log² p/q has little variance, k3 = q/p − 1 − log q/p has no
 * bias and is never negative.
 */
import { tf, type Tensor } from '../../backend/index.ts';

export type KlEstimator = 'k1' | 'k2' | 'k3';

/** @param policy log-probabilities of the drawn tokens, [N] @param reference the same of the reference, [N] @returns [N], nats */
export function klEstimate<T extends Tensor>(policy: T, reference: T, estimator: KlEstimator = 'k1'): T {
  return tf.tidy(() => {
    const logRatio = tf.sub<T>(policy, reference);
    if (estimator === 'k1') return logRatio;
    if (estimator === 'k2') return tf.mul(tf.square(logRatio), 0.5);
    return tf.add(tf.sub(tf.exp(tf.neg(logRatio)), 1), logRatio);
  });
}
