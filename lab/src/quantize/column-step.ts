/**
 * @file The inner loop of GPTQ, and its seam: what happens to one column of the weights. Frantar et al. 2022, section 3.3,
 * algorithm 1.
 *
 * Shapes: C columns (inputs) of a block, R rows (outputs). Columns lie together: element [column, row].
 */

/** Some neighbouring columns that are quantized before anything is done to those behind them. */
export interface ColumnBlock {
  /** C */
  readonly columns: number;
  /** R */
  readonly rows: number;
  /** [C, R], changed in place: what is left of the weights, with the debts of all columns before them settled. */
  readonly weights: Float64Array;
  /** [C, R], to be filled: the quantized weights. */
  readonly quantized: Float64Array;
  /** [C, R], to be filled: (weight − quantized) / factor[c, c]. */
  readonly errors: Float64Array;
  /** [C, C], this block of the upper Cholesky factor of H⁻¹. */
  readonly factor: Float64Array;
  /** The nearest value on the grid of that column and row. */
  readonly quantize: (value: number, column: number, row: number) => number;
}

/** Quantizes one column and lets the columns behind it, within the block, make up for the error. */
export type ColumnStep = (block: ColumnBlock, column: number) => void;

/**
 * For every row: q = quant(w), e = (w − q) / U_cc, and w_j ← w_j − e U_cj for the columns j behind this one.
 */
export const columnStep: ColumnStep = ({ columns, rows, weights, quantized, errors, factor, quantize }, column) => {
  const first = column * rows;
  const diagonal = factor[column * columns + column]!;
  for (let row = 0; row < rows; row++) {
    const weight = weights[first + row]!;
    const rounded = quantize(weight, column, row);
    quantized[first + row] = rounded;
    errors[first + row] = (weight - rounded) / diagonal;
  }
  for (let later = column + 1; later < columns; later++) {
    const share = factor[column * columns + later]!;
    const at = later * rows;
    for (let row = 0; row < rows; row++) weights[at + row]! -= errors[first + row]! * share;
  }
};
