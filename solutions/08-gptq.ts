/**
 * @file Reference answers of chapter 08, GPTQ: rounding one weight is a mistake that the others can repair.
 * LeCun, Denker and Solla 1990 (optimal brain damage), Hassibi and Stork 1993 (optimal brain surgeon), Frantar and Alistarh
 * 2022 (OBQ), Frantar et al. 2022 (GPTQ).
 *
 * A layer's error is ½ δᵀ H δ for a change δ of the weights of one output, with H = 2 X Xᵀ / tokens: symmetric, [inputs,
 * inputs].
 */
import { tf } from 'lab';

// #region 8.1 the Hessian of a layer
/**
 * Takes some more inputs of a layer into account.
 *
 * @param average hessian [n, n], the average of 2 x xᵀ over so many tokens; zeros and 0 at the start
 * @param x [tokens, n]
 * @returns the same over all tokens
 */
export function addInputs(
  average: { hessian: tf.Tensor2D; tokens: number },
  x: tf.Tensor2D,
): { hessian: tf.Tensor2D; tokens: number } {
  const tokens = average.tokens + x.shape[0];
  const before = average.hessian.mul<tf.Tensor2D>(average.tokens / tokens);
  const sum = tf.matMul<tf.Tensor2D>(x, x, true, false).mul<tf.Tensor2D>(2);
  return { hessian: before.add<tf.Tensor2D>(sum.div(tokens)), tokens };
}
// #endregion

// #region 8.2 brain damage
/**
 * By how much the error grows when one weight becomes zero and no other reacts, for each weight.
 *
 * @param weights of one output, [n]
 * @param hessian [n][n]
 * @returns ½ h_qq w_q² for each q, [n]
 */
export function damage(weights: number[], hessian: number[][]): number[] {
  return weights.map((weight, q) => 0.5 * hessian[q]![q]! * weight ** 2);
}
// #endregion

// #region 8.3 the surgeon's cut
/**
 * Takes weight q away, and lets all others make up for it as well as they can.
 *
 * @param weights of one output, [n]; not changed
 * @param inverse H⁻¹, [n][n]
 * @param q which weight becomes zero
 * @returns the new weights, and by how much the error grew
 */
export function surgery(weights: number[], inverse: number[][], q: number): { weights: number[]; loss: number } {
  const factor = weights[q]! / inverse[q]![q]!;
  const moved = weights.map((weight, i) => (i === q ? 0 : weight - factor * inverse[i]![q]!));
  return { weights: moved, loss: (0.5 * weights[q]! ** 2) / inverse[q]![q]! };
}
// #endregion

// #region 8.4 one weight less
/**
 * The inverse of the Hessian of the weights that are left when weight q is settled: H without row and column q, inverted, but
 * without inverting anything.
 *
 * @param inverse H⁻¹, [n][n]; not changed. Row and column of a weight that was settled before are zero.
 * @returns [n][n], row and column q zero
 */
export function eliminate(inverse: number[][], q: number): number[][] {
  return inverse.map((row, i) =>
    row.map((value, j) => (i === q || j === q ? 0 : value - (row[q]! * inverse[q]![j]!) / inverse[q]![q]!)),
  );
}
// #endregion

// #region 8.5 OBQ
/**
 * Quantizes the weights of one output one after the other; each time, those that are left make up for the error.
 *
 * @param weights [n]; not changed
 * @param inverse H⁻¹, [n][n]; not changed
 * @param quantize the nearest value on the grid of weight q
 * @param order which weight comes when; without it, always the one whose rounding costs least at that moment
 * @returns the quantized weights [n], and the order that was taken
 */
