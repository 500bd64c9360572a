/**
 * @file Attention in plain tensor operations, with everything that the fused one can do: what the kernels are tested against,
 * and what runs where there is none. The tape differentiates it, and every matrix [T, U] on the way is kept for that.
 *
 * Shapes: B batch, H heads, K key/value heads, T queries, U keys, S head size.
 */
import { tf, type Tensor, type Tensor4D } from '../../backend/index.ts';
import { dropoutFactors } from './dropout.ts';
import type { Visibility } from './mask-rule.ts';
import { attentionProblem, firstKeys, HIDDEN_BELOW, type AttentionProblem, type FusedAttentionOptions } from './problem.ts';

/**
 * dropout(softmax(cap(q kᵀ · scale) + ALiBi + bias + mask)) v; see `fusedAttention`.
 *
 * @param q [B, H, T, S]
 * @param k [B, K, U, S], K divides H
 * @param v [B, K, U, S]
 * @returns [B, H, T, S]
 */
export function attentionReference(q: Tensor4D, k: Tensor4D, v: Tensor4D, options: FusedAttentionOptions = {}): Tensor4D {
  const problem = attentionProblem(q, k, v, options);
  const { batch, heads, keyValueHeads, queries, keys, headSize, dropout } = problem;
  return tf.tidy(() => {
    const grouped = tf.reshape(tf.mul(q, problem.scale), [batch, keyValueHeads, -1, headSize]); // [B, K, H/K · T, S]
    const products = tf.reshape(tf.matMul(grouped, firstKeys(k, keys), false, true), [batch, heads, queries, keys]);
    const weights = softmaxOfVisible(finalScores(products, problem, options.bias), problem.mask, options.bias !== undefined);
    const used = dropout
      ? tf.mul(weights, tf.tensor4d(dropoutFactors(dropout, batch * heads, queries, keys), [batch, heads, queries, keys]))
      : weights;
    const output = tf.matMul(tf.reshape(used, [batch, keyValueHeads, -1, keys]), firstKeys(v, keys));
    return tf.reshape(output, [batch, heads, queries, headSize]);
  });
}

/** Soft cap, ALiBi and bias, in this order. */
function finalScores(products: Tensor, { softCap, slopes, mask }: AttentionProblem, bias: Tensor | undefined): Tensor {
  const capped = softCap > 0 ? tf.mul(tf.tanh(tf.div(products, softCap)), softCap) : products;
  const penalized = slopes ? tf.sub(capped, tf.mul(tf.reshape(slopes, [1, -1, 1, 1]), distances(mask))) : capped;
  return bias ? tf.add(penalized, bias) : penalized;
}

/** How far each query's own place is from each key. @returns [rows, 1, T, U] */
export function distances({ rows, queries, keys, ofQueries }: Visibility): Tensor4D {
  const values = new Float32Array(rows * queries * keys);
  for (let i = 0; i < values.length; i++) {
    const row = Math.floor(i / keys);
    values[i] = Math.abs((row % queries) + ofQueries[3 * row + 2]! - (i % keys));
  }
  return tf.tensor4d(values, [rows, 1, queries, keys]);
}

/** 1 where a query sees a key, else 0. @returns [rows, 1, T, U] */
function visibleMatrix({ rows, queries, keys, ofQueries }: Visibility): Tensor4D {
  const values = new Float32Array(rows * queries * keys);
  for (let row = 0; row < rows * queries; row++) {
    values.fill(1, row * keys + ofQueries[3 * row]!, row * keys + ofQueries[3 * row + 1]!);
  }
  return tf.tensor4d(values, [rows, 1, queries, keys]);
}

/** Softmax over the visible keys of each row; zeros for a row that sees none. @param hides whether a bias may hide keys, too */
function softmaxOfVisible(scores: Tensor, mask: Visibility, hides: boolean): Tensor {
  const visible = visibleMatrix(mask);
  const seen = hides ? tf.mul(tf.step(tf.sub(scores, HIDDEN_BELOW)), visible) : visible; // 1 or 0, without a gradient
  const finite = hides ? tf.maximum(scores, HIDDEN_BELOW) : scores;
  const masked = tf.add(finite, tf.mul(tf.sub(1, visible), HIDDEN_BELOW));
  const exponentials = tf.mul(tf.exp(tf.sub(masked, tf.max(masked, -1, true))), seen);
  const sum = tf.sum(exponentials, -1, true); // at least 1, as the largest is exp(0), or 0 when nothing is seen
  return tf.div(exponentials, tf.maximum(sum, 1));
}
