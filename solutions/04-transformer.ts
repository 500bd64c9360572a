/**
 * @file Chapter 04, the Transformer: the reference answer of every exercise.
 *
 * Shapes: B batch, T tokens, D width, F hidden width of the MLP, V vocabulary.
 */
import { tf } from 'lab';

// #region 4.1 layer norm
/**
 * Layer normalisation (Ba et al. 2016): every vector along the last axis gets mean 0 and variance 1, then gain and bias.
 *
 * @param x [..., D]
 * @param gain [D]
 * @param bias [D]
 * @returns (x − mean) / √(variance + epsilon) · gain + bias, the shape of x; the variance divides by D
 */
export function layerNorm(x: tf.Tensor, gain: tf.Tensor1D, bias: tf.Tensor1D, epsilon = 1e-5): tf.Tensor {
  const centred = x.sub(x.mean(-1, true)); // [..., D]
  const variance = centred.square().mean(-1, true); // [..., 1]
  return centred.mul(variance.add(epsilon).rsqrt()).mul(gain).add(bias);
}
// #endregion

// #region 4.2 RMS norm
/**
 * Root-mean-square normalisation (Zhang and Sennrich 2019): only the length of each vector is normalised, not its mean.
 *
 * @param x [..., D]
 * @param gain [D]
 * @returns x / √(mean of x² + epsilon) · gain, the shape of x
 */
export function rmsNorm(x: tf.Tensor, gain: tf.Tensor1D, epsilon = 1e-6): tf.Tensor {
  const meanSquare = x.square().mean(-1, true); // [..., 1]
  return x.mul(meanSquare.add(epsilon).rsqrt()).mul(gain);
}
// #endregion

// #region 4.3 GELU MLP
/** GELU in the tanh form of GPT-2 (Hendrycks and Gimpel 2016): ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))). */
export function gelu(x: tf.Tensor): tf.Tensor {
  const inner = x.add(x.mul(x).mul(x).mul(0.044715)).mul(Math.sqrt(2 / Math.PI));
  return x.mul(inner.tanh().add(1)).mul(0.5);
}

/**
 * The MLP of GPT-2: widen, bend, narrow. Weights are stored [out, in], as everywhere in the lab.
 *
 * @param x [B, T, D]
 * @param up weight [F, D] and bias [F]
 * @param down weight [D, F] and bias [D]
 * @returns [B, T, D]
 */
export function geluMLP(
  x: tf.Tensor3D,
  up: { weight: tf.Tensor2D; bias: tf.Tensor1D },
  down: { weight: tf.Tensor2D; bias: tf.Tensor1D },
): tf.Tensor3D {
  const [B, T, D] = x.shape;
  const rows = x.reshape([B * T, D]) as tf.Tensor2D; // every token by itself
  const hidden = gelu(tf.matMul(rows, up.weight, false, true).add(up.bias)); // [B·T, F]
  const out = tf.matMul(hidden as tf.Tensor2D, down.weight, false, true).add(down.bias); // [B·T, D]
  return out.reshape([B, T, D]);
}
// #endregion

// #region 4.4 SwiGLU
/**
 * The gated MLP of Llama (Shazeer 2020): SiLU of one projection decides how much of the other passes. No biases.
 *
 * @param x [B, T, D]
 * @param gate [F, D]
 * @param up [F, D]
 * @param down [D, F]
 * @returns (silu(x gateᵀ) ⊙ (x upᵀ)) downᵀ, [B, T, D]
 */
export function swigluMLP(x: tf.Tensor3D, gate: tf.Tensor2D, up: tf.Tensor2D, down: tf.Tensor2D): tf.Tensor3D {
  const [B, T, D] = x.shape;
  const rows = x.reshape([B * T, D]) as tf.Tensor2D;
  const opening = tf.matMul(rows, gate, false, true); // [B·T, F]
  const hidden = opening.mul(opening.sigmoid()).mul(tf.matMul(rows, up, false, true)); // [B·T, F]
  return tf.matMul(hidden as tf.Tensor2D, down, false, true).reshape([B, T, D]);
}
// #endregion

// #region 4.5 residual block
/**
 * One pre-norm block (Radford et al. 2019): both parts read a normalised copy of the stream and add their answer to it.
 *
 * @param x [B, T, D], the residual stream
 * @returns h + mlp(mlpNorm(h)) with h = x + attention(attentionNorm(x)), [B, T, D]
 */
export function residualBlock(
  x: tf.Tensor3D,
  parts: {
    attentionNorm: (x: tf.Tensor3D) => tf.Tensor3D;
    attention: (x: tf.Tensor3D) => tf.Tensor3D;
    mlpNorm: (x: tf.Tensor3D) => tf.Tensor3D;
    mlp: (x: tf.Tensor3D) => tf.Tensor3D;
  },
): tf.Tensor3D {
  const h = x.add(parts.attention(parts.attentionNorm(x))) as tf.Tensor3D;
  return h.add(parts.mlp(parts.mlpNorm(h))) as tf.Tensor3D;
}
// #endregion

