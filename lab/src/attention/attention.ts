/**
 * @file Scaled dot-product attention: every token asks (query), is asked (key), and answers (value).
 * Vaswani et al. 2017, section 3.2.1; grouped queries: Ainslie et al. 2023.
 *
 * Shapes: B batch, H heads, K key/value heads, T queries, U keys, S head size.
 */
import { tf, type Tensor, type Tensor2D, type Tensor4D } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import { firstKeys, type FusedAttentionOptions, kernelAttention, withGradient } from '../ops/index.ts';
import { causalMask } from './mask.ts';

export interface AttentionOptions {
  /** Hide the future: query t sees keys 0 … t, aligned at the end when there are more keys than queries (default false). */
  readonly causal?: boolean;
  /** Multiplies the scores; 1/√S unless told. */
  readonly scale?: number;
  /** Added to the scores, broadcast to [B, H, T, U]: ALiBi, or a mask of your own. */
  readonly bias?: Tensor;
  /** Changes the weights [B, H, T, U] before they are used: dropout. */
  readonly dropout?: (weights: Tensor4D) => Tensor4D;
  /** How many of the keys and values count: what lies behind them is a cache's room for more. All unless told. */
  readonly keys?: number;
}

/** `attention`, or another function of the same contract: the seam for fused, quantized or your own attention. */
export type AttentionFunction = (q: Tensor4D, k: Tensor4D, v: Tensor4D, options: AttentionOptions) => Tensor4D;

/**
 * softmax(q kᵀ · scale + mask + bias) v
 *
 * When K < H, each run of H/K neighbouring query heads shares one key/value head. Where the running backend has a kernel for it
 * (`fusedAttention`), that is used, and the weights are never written down.
 *
 * @param q [B, H, T, S]
 * @param k [B, K, U, S], K divides H
 * @param v [B, K, U, S] (its head size may differ)
 * @returns [B, H, T, S of v]
 * @throws RangeError when the shapes do not belong together, naming the axis.
 */
export function attention(q: Tensor4D, k: Tensor4D, v: Tensor4D, options: AttentionOptions = {}): Tensor4D {
  const [batch, heads, queries] = q.shape;
  const [, keyValueHeads] = k.shape;
  const { keys = k.shape[2] } = options;
  checkQueriesAndKeys(q, k);
  checkValues(k, v);
  const fused = isFusable(q, v, options) && kernelAttention(q, k, v, fusedOptions(options));
  if (fused) return fused;
  return tf.tidy(() => {
    const weights = attentionWeights(q, k, options); // [B, H, T, U]
    const used = options.dropout ? options.dropout(weights) : weights;
    const grouped = group(used, keyValueHeads, [batch, keyValueHeads, -1, keys]);
    return tf.reshape(tf.matMul(grouped, firstKeys(v, keys)), [batch, heads, queries, v.shape[3]]);
  });
}

/**
 * softmax(q kᵀ · scale + mask + bias): how much each query takes from each key; rows sum to 1.
 *
 * @param q [B, H, T, S]
 * @param k [B, K, U, S], K divides H
 * @returns [B, H, T, U]
 * @throws RangeError when the shapes do not belong together, naming the axis.
 */
export function attentionWeights(q: Tensor4D, k: Tensor4D, options: AttentionOptions = {}): Tensor4D {
  checkQueriesAndKeys(q, k);
  const [batch, heads, queries, headSize] = q.shape;
  const [, keyValueHeads, capacity] = k.shape;
  const { causal = false, scale = 1 / Math.sqrt(headSize), bias, keys = capacity } = options;
  return tf.tidy(() => {
    // Scaling the queries is scaling the scores, with S numbers a row in place of U.
    const grouped = group(tf.mul(q, scale), keyValueHeads, [batch, keyValueHeads, -1, headSize]); // [B, K, H/K · T, S]
    const products = tf.reshape(tf.matMul(grouped, firstKeys(k, keys), false, true), [batch, heads, queries, keys]) as Tensor4D;
    const scores = bias ? tf.add<Tensor4D>(products, bias) : products;
    // A single query is the last one: it sees everything.
    return causal && queries > 1 ? softmax(scores, causalMask(queries, keys)) : softmax(scores);
  });
}

/**
 * softmax(scores + mask) over the last axis. The gradient needs the weights w alone: dscores = w · (dw − Σ dw · w).
 *
 * @param scores [B, H, T, U]
 * @param mask [T, U]
 */
function softmax(scores: Tensor4D, mask?: Tensor2D): Tensor4D {
  return withGradient([scores], (save) => {
    const weights = tf.softmax(mask ? tf.add<Tensor4D>(scores, mask) : scores);
    save(weights);
    return { value: weights, gradient: (dw, [w]) => [tf.mul(tf.sub(dw, tf.sum(tf.mul(dw, w!), -1, true)), w!)] };
  });
}

/**
 * Whether the kernels mean the same by these options: they take no function in between, one head size, and give zeros, not the
 * mean of the values, for a query that sees nothing.
 */
function isFusable(q: Tensor4D, v: Tensor4D, { causal, dropout, bias, keys = v.shape[2] }: AttentionOptions): boolean {
  if (bias && bias.dtype !== 'float32') return false;
  return !dropout && q.shape[3] === v.shape[3] && !(causal && q.shape[2] > keys);
}

function fusedOptions({ causal = false, scale, bias, keys }: AttentionOptions): FusedAttentionOptions {
  return { causal, ...(scale !== undefined && { scale }), ...(bias && { bias }), ...(keys !== undefined && { keys }) };
}

/** The query heads of one key/value head become rows of one matrix: no key is copied. */
function group(x: Tensor, keyValueHeads: number, shape: [number, number, number, number]): Tensor4D {
  return (x.shape[1] === keyValueHeads ? x : tf.reshape(x, shape)) as Tensor4D;
}

function checkQueriesAndKeys(q: Tensor, k: Tensor): void {
  invariant(q.rank === 4, () => `attention: the query must be [B, H, T, S], got [${q.shape}]`);
  invariant(k.rank === 4, () => `attention: the key must be [B, K, U, S], got [${k.shape}]`);
  const [batch, heads, , headSize] = q.shape as [number, number, number, number];
  const [keyBatch, keyHeads, , keySize] = k.shape as [number, number, number, number];
  invariant(keyBatch === batch, `attention: query batch ${batch}, key batch ${keyBatch}; they must be equal`);
  invariant(keySize === headSize, `attention: query head size ${headSize}, key head size ${keySize}; they must be equal`);
  invariant(
    heads % keyHeads === 0,
    `attention: query has ${heads} heads but key has ${keyHeads}; heads must be a multiple of keyValueHeads`,
  );
}

function checkValues(k: Tensor, v: Tensor): void {
  invariant(v.rank === 4, () => `attention: the value must be [B, K, U, S], got [${v.shape}]`);
  for (const [axis, name] of ['batch', 'heads', 'length'].entries()) {
    invariant(
      k.shape[axis] === v.shape[axis],
      `attention: key ${name} ${k.shape[axis]}, value ${name} ${v.shape[axis]}; they must be equal`,
    );
  }
}
