/**
 * @file Fake quantization: numbers are put on the grid that they will later be stored on, but stay floats, and the gradient
 * passes as if nothing had happened (the straight-through estimator, Bengio et al. 2013, section 4). The grid is that of LLM-
 * QAT (Liu et al. 2023, section 3.2; SymQuantizer in facebookresearch/LLM-QAT): symmetric, as far as the largest number of each
 * row.
 *
 * Theirs and ours: their code divides the rounded numbers by s + 1e-6, which shrinks them a little; here the scale that divides
 * is the scale that multiplies, so that the numbers are exactly those that packed codes give back. Their gradient is zero where
 * |x| ≥ 2, a left-over of a clipping that they no longer do; here that is an option, off unless told. At 2 bits they switch to
 * another grid; here the rule is the same for every width.
 */
import { tf, type Tensor } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { withGradient } from '../../ops/index.ts';

export interface FakeQuantizeOptions {
  /** 2 … 16: the codes are −(2ᵇ⁻¹ − 1) … 2ᵇ⁻¹ − 1. */
  readonly bits: number;
  /** No gradient where |x| is this or more (default Infinity; LLM-QAT's code: 2). */
  readonly gradientLimit?: number;
}

/** Whole numbers, still as floats, and what a step of each row is worth. */
export interface SymmetricCodes<T extends Tensor = Tensor> {
  /** The shape of x. */
  readonly codes: T;
  /** [..., 1] */
  readonly scales: Tensor;
}

/** What keeps a row of zeros from dividing by zero. */
const LEAST = 1e-6;

/**
 * scale · round(x / scale), scale = (max|x| + 1e-6) / (2ᵇ⁻¹ − 1) for each row (the last axis): a weight's row is an output
 * channel, an activation's row is a token. Halves go to the even number. The gradient passes unchanged.
 *
 * @param x [..., N]
 * @throws RangeError for bits that are not a whole number from 2 to 16.
 */
export function fakeQuantize<T extends Tensor>(x: T, { bits, gradientLimit = Infinity }: FakeQuantizeOptions): T {
  checkAwareBits('fakeQuantize', bits);
  return withGradient<T>([x], (save) => {
    const limited = gradientLimit < Infinity;
    if (limited) save(x);
    const { codes, scales } = symmetricCodes(x, bits);
    return {
      value: tf.mul<T>(codes, scales),
      gradient: (dy, [given]) => [() => (limited ? tf.where(tf.less(tf.abs(given!), gradientLimit), dy, 0) : tf.clone(dy))],
    };
  });
}

/** The codes and scales behind `fakeQuantize`, off the tape's sight: rounding has no gradient. */
export function symmetricCodes<T extends Tensor>(x: T, bits: number): SymmetricCodes<T> {
  return tf.tidy(() => {
    const most = 2 ** (bits - 1) - 1;
    const scales = tf.div(tf.add(tf.max(tf.abs(x), -1, true), LEAST), most);
    return { codes: tf.round(tf.div<T>(x, scales)), scales };
  });
}

/** @throws RangeError for bits that are not a whole number from 2 to 16. */
export function checkAwareBits(what: string, bits: number): void {
  invariant(
    Number.isInteger(bits) && bits >= 2 && bits <= 16,
    () => `${what}: bits must be a whole number from 2 to 16, got ${bits}`,
  );
}
