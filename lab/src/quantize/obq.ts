/**
 * @file Optimal brain quantization: the surgeon's step with quant(w) in the place of zero, for each row of a matrix by itself.
 * Frantar and Alistarh 2022 (OBC), section 5. In a fixed order for all rows it is GPTQ, less clever: GPTQ's first insight is
 * that the order hardly matters, its second that a Cholesky factor holds all the inverses that this needs.
 */
import { invertSymmetric } from './dense.ts';
import { compensate, eliminate } from './obs.ts';

/** The nearest value of a grid; `column` because a grid may hold for a group of columns. */
export type Quantize = (value: number, column: number) => number;

export interface OBQOptions {
  /** 'greedy' (default): next is always the weight whose rounding costs least; 'given': first to last, as in GPTQ. */
  readonly order?: 'greedy' | 'given';
}

/** (quant(w_q) − w_q)² / (2 [H⁻¹]_qq): by how much the loss grows when weight q is rounded and all others react. */
export function roundingCost(weight: number, rounded: number, inverse: Float64Array, q: number, n: number): number {
  return (rounded - weight) ** 2 / (2 * inverse[q * n + q]!);
}

/**
 * Quantizes one row of a matrix.
 *
 * @param weights [n]
 * @param hessian [n, n]: 2 X Xᵀ of the layer's inputs, the same for every row
 * @returns the quantized row, [n]
 * @throws NotPositiveDefinite
 */
export function quantizeRowByOBQ(
  weights: ArrayLike<number>,
  hessian: ArrayLike<number>,
  quantize: Quantize,
  { order = 'greedy' }: OBQOptions = {},
): Float64Array {
  const row = Float64Array.from(weights);
  const n = row.length;
  const inverse = invertSymmetric(hessian);
  const left = new Set(row.keys());
  while (left.size > 0) {
    const cost = (q: number): number => roundingCost(row[q]!, quantize(row[q]!, q), inverse, q, n);
    const choices = [...left];
    const q = order === 'given' ? choices[0]! : choices.reduce((best, other) => (cost(other) < cost(best) ? other : best));
    const rounded = quantize(row[q]!, q);
    compensate(row, inverse, q, rounded - row[q]!);
    row[q] = rounded;
    left.delete(q);
    eliminate(inverse, q, n);
  }
  return row;
}
