/**
 * @file Scaled dot-product attention: every token asks (query), is asked (key), and answers (value).
 * Vaswani et al. 2017, section 3.2.1; grouped queries: Ainslie et al. 2023.
 *
 * Shapes: B batch, H heads, K key/value heads, T queries, U keys, S head size.
 */
import { tf, type Tensor, type Tensor4D } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import {
  attentionProblem,
  distances,
  dropoutFactors,
  firstKeys,
  type FusedAttentionOptions,
  HIDDEN_BELOW,
  kernelAttention,
  type Visibility,
  withGradient,
} from '../ops/index.ts';
import { additiveMask } from './mask.ts';

/**
 * `causal` hides the future, `window` what is far, `documents` the other documents packed into the same row; `scale`, `softCap`,
 * `alibiSlopes` and `bias` change the scores, in this order; `dropout` forgets weights, the same ones by the same seed.
 */
export type AttentionOptions = FusedAttentionOptions;

/**
 * `attention`, or another function of the same contract: the seam for quantized attention or your own. It must do what the options
 * ask or throw.
 */
export interface AttentionFunction {
  (q: Tensor4D, k: Tensor4D, v: Tensor4D, options: AttentionOptions): Tensor4D;
  /** Whether ALiBi may come as `alibiSlopes`; else it comes as the `bias` [H, T, U] that they amount to (default false). */
  readonly takesSlopes?: boolean;
}

/**
 * softmax(cap(q kᵀ · scale) + ALiBi + bias + mask) v
 *
 * When K < H, each run of H/K neighbouring query heads shares one key/value head. A query that sees no key gets zeros. Where the
 * running backend has a kernel for it (`fusedAttention`), that is used, and the weights are never written down.
 *
 * @param q [B, H, T, S]
 * @param k [B, K, U, S], K divides H
 * @param v [B, K, U, S] (its head size may differ)
 * @returns [B, H, T, S of v]
 * @throws RangeError when the shapes do not belong together, naming the axis.
 */
export function attention(q: Tensor4D, k: Tensor4D, v: Tensor4D, options: AttentionOptions = {}): Tensor4D {
  checkQueriesAndKeys(q, k);
  checkValues(k, v);
  const fused = q.shape[3] === v.shape[3] && kernelAttention(q, k, v, options);
  return fused || plainAttention(q, k, v, options);
}
attention.takesSlopes = true;

/** `attention` in plain tensor operations, with every weight written down: what runs where there is no kernel. */
export function plainAttention(q: Tensor4D, k: Tensor4D, v: Tensor4D, options: AttentionOptions = {}): Tensor4D {
  checkValues(k, v);
  const [batch, heads, queries] = q.shape;
  const [, keyValueHeads] = k.shape;
  const { keys = k.shape[2] } = options;
  return tf.tidy(() => {
    const weights = attentionWeights(q, k, options); // [B, H, T, U]
    const used = options.dropout ? forget(weights, options.dropout) : weights;
    const grouped = group(used, keyValueHeads, [batch, keyValueHeads, -1, keys]);
    return tf.reshape(tf.matMul(grouped, firstKeys(v, keys)), [batch, heads, queries, v.shape[3]]);
  });
}
plainAttention.takesSlopes = true;

/**
 * softmax(cap(q kᵀ · scale) + ALiBi + bias + mask): how much each query takes from each key, before dropout. Rows sum to 1, or to
 * 0 where a query sees no key.
 *
 * @param q [B, H, T, S]
 * @param k [B, K, U, S], K divides H
 * @returns [B, H, T, U]
 * @throws RangeError when the shapes do not belong together, naming the axis.
 */
export function attentionWeights(q: Tensor4D, k: Tensor4D, options: AttentionOptions = {}): Tensor4D {
  checkQueriesAndKeys(q, k);
  const { batch, heads, keyValueHeads, queries, keys, headSize, scale, softCap, slopes, mask } = attentionProblem(q, k, k, options);
  const { bias } = options;
  // Named, so that who watches the engine sees attention here, too, and not only where it is a kernel.
  return tf.tidy('attention', () => {
    // Scaling the queries is scaling the scores, with S numbers a row in place of U.
    const grouped = group(tf.mul(q, scale), keyValueHeads, [batch, keyValueHeads, -1, headSize]); // [B, K, H/K · T, S]
    const products = tf.reshape(tf.matMul(grouped, firstKeys(k, keys), false, true), [batch, heads, queries, keys]) as Tensor4D;
    const capped = softCap > 0 ? tf.mul<Tensor4D>(tf.tanh(tf.div(products, softCap)), softCap) : products;
    const penalized = slopes ? tf.sub<Tensor4D>(capped, tf.mul(tf.reshape(slopes, [1, -1, 1, 1]), distances(mask))) : capped;
    return softmaxOfSeen(bias ? tf.add<Tensor4D>(penalized, bias) : penalized, mask, bias !== undefined);
  });
}

/**
 * The softmax over the keys that each query sees. The gradient needs the weights w alone: dscores = w · (dw − Σ dw · w).
 *
 * @param scores [B, H, T, U]
 * @param hides whether there may be scores of −∞ among them
 */
function softmaxOfSeen(scores: Tensor4D, mask: Visibility, hides: boolean): Tensor4D {
  return withGradient([scores], (save) => {
    const { added, leavesBlind } = additiveMask(mask);
    const masked = added ? tf.add<Tensor4D>(scores, added) : scores;
    const finite = hides ? tf.maximum<Tensor4D>(masked, 10 * HIDDEN_BELOW) : masked;
    const all = tf.softmax(finite);
    const sees = (): Tensor => tf.step(tf.sub(tf.max(finite, -1, true), HIDDEN_BELOW)); // 1, or 0 for a query that sees nothing
    const weights = hides || leavesBlind ? tf.mul<Tensor4D>(all, sees()) : all;
    save(weights);
    return { value: weights, gradient: (dw, [w]) => [tf.mul(tf.sub(dw, tf.sum(tf.mul(dw, w!), -1, true)), w!)] };
  });
}

function forget(weights: Tensor4D, dropout: NonNullable<AttentionOptions['dropout']>): Tensor4D {
  const [batch, heads, queries, keys] = weights.shape;
  return tf.mul(weights, tf.tensor4d(dropoutFactors(dropout, batch * heads, queries, keys), weights.shape));
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
