/**
 * @file RMS normalization: layer norm without the mean, which turns out to do no work. Zhang and Sennrich 2019, equation 4.
 *
 * Shapes: D width; any leading axes.
 */
import { tf, type Tensor, type Tensor1D } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { fusedNorm } from '../norm/fused.ts';
import { withGradient } from '../with-gradient.ts';
import { sumOverRows } from '../rows.ts';

/**
 * x / √(mean(x²) + epsilon) · gain, the mean over the last axis.
 *
 * With n = x/r and g = dy · gain: dx = (g − n · mean(g · n)) / r, dgain = Σ dy · n. Kept for it: n and 1/r;
 * where the running backend has a kernel of its own, x and two numbers a row.
 *
 * @param x [..., D]
 * @param gain [D]
 * @returns the shape of x
 * @throws RangeError when gain is not of the width of x.
 */
export function rmsNorm<T extends Tensor>(x: T, gain: Tensor1D, epsilon = 1e-6): T {
  const width = x.shape.at(-1);
  invariant(
    gain.rank === 1 && gain.size === width,
    () => `rmsNorm: x is [${x.shape}], so gain must be [${width}], got [${gain.shape}]`,
  );
  const fused = fusedNorm(x, gain, null, { epsilon, centered: false });
  if (fused) return fused;
  return withGradient<T>([x, gain], (save) => {
    const inverseRoot = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), epsilon));
    const normalized = tf.mul(x, inverseRoot);
    save(normalized, inverseRoot, gain);
    return {
      value: tf.mul(normalized, gain) as T,
      gradient: (dy, [n, savedInverseRoot, savedGain]) => {
        const g = tf.mul(dy, savedGain!);
        const dx = tf.mul(tf.sub(g, tf.mul(n!, tf.mean(tf.mul(g, n!), -1, true))), savedInverseRoot!);
        return [dx, () => sumOverRows(tf.mul(dy, n!))];
      },
    };
  });
}

/** The same in plain tensor operations, differentiated by the tape: what `rmsNorm` is tested against. */
export function rmsNormReference(x: Tensor, gain: Tensor1D, epsilon = 1e-6): Tensor {
  return tf.tidy(() => x.div(x.square().mean(-1, true).add(epsilon).sqrt()).mul(gain));
}