export function quantizeRow(
  weights: number[],
  inverse: number[][],
  quantize: (value: number, q: number) => number,
  order?: number[],
): { weights: number[]; order: number[] } {
  const row = [...weights];
  const taken: number[] = [];
  const left = new Set(row.keys());
  let H = inverse;
  const cost = (q: number) => (quantize(row[q]!, q) - row[q]!) ** 2 / (2 * H[q]![q]!);
  while (left.size > 0) {
    const q = order ? order[taken.length]! : [...left].reduce((best, other) => (cost(other) < cost(best) ? other : best));
    const rounded = quantize(row[q]!, q);
    const factor = (row[q]! - rounded) / H[q]![q]!;
    for (const i of left) row[i]! -= factor * H[i]![q]!;
    row[q] = rounded;
    H = eliminate(H, q);
    left.delete(q);
    taken.push(q);
  }
  return { weights: row, order: taken };
}
// #endregion

// #region 8.6 all inverses at once
/**
 * The upper triangular U with Uᵀ U = H⁻¹.
 *
 * @param inverse H⁻¹, [n][n]; not changed
 * @returns U, [n][n], zeros below the diagonal
 * @throws when there is no such matrix: an element that is to be a square is not above zero
 */
export function upperFactor(inverse: number[][]): number[][] {
  const rest = inverse.map((row) => [...row]);
  return rest.map((row, q) => {
    if (!(row[q]! > 0)) throw new RangeError(`not positive definite: element ${q} of the diagonal is ${row[q]}`);
    const root = Math.sqrt(row[q]!);
    const factor = row.map((value, j) => (j < q ? 0 : value / root));
    for (let i = q + 1; i < rest.length; i++) {
      for (let j = q + 1; j < rest.length; j++) rest[i]![j]! -= factor[i]! * factor[j]!;
    }
    return factor;
  });
}
// #endregion

// #region 8.7 GPTQ's step
/**
 * Quantizes one column of a block of C columns, for all R rows, and lets the columns behind it make up for the errors.
 *
 * @param block weights, quantized and errors are [C, R]: the number of column c, row r lies at c · R + r. factor is
 *   U [C, C]: row c, column j lies at c · C + j. This changes weights behind the column, and fills in the column of
 *   quantized, and of errors: (weight − quantized) / U_cc
 * @param column which
 */
export function gptqStep(
  block: {
    columns: number;
    rows: number;
    weights: Float64Array;
    quantized: Float64Array;
    errors: Float64Array;
    factor: Float64Array;
    quantize: (value: number, column: number, row: number) => number;
  },
  column: number,
): void {
  const { columns: C, rows: R, weights, quantized, errors, factor, quantize } = block;
  for (let row = 0; row < R; row++) {
    const at = column * R + row;
    quantized[at] = quantize(weights[at]!, column, row);
    errors[at] = (weights[at]! - quantized[at]!) / factor[column * C + column]!;
    for (let j = column + 1; j < C; j++) weights[j * R + row]! -= errors[at]! * factor[column * C + j]!;
  }
}
// #endregion

// #region 8.8 act-order
/**
 * The order in which inputs are swept when the strongest come first, and which group each input then belongs to: groups are
 * runs of that order.
 *
 * @param diagonal of the Hessian, [n]; of inputs that are equally strong the earlier comes first
 * @param groupSize inputs in a group
 * @returns order: the input of each step, [n]; groupIndex: the group of each input, [n]
 */
export function actOrder(diagonal: number[], groupSize: number): { order: number[]; groupIndex: number[] } {
  const order = [...diagonal.keys()].sort((a, b) => diagonal[b]! - diagonal[a]! || a - b);
  const groupIndex = new Array<number>(order.length);
  order.forEach((input, step) => (groupIndex[input] = Math.floor(step / groupSize)));
  return { order, groupIndex };
}

/**
 * Puts what was computed step by step back to the inputs where it belongs.
 *
 * @param swept one value for each step, [n]
 * @param order the input of each step, [n]
 * @returns one value for each input, [n]
 */
export function undoOrder(swept: number[], order: number[]): number[] {
  const values = new Array<number>(swept.length);
  order.forEach((input, step) => (values[input] = swept[step]!));
  return values;
}
// #endregion
