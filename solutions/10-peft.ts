/**
 * @file Reference answers of chapter 10, parameter-efficient fine-tuning: a large model stays as it is, and something small is
 * trained in it. Houlsby et al. 2019 (adapters), Ben Zaken et al. 2022 (BitFit), Hu et al. 2021 (LoRA), Li and Liang 2021
 * (prefixes), Lester et al. 2021 (soft prompts), Liu et al. 2022 ((IA)³), Liu et al. 2024 (DoRA).
 *
 * Shapes: B batch, T tokens, D width, O outputs, I inputs, r rank or bottleneck, n virtual tokens, H heads, S head size,
 * L layers.
 */
import * as lab from 'lab';
import { tf } from 'lab';

// #region 10.1 what is trained
/**
 * How many numbers each method trains in a GPT-2 of L blocks and width D, whose MLPs are 4 D wide inside.
 *
 * @param layers L
 * @param width D
 * @param size r, the rank of LoRA and the bottleneck of adapters
 * @param tokens n, the virtual tokens of a soft prompt or a prefix
 */
export function countTrained(
  layers: number,
  width: number,
  size: number,
  tokens: number,
): { lora: number; adapters: number; bitfit: number; prompt: number; prefix: number } {
  const adapter = width * size + size + size * width + width;
  // Queries, keys, values and output; MLP up and down; two norms.
  const biases = 4 * width + 4 * width + width + 2 * width;
  return {
    lora: layers * 2 * (size * width + width * size),
    adapters: layers * 2 * adapter,
    bitfit: layers * biases + width,
    prompt: tokens * width,
    prefix: tokens * layers * 2 * width,
  };
}
// #endregion

// #region 10.2 an adapter
/**
 * An adapter as training begins: it changes nothing.
 *
 * @param normal a number drawn from the normal distribution, another one with each call
 * @returns down [r, D], of standard deviation 1/√D; downBias [r]; up [D, r]; upBias [D]
 */
export function startAdapter(
  width: number,
  size: number,
  normal: () => number,
): { down: tf.Tensor2D; downBias: tf.Tensor1D; up: tf.Tensor2D; upBias: tf.Tensor1D } {
  const values = Array.from({ length: size * width }, () => normal() / Math.sqrt(width));
  return {
    down: tf.tensor2d(values, [size, width]),
    downBias: tf.zeros([size]),
    up: tf.zeros([width, size]),
    upBias: tf.zeros([width]),
  };
}

/**
 * h + up(gelu(down(h)))
 *
 * @param h [N, D]
 * @returns [N, D]
 */
export function adapterForward(
  h: tf.Tensor2D,
  { down, downBias, up, upBias }: { down: tf.Tensor2D; downBias: tf.Tensor1D; up: tf.Tensor2D; upBias: tf.Tensor1D },
): tf.Tensor2D {
  const inside = lab.gelu(tf.matMul(h, down, false, true).add<tf.Tensor2D>(downBias));
  return h.add<tf.Tensor2D>(tf.matMul(inside, up, false, true).add(upBias));
}
// #endregion

// #region 10.3 a soft prompt
/**
 * A batch with a soft prompt in front.
 *
 * @param prompt [n, D]
 * @param embedded the tokens' vectors, without positions [B, T, D]
 * @param targets [B][T], what follows each token
 * @returns input [B, n + T, D]; the position of each of them [n + T]; targets [B][n + T], −100 where nothing is to be learned
 */
export function prependPrompt(
  prompt: tf.Tensor2D,
  embedded: tf.Tensor3D,
  targets: number[][],
): { input: tf.Tensor3D; positions: number[]; targets: number[][] } {
  const [n] = prompt.shape;
  const [B, T] = embedded.shape;
  const repeated = tf.tile(tf.expandDims<tf.Tensor3D>(prompt, 0), [B, 1, 1]);
  return {
    input: tf.concat([repeated, embedded], 1),
    positions: Array.from({ length: n + T }, (_, i) => i),
    targets: targets.map((row) => [...new Array<number>(n).fill(-100), ...row]),
  };
}
// #endregion

// #region 10.4 a prefix
/**
 * The keys and values of one layer behind its prefix.
 *
 * @param prefix [n, L · 2 · H · S]: for each layer the keys of all heads, then the values of all heads
 * @param layer 0 … L − 1
 * @param k the text's [B, H, T, S]
 * @param v the text's [B, H, T, S]
 * @returns both [B, H, n + T, S]
 */
export function prependPrefix(
  prefix: tf.Tensor2D,
  layer: number,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
): { k: tf.Tensor4D; v: tf.Tensor4D } {
  const [B, H, , S] = k.shape;
  const [n] = prefix.shape;
  const part = (index: number): tf.Tensor4D => {
    const columns = tf.slice(prefix, [0, index * H * S], [n, H * S]);
    const heads = tf.transpose(tf.reshape<tf.Rank.R3>(columns, [n, H, S]), [1, 0, 2]);
    return tf.tile(tf.expandDims<tf.Tensor4D>(heads, 0), [B, 1, 1, 1]);
  };
  return { k: tf.concat([part(2 * layer), k], 2), v: tf.concat([part(2 * layer + 1), v], 2) };
}

