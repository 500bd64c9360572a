/**
 * @file The causal mask: a token may look at itself and at what came before (Vaswani et al. 2017, section 3.2.3); and any mask of
 * ranges, as a tensor.
 */
import { tf, type Tensor2D, type Tensor4D } from '../backend/index.ts';
import { HIDDEN_BELOW, type Visibility } from '../ops/index.ts';

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
  const values = new Float32Array(queries * keys);
  for (let t = 0; t < queries; t++) {
    const visible = Math.max(0, t + 1 + keys - queries);
    values.fill(hiddenScore, t * keys + visible, (t + 1) * keys);
  }
  return tf.tensor2d(values, [queries, keys]);
}

/** A mask as what is added to the scores. */
interface MaskValues {
  /** [rows, 1, T, U], or null when every query sees every key */
  readonly values: Float32Array | null;
  /** Whether there is a query that sees no key. */
  readonly leavesBlind: boolean;
}

/** Every layer of a model asks for the same mask. */
const made = new WeakMap<Visibility, MaskValues>();

/**
 * What is added to the scores [B, H, T, U] so that they are below `HIDDEN_BELOW` where a key is hidden, or null where none is.
 *
 * @returns added: [1 or B, 1, T, U]
 */
export function additiveMask(mask: Visibility): { readonly added: Tensor4D | null; readonly leavesBlind: boolean } {
  const { values, leavesBlind } = made.get(mask) ?? maskValues(mask);
  return { added: values && tf.tensor4d(values, [mask.rows, 1, mask.queries, mask.keys]), leavesBlind };
}

function maskValues(mask: Visibility): MaskValues {
  const { rows, queries, keys, ofQueries } = mask;
  const values = new Float32Array(rows * queries * keys);
  let [hidden, leavesBlind] = [0, false];
  for (let row = 0; row < rows * queries; row++) {
    const [from, to] = ofQueries.subarray(3 * row) as unknown as [number, number];
    values.fill(10 * HIDDEN_BELOW, row * keys, row * keys + from).fill(10 * HIDDEN_BELOW, row * keys + to, (row + 1) * keys);
    hidden += keys - (to - from);
    leavesBlind ||= to === from;
  }
  const result = { values: hidden > 0 ? values : null, leavesBlind };
  made.set(mask, result);
  return result;
}
