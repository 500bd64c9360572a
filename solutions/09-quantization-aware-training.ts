/**
 * @file Reference answers of chapter 09, quantization-aware training: short, plain, and built on one another.
 * Bengio et al. 2013 (straight-through), Hinton et al. 2015 (distillation), Liu et al. 2023 (LLM-QAT).
 *
 * Shapes: B batch, T tokens, I inputs, O outputs, V vocabulary, K key/value heads, S head size.
 */
import * as lab from 'lab';
import { tf } from 'lab';

// #region 9.1 straight-through
/**
 * Puts every row (the last axis) on a symmetric grid of its own: scale · round(x / scale), with
 * scale = (max|x| + 1e-6) / (2^(bits - 1) - 1). The gradient passes as if nothing had happened.
 *
 * @param x [..., N]
 * @returns [..., N]
 */
export function fakeQuantize(x: tf.Tensor, bits: number): tf.Tensor {
  return tf.customGrad((given) => {
    const values = given as tf.Tensor;
    const scale = values
      .abs()
      .max(-1, true)
      .add(1e-6)
      .div(2 ** (bits - 1) - 1);
    return { value: values.div(scale).round().mul(scale), gradFunc: (dy: tf.Tensor) => dy };
  })(x);
}
// #endregion

// #region 9.2 fake-quantized linear
/**
 * Q(x) Q(W)ᵀ + b: weights on one grid per output, inputs on one per token. The bias stays as it is.
 *
 * @param x [B, T, I]
 * @param weight [O, I], the floats that are trained
 * @param bias [O]
 * @param bits of weights and activations; null: floats
 * @returns [B, T, O]
 */
export function fakeQuantLinear(
  x: tf.Tensor,
  weight: tf.Tensor,
  bias: tf.Tensor,
  bits: { weights: number | null; activations: number | null },
): tf.Tensor {
  const [B, T, I] = x.shape as [number, number, number];
  const inputs = bits.activations === null ? x : fakeQuantize(x, bits.activations);
  const rounded = bits.weights === null ? weight : fakeQuantize(weight, bits.weights);
  return tf
    .matMul(inputs.reshape([B * T, I]), rounded, false, true)
    .add(bias)
    .reshape([B, T, bias.size]);
}
// #endregion

// #region 9.3 self-generated data
/**
 * A text that a model writes for itself: the most likely token each time until there are
 * `greedyLength` tokens (the first included), then tokens drawn from its distribution.
 *
 * @param nextLogits the logits [V] of what comes after these tokens
 * @param first the token to begin with
 * @param length of the text, the first token included
 * @param uniform a random number in [0, 1): one for each token that is drawn, which is the first
 *   whose cumulative probability is above it
 */
export async function writeSequence(
  nextLogits: (tokens: number[]) => Promise<Float32Array>,
  first: number,
  length: number,
  greedyLength: number,
  uniform: () => number,
): Promise<number[]> {
  const tokens = [first];
  while (tokens.length < length) {
    const logits = await nextLogits(tokens);
    const greedy = tokens.length < greedyLength;
    if (greedy) tokens.push(logits.indexOf(Math.max(...logits)));
    else tokens.push(lab.sampleFrom(lab.nextTokenDistribution(logits), { uniform }));
  }
  return tokens;
}
// #endregion

// #region 9.4 distillation
/**
 * The mean over the tokens of Σ p (log p - log q): p is the teacher's distribution, q the student's.
 *
 * @param student logits [B, T, V]
 * @param teacher logits [B, T, V]; no gradient goes there
 */
export function distillationLoss(student: tf.Tensor, teacher: tf.Tensor): tf.Scalar {
  const logP = tf.logSoftmax(teacher);
  const logQ = tf.logSoftmax(student);
  return logP.exp().mul(logP.sub(logQ)).sum(-1).mean();
}
// #endregion

// #region 9.5 per-token activations
/**
 * Whole numbers and what one step of each row is worth: x is about codes · scales.
 *
 * @param x [N, I]
 * @returns codes [N, I] from -(2^(bits - 1) - 1) to 2^(bits - 1) - 1, scales [N, 1]
 */
export function quantizeRows(x: tf.Tensor, bits: number): { codes: tf.Tensor; scales: tf.Tensor } {
  const scales = x
    .abs()
    .max(-1, true)
    .add(1e-6)
    .div(2 ** (bits - 1) - 1);
  return { codes: x.div(scales).round(), scales };
}

/**
 * x Wᵀ from the codes of both: whole numbers are multiplied and added up, and the scales come last.
 *
 * @param x the tokens: codes [N, I], scales [N, 1]
 * @param weight the outputs: codes [O, I], scales [O, 1]
 * @returns [N, O]
 */
export function integerProduct(
  x: { codes: tf.Tensor; scales: tf.Tensor },
  weight: { codes: tf.Tensor; scales: tf.Tensor },
): tf.Tensor {
  return tf.matMul(x.codes, weight.codes, false, true).mul(x.scales).mul(weight.scales.transpose());
}
// #endregion

// #region 9.6 a quantized cache
interface Codes {
  codes: tf.Tensor;
  scales: tf.Tensor;
}
interface QuantizedCache {
  k: Codes;
  v: Codes;
}

/**
 * Puts the keys and values of new tokens behind those that are kept. Only codes and scales are kept,
 * one scale for all heads of a token's keys, and one for those of its values.
 *
 * @param cache codes [B, U, K·S] and scales [B, U, 1] of U earlier tokens; null: there are none
 * @param k [B, K, T, S]
 * @param v [B, K, T, S]
 * @returns the longer cache, and from it the floats of all U + T tokens, [B, K, U + T, S]
 */
export function appendQuantized(
  cache: QuantizedCache | null,
  k: tf.Tensor,
  v: tf.Tensor,
  bits: number,
): { cache: QuantizedCache; k: tf.Tensor; v: tf.Tensor } {
  const [B, K, T, S] = k.shape as [number, number, number, number];
  const grown = (kept: Codes | undefined, x: tf.Tensor): Codes => {
    const rows = x.transpose([0, 2, 1, 3]).reshape([B, T, K * S]); // a token is a row
    const added = quantizeRows(rows, bits);
    if (!kept) return added;
    return { codes: tf.concat([kept.codes, added.codes], 1), scales: tf.concat([kept.scales, added.scales], 1) };
  };
  const floats = ({ codes, scales }: Codes) => codes.mul(scales).reshape([B, -1, K, S]).transpose([0, 2, 1, 3]);
  const longer = { k: grown(cache?.k, k), v: grown(cache?.v, v) };
  return { cache: longer, k: floats(longer.k), v: floats(longer.v) };
}
// #endregion