/**
 * Who sees whom.
 *
 * @returns [T][n + T]: 1 where a token of the text (row) sees a key (column), else 0
 */
export function prefixMask(n: number, T: number): number[][] {
  return Array.from({ length: T }, (_, t) => Array.from({ length: n + T }, (__, u) => (u <= n + t ? 1 : 0)));
}
// #endregion

// #region 10.5 (IA)³
/**
 * A linear layer whose inputs or outputs are scaled.
 *
 * @param x [N, I]
 * @param factors [I] if they scale the inputs: W (l ∘ x) + b; else [O]: l ∘ (W x + b)
 * @returns [N, O]
 */
export function ia3Forward(
  x: tf.Tensor2D,
  weight: tf.Tensor2D,
  bias: tf.Tensor1D,
  factors: tf.Tensor1D,
  scalesInput: boolean,
): tf.Tensor2D {
  if (scalesInput) return tf.matMul(x.mul<tf.Tensor2D>(factors), weight, false, true).add<tf.Tensor2D>(bias);
  return tf.matMul(x, weight, false, true).add(bias).mul<tf.Tensor2D>(factors);
}

/** The ordinary layer that computes the same. */
export function ia3Merge(
  weight: tf.Tensor2D,
  bias: tf.Tensor1D,
  factors: tf.Tensor1D,
  scalesInput: boolean,
): { weight: tf.Tensor2D; bias: tf.Tensor1D } {
  if (scalesInput) return { weight: weight.mul<tf.Tensor2D>(factors), bias };
  return { weight: weight.mul<tf.Tensor2D>(tf.reshape(factors, [-1, 1])), bias: bias.mul<tf.Tensor1D>(factors) };
}
// #endregion

// #region 10.6 BitFit
/**
 * The parameters that BitFit trains.
 *
 * @param parameters of a model, by path
 * @returns the paths of all biases, in the order given
 */
export function selectBiases(parameters: readonly { path: string; shape: readonly number[] }[]): string[] {
  return parameters.map(({ path }) => path).filter((path) => path.split('.').at(-1) === 'bias');
}
// #endregion

// #region 10.7 LoRA
/**
 * The two thin matrices as training begins.
 *
 * @param random a number from 0 to 1, another one with each call
 * @returns down = A [r, I], uniform in ±1/√I; up = B [O, r]
 */
export function startLoRA(
  outputs: number,
  inputs: number,
  rank: number,
  random: () => number,
): { down: tf.Tensor2D; up: tf.Tensor2D } {
  const bound = 1 / Math.sqrt(inputs);
  const values = Array.from({ length: rank * inputs }, () => (2 * random() - 1) * bound);
  return { down: tf.tensor2d(values, [rank, inputs]), up: tf.zeros([outputs, rank]) };
}

/**
 * y = W x + b + (alpha / r) · B A x, for each row of x.
 *
 * @param x [N, I]
 * @param weight W [O, I], frozen
 * @param bias b [O]
 * @returns [N, O]
 */
export function loraForward(
  x: tf.Tensor2D,
  weight: tf.Tensor2D,
  bias: tf.Tensor1D,
  { down, up }: { down: tf.Tensor2D; up: tf.Tensor2D },
  alpha: number,
): tf.Tensor2D {
  const change = tf.matMul(tf.matMul(x, down, false, true), up, false, true).mul(alpha / down.shape[0]);
  return tf.matMul(x, weight, false, true).add(bias).add<tf.Tensor2D>(change);
}
// #endregion

// #region 10.8 merging
/**
 * One matrix that computes the same as W with LoRA beside it.
 *
 * @returns [O, I]
 */
export function merge(weight: tf.Tensor2D, { down, up }: { down: tf.Tensor2D; up: tf.Tensor2D }, alpha: number): tf.Tensor2D {
  return weight.add<tf.Tensor2D>(tf.matMul(up, down).mul(alpha / down.shape[0]));
}

/** The way back: W from the merged matrix. */
export function unmerge(merged: tf.Tensor2D, { down, up }: { down: tf.Tensor2D; up: tf.Tensor2D }, alpha: number): tf.Tensor2D {
  return merged.sub<tf.Tensor2D>(tf.matMul(up, down).mul(alpha / down.shape[0]));
}
// #endregion

// #region 10.9 DoRA
/**
 * The length of each row, where training begins.
 *
 * @param weight [O, I]
 * @returns m [O]
 */
export function rowLengths(weight: tf.Tensor2D): tf.Tensor1D {
  return tf.sqrt(tf.sum<tf.Tensor1D>(weight.square(), 1));
}

/**
 * The weights of DoRA: each row has the direction of W + (alpha / r) · B A, and the length m.
 *
 * @param magnitude m [O]
 * @returns [O, I]
 */
export function doraWeight(
  weight: tf.Tensor2D,
  { down, up }: { down: tf.Tensor2D; up: tf.Tensor2D },
  alpha: number,
  magnitude: tf.Tensor1D,
): tf.Tensor2D {
  const turned = weight.add<tf.Tensor2D>(tf.matMul(up, down).mul(alpha / down.shape[0]));
  const lengths = tf.sqrt(tf.sum(turned.square(), 1));
  return turned.mul<tf.Tensor2D>(tf.reshape(tf.div(magnitude, lengths), [-1, 1]));
}
// #endregion
