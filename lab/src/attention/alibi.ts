/**
 * @file ALiBi: no positions at all, only a penalty on the score that grows with the distance, at a different slope in each head.
 * Press, Smith and Lewis 2021, section 3; slopes for any number of heads as in the authors' code.
 */
import { tf, type Tensor3D } from '../backend/index.ts';
import { invariant } from '../base/index.ts';

/**
 * The slope of each head: 2^(−8/H), 2^(−16/H), … for H a power of two. Otherwise those of the next lower power of two,
 * then every other one of twice that power.
 *
 * @returns H numbers
 */
export function alibiSlopes(heads: number): Float32Array {
  invariant(Number.isInteger(heads) && heads > 0, `alibiSlopes: heads must be a positive integer, got ${heads}`);
  const power = 2 ** Math.floor(Math.log2(heads));
  const slope = (index: number, of: number) => 2 ** ((-8 * (index + 1)) / of);
  return Float32Array.from({ length: heads }, (_, head) =>
    head < power ? slope(head, power) : slope(2 * (head - power), 2 * power),
  );
}

/**
 * −slope · |query position − key position|, to be added to the scores. Aligned at the end, as the causal mask.
 *
 * @returns [H, T, U]
 */
export function alibiBias(heads: number, queries: number, keys = queries): Tensor3D {
  const slopes = alibiSlopes(heads);
  const values = new Float32Array(heads * queries * keys);
  let at = 0;
  for (const slope of slopes) {
    for (let query = keys - queries; query < keys; query++) {
      for (let key = 0; key < keys; key++) values[at++] = slope * Math.min(key - query, query - key);
    }
  }
  return tf.tensor3d(values, [heads, queries, keys]);
}