// #region 4.6 schedule
/**
 * The learning rate of a step: a straight line up, half a cosine down (Loshchilov and Hutter 2017), then the minimum.
 *
 * @param step counted from 0
 * @param options learningRate: the peak, reached at step warmupSteps; warmupSteps: how many steps lie below it on the line,
 *   none when 0 (the line is at zero one step before the first); steps: where the cosine ends; minimum: the rate from there on
 */
export function warmupCosineAt(
  step: number,
  options: { learningRate: number; warmupSteps: number; steps: number; minimum: number },
): number {
  const { learningRate, warmupSteps, steps, minimum } = options;
  if (step < warmupSteps) return (learningRate * (step + 1)) / (warmupSteps + 1);
  if (step >= steps) return minimum;
  const progress = (step - warmupSteps) / (steps - warmupSteps);
  return minimum + 0.5 * (1 + Math.cos(Math.PI * progress)) * (learningRate - minimum);
}
// #endregion

// #region 4.7 AdamW step
/**
 * One step of AdamW (Loshchilov and Hutter 2019) on one parameter.
 *
 * @param parameter any shape; gradient, mean and square have the same
 * @param mean the running mean of the gradients so far (m, zeros at first)
 * @param square the running mean of their squares (v, zeros at first)
 * @param options step: counted from 1; weightDecay: decoupled, so it shrinks the parameter by learningRate · weightDecay
 * @returns the new parameter, mean and square
 */
export function adamWStep(
  parameter: tf.Tensor,
  gradient: tf.Tensor,
  mean: tf.Tensor,
  square: tf.Tensor,
  options: { step: number; learningRate: number; beta1: number; beta2: number; epsilon: number; weightDecay: number },
): { parameter: tf.Tensor; mean: tf.Tensor; square: tf.Tensor } {
  const { step, learningRate, beta1, beta2, epsilon, weightDecay } = options;
  const newMean = mean.mul(beta1).add(gradient.mul(1 - beta1));
  const newSquare = square.mul(beta2).add(gradient.square().mul(1 - beta2));
  const unbiasedMean = newMean.div(1 - beta1 ** step);
  const unbiasedSquare = newSquare.div(1 - beta2 ** step);
  const update = unbiasedMean.div(unbiasedSquare.sqrt().add(epsilon));
  const shrunk = parameter.mul(1 - learningRate * weightDecay);
  return { parameter: shrunk.sub(update.mul(learningRate)), mean: newMean, square: newSquare };
}
// #endregion

// #region 4.8 sampling
/**
 * The distribution from which the next token is drawn.
 *
 * @param logits one number for each token of the vocabulary; not changed
 * @param options temperature > 0 divides the logits; then topK keeps the k likeliest tokens; then topP keeps the
 *   fewest likeliest of those whose probabilities together reach p (Holtzman et al. 2020), at least one
 * @returns probabilities that sum to 1, 0 for what was left out
 */
export function tokenDistribution(
  logits: Float32Array,
  options: { temperature?: number; topK?: number; topP?: number } = {},
): Float32Array {
  const { temperature = 1, topK = logits.length, topP = 1 } = options;
  const order = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]!); // likeliest first
  const kept = order.slice(0, topK);
  const largest = logits[order[0]!]!;
  const weights = kept.map((token) => Math.exp((logits[token]! - largest) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let size = 0;
  let mass = 0;
  while (size < kept.length && mass < topP * total) mass += weights[size++]!;
  const distribution = new Float32Array(logits.length);
  for (let i = 0; i < size; i++) distribution[kept[i]!] = weights[i]! / mass;
  return distribution;
}
// #endregion

// #region 4.9 parameter count
/**
 * How many numbers a GPT-2 style model learns: token and position embeddings, blocks of attention (query, key, value,
 * output), MLP (up, down) and two layer norms, a final layer norm, and the head, which has no bias of its own.
 *
 * @param config hiddenSize is 4 · width unless told; bias: do linear layers and norms have one (a norm always has a
 *   gain); tiedHead: does the head share the token embedding's matrix
 */
export function countParameters(config: {
  vocabSize: number;
  contextLength: number;
  layers: number;
  width: number;
  hiddenSize?: number;
  bias?: boolean;
  tiedHead?: boolean;
}): number {
  const { vocabSize, contextLength, layers, width, hiddenSize = 4 * width, bias = true, tiedHead = true } = config;
  const linear = (inputs: number, outputs: number) => inputs * outputs + (bias ? outputs : 0);
  const norm = bias ? 2 * width : width;
  const attention = 4 * linear(width, width);
  const mlp = linear(width, hiddenSize) + linear(hiddenSize, width);
  const embeddings = (vocabSize + contextLength) * width;
  const head = tiedHead ? 0 : vocabSize * width;
  return embeddings + layers * (attention + mlp + 2 * norm) + norm + head;
}
// #endregion
