/** @file The causal mask: a token may look at itself and at what came before. Vaswani et al. 2017, section 3.2.3. */
import { tf, type Tensor2D } from '../backend/index.ts';

/**
 * What is added to the score of a hidden key. So low that exp makes it zero, yet finite: a row with nothing visible becomes
 * uniform weights and not NaN.
 */
export const hiddenScore = -1e9;

/**
 * Added to the scores: 0 where query t may see key u, `hiddenScore` where not. Aligned at the end: the last query sees every key,
 * so that it is also right for decoding, where there are more keys than queries.
 *
 * @param queries T
 * @param keys U, T unless told
 * @returns [T, U]
 */
export function causalMask(queries: number, keys = queries): Tensor2D {
  return tf.tensor2d(maskValues(queries, keys), [queries, keys]);
}

/** The last mask that was made, as plain numbers: every layer of a model asks for the same one. */
let last = { queries: 0, keys: 0, values: new Float32Array(0) };

function maskValues(queries: number, keys: number): Float32Array {
  if (last.queries === queries && last.keys === keys) return last.values;
  const values = new Float32Array(queries * keys);
  for (let t = 0; t < queries; t++) {
    const visible = Math.max(0, t + 1 + keys - queries);
    values.fill(hiddenScore, t * keys + visible, (t + 1) * keys);
  }
  last = { queries, keys, values };
  return values;
}
