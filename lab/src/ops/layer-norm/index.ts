/**
 * @file Layer normalization: every token's vector is shifted to mean 0, scaled to variance 1, and stretched by what was learned.
 * Ba, Kiros and Hinton 2016, section 3.
 *
 * Shapes: D width; any leading axes.
 */
import { tf, type Tensor, type Tensor1D } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { fusedNorm } from '../norm/fused.ts';
import { withGradient } from '../with-gradient.ts';
import { sumOverRows } from '../rows.ts';

/**
 * (x − mean) / √(variance + epsilon) · gain + bias, mean and (biased) variance over the last axis.
 *
 * With n = (x − mean)/σ and g = dy · gain:
 * dx = (g − mean(g) − n · mean(g · n)) / σ, dgain = Σ dy · n, dbias = Σ dy. Kept for it: n and 1/σ; where the running
 * backend has a kernel of its own, x and two numbers a row.
 *
 * @param x [..., D]
 * @param gain [D]
 * @param bias [D], or null for none
 * @returns the shape of x
 * @throws RangeError when gain or bias are not of the width of x.
 */
export function layerNorm<T extends Tensor>(x: T, gain: Tensor1D, bias: Tensor1D | null, epsilon = 1e-5): T {
  checkWidth('layerNorm', x, gain, bias);
  const fused = fusedNorm(x, gain, bias, { epsilon, centered: true });
  if (fused) return fused;
  const inputs = bias ? [x, gain, bias] : [x, gain];
  return withGradient<T>(inputs, (save) => {
    const centered = tf.sub(x, tf.mean(x, -1, true));
    const inverseDeviation = tf.rsqrt(tf.add(tf.mean(tf.square(centered), -1, true), epsilon));
    const normalized = tf.mul(centered, inverseDeviation);
    save(normalized, inverseDeviation, gain);
    const stretched = tf.mul(normalized, gain);
    return { value: (bias ? tf.add(stretched, bias) : stretched) as T, gradient };
  });

  function gradient(dy: Tensor, [n, inverseDeviation, savedGain]: Tensor[]): (Tensor | (() => Tensor))[] {
    const g = tf.mul(dy, savedGain!);
    const projected = tf.sub(tf.sub(g, tf.mean(g, -1, true)), tf.mul(n!, tf.mean(tf.mul(g, n!), -1, true)));
    const gradients = [tf.mul(projected, inverseDeviation!), () => sumOverRows(tf.mul(dy, n!))];
    return bias ? [...gradients, () => sumOverRows(dy)] : gradients;
  }
}

/** The same in plain tensor operations, differentiated by the tape: what `layerNorm` is tested against. */
export function layerNormReference(x: Tensor, gain: Tensor1D, bias: Tensor1D | null, epsilon = 1e-5): Tensor {
  return tf.tidy(() => {
    const { mean, variance } = tf.moments(x, -1, true);
    const normalized = x.sub(mean).div(variance.add(epsilon).sqrt());
    return bias ? normalized.mul(gain).add(bias) : normalized.mul(gain);
  });
}

function checkWidth(what: string, x: Tensor, gain: Tensor, bias: Tensor | null): void {
  const width = x.shape.at(-1);
  invariant(
    gain.rank === 1 && gain.size === width,
    () => `${what}: x is [${x.shape}], so gain must be [${width}], got [${gain.shape}]`,
  );
  invariant(
    !bias || (bias.rank === 1 && bias.size === width),
    () => `${what}: x is [${x.shape}], so bias must be [${width}], got [${bias!.shape}]`,
  );
}
