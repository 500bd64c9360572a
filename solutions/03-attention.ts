/**
 * @file Reference answers of chapter 03, attention: short, plain, and built on one another.
 * Vaswani et al. 2017 (attention), Su et al. 2021 (RoPE), Press et al. 2021 (ALiBi), Ainslie et al. 2023 (grouped queries).
 *
 * Shapes: B batch, T queries (the tokens at hand), U keys (the tokens they may look at), D width, H heads,
 * K key/value heads, S head size.
 */
import { tf } from 'lab';

// #region 3.1 causal mask
/**
 * What each query must not see. The queries are the last ones of the keys: the last query stands at the
 * last key's position.
 *
 * @returns [T, U]: 0 where query t may look at key u, -1e9 where key u is in its future
 */
export function causalMask(queries: number, keys: number): tf.Tensor {
  const query = tf.range(keys - queries, keys).expandDims(1); // [T, 1] positions
  const key = tf.range(0, keys).expandDims(0); // [1, U]
  return tf.where(tf.lessEqual(key, query), 0, -1e9);
}
// #endregion

// #region 3.2 scaled dot product
/**
 * softmax(q kᵀ / √S + mask) v
 *
 * @param q [B, H, T, S]
 * @param k [B, H, U, S]
 * @param v [B, H, U, S]; its S may differ
 * @param mask [T, U] or whatever else broadcasts to [B, H, T, U]; null: everything is visible
 * @returns [B, H, T, S], with the S of v
 */
export function scaledDotProduct(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, mask: tf.Tensor | null): tf.Tensor {
  const scores = tf.matMul(q, k, false, true).div(Math.sqrt(q.shape[3]!)); // [B, H, T, U]
  const weights = tf.softmax(mask ? scores.add(mask) : scores); // over the keys: rows sum to 1
  return tf.matMul(weights, v);
}
// #endregion

// #region 3.3 split and merge heads
/** [B, T, H·S] → [B, H, T, S]: head h owns the neighbouring columns h·S … (h+1)·S - 1. */
export function splitHeads(x: tf.Tensor, heads: number): tf.Tensor {
  const [B, T, D] = x.shape as [number, number, number];
  return x.reshape([B, T, heads, D / heads]).transpose([0, 2, 1, 3]);
}

/** [B, H, T, S] → [B, T, H·S]: undoes splitHeads. */
export function mergeHeads(x: tf.Tensor): tf.Tensor {
  const [B, H, T, S] = x.shape as [number, number, number, number];
  return x.transpose([0, 2, 1, 3]).reshape([B, T, H * S]);
}
// #endregion

// #region 3.4 multi-head attention
/**
 * Projects x to queries, keys and values, attends in every head at once, and mixes the heads' answers.
 *
 * @param x [B, T, D]
 * @param weights four matrices [D, D], rows are outputs: a projection is x Wᵀ, as in PyTorch's Linear
 * @param mask as in scaledDotProduct
 * @returns [B, T, D]
 */
export function multiHead(
  x: tf.Tensor,
  weights: Record<'query' | 'key' | 'value' | 'output', tf.Tensor>,
  heads: number,
  mask: tf.Tensor | null,
): tf.Tensor {
  const [B, T, D] = x.shape as [number, number, number];
  // One plain [B·T, D] product: the gradient of TensorFlow.js's broadcast matMul does not fit a [D, D] matrix.
  const project = (input: tf.Tensor, weight: tf.Tensor) =>
    tf.matMul(input.reshape([B * T, D]), weight, false, true).reshape([B, T, D]);
  const q = splitHeads(project(x, weights.query), heads);
  const k = splitHeads(project(x, weights.key), heads);
  const v = splitHeads(project(x, weights.value), heads);
  return project(mergeHeads(scaledDotProduct(q, k, v, mask)), weights.output);
}
// #endregion

// #region 3.5 rotary positions
/**
 * RoPE as in Llama: column j is paired with column j + S/2, and at position p the pair turns by
 * p · base^(-2j/S).
 *
 * @param x queries or keys [B, H, T, S]
 * @param offset the position of the first token
 * @returns [B, H, T, S]
 */
export function rope(x: tf.Tensor, offset = 0, base = 10000): tf.Tensor {
  const [, , T, S] = x.shape as [number, number, number, number];
  const position = tf.range(offset, offset + T).expandDims(1); // [T, 1]
  const frequency = tf.pow(base, tf.range(0, S / 2).mul(-2 / S)); // [S/2]
  const angle = position.mul(frequency); // [T, S/2]
  const [first, second] = tf.split(x, 2, 3) as [tf.Tensor, tf.Tensor];
  const turnedFirst = first.mul(angle.cos()).sub(second.mul(angle.sin()));
  const turnedSecond = second.mul(angle.cos()).add(first.mul(angle.sin()));
  return tf.concat([turnedFirst, turnedSecond], 3);
}
// #endregion

// #region 3.6 linear biases
/**
 * One slope a head. For a power of two: 2^(-8/H), 2^(-16/H), …, 2^-8. For other numbers of heads: the slopes
 * of the next smaller power of two P, then the 1st, 3rd, 5th, … slope of 2P heads, until there are enough.
 */
export function alibiSlopes(heads: number): number[] {
  const power = 2 ** Math.floor(Math.log2(heads));
  return Array.from({ length: heads }, (_, h) =>
    h < power ? 2 ** ((-8 * (h + 1)) / power) : 2 ** ((-4 * (2 * (h - power) + 1)) / power),
  );
}

/** [H, T, U]: -slope · (how far key u is before query t). The queries are the last ones of the keys. */
export function alibiBias(heads: number, queries: number, keys: number): tf.Tensor {
  const query = tf.range(keys - queries, keys).expandDims(1); // [T, 1]
  const distance = tf.sub(query, tf.range(0, keys)); // [T, U]
  const slopes = tf.tensor(alibiSlopes(heads), [heads, 1, 1]);
  return slopes.mul(distance).neg();
}
// #endregion

// #region 3.7 grouped queries
/**
 * Attention with fewer key/value heads than query heads: query heads 0 … H/K - 1 share key/value head 0,
 * the next H/K share head 1, and so on.
 *
 * @param q [B, H, T, S]
 * @param k [B, K, U, S]
 * @param v [B, K, U, S]
 * @param mask as in scaledDotProduct
 * @returns [B, H, T, S]
 */
export function groupedQueryAttention(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, mask: tf.Tensor | null): tf.Tensor {
  const [B, K, U, S] = k.shape as [number, number, number, number];
  const H = q.shape[1]!;
  const repeat = (x: tf.Tensor) => tf.stack(Array<tf.Tensor>(H / K).fill(x), 2).reshape([B, H, U, S]);
  return scaledDotProduct(q, repeat(k), repeat(v), mask);
}
// #endregion

// #region 3.8 key/value cache
/**
 * Attention for the next T tokens of a text whose earlier keys and values are kept in `cache` (null at the
 * start).
 *
 * @param q [B, H, T, S] of the new tokens only, and so are k and v
 * @returns output [B, H, T, S] of the new tokens, and the cache with their keys and values at its end
 */
export function attendWithCache(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  cache: { k: tf.Tensor; v: tf.Tensor } | null,
): { output: tf.Tensor; cache: { k: tf.Tensor; v: tf.Tensor } } {
  const keys = cache ? tf.concat([cache.k, k], 2) : k;
  const values = cache ? tf.concat([cache.v, v], 2) : v;
  const mask = causalMask(q.shape[2]!, keys.shape[2]!);
  return { output: scaledDotProduct(q, keys, values, mask), cache: { k: keys, v: values } };
}
// #endregion
