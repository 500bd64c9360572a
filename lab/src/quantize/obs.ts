/**
 * @file Optimal brain surgeon: like optimal brain damage with the whole Hessian, so that the weights that stay make up for the
 * one that goes. Hassibi and Stork 1993.
 *
 * Shapes: n weights; H⁻¹ [n, n], row after row.
 */
import { invertSymmetric } from './dense.ts';

/** w_q² / (2 [H⁻¹]_qq): by how much the loss grows when weight q becomes zero and all others react as well as they can. */
export function surgeonSaliency(weight: number, inverse: Float64Array, q: number, n: number): number {
  return weight ** 2 / (2 * inverse[q * n + q]!);
}

/**
 * Moves weight q by `change`, and all others by what makes up for it best: w ← w + (change / [H⁻¹]_qq) · [H⁻¹]_:q.
 * With change = −w_q this is the surgeon's cut, with change = quant(w_q) − w_q the step of OBQ.
 */
export function compensate(weights: Float64Array, inverse: Float64Array, q: number, change: number): void {
  const n = weights.length;
  const factor = change / inverse[q * n + q]!;
  for (let i = 0; i < n; i++) weights[i]! += factor * inverse[i * n + q]!;
}

/**
 * The inverse of the Hessian without row and column q, in place: H⁻¹ ← H⁻¹ − [H⁻¹]_:q [H⁻¹]_q: / [H⁻¹]_qq, one step of Gaussian
 * elimination. Row and column q become zero. Frantar and Alistarh 2022 (OBC), lemma 1.
 */
export function eliminate(inverse: Float64Array, q: number, n: number): void {
  const row = inverse.slice(q * n, q * n + n);
  for (let i = 0; i < n; i++) {
    const factor = row[i]! / row[q]!;
    for (let j = 0; j < n; j++) inverse[i * n + j]! -= factor * row[j]!;
  }
  // What rounding left would pass for a weight that can still move.
  for (let i = 0; i < n; i++) inverse[q * n + i] = inverse[i * n + q] = 0;
}

/**
 * Takes `count` weights away, one at a time: always the one that costs least, and the others react.
 *
 * @param hessian [n, n]
 * @throws NotPositiveDefinite
 */
export function pruneBySurgery(weights: ArrayLike<number>, hessian: ArrayLike<number>, count: number): Float64Array {
  const pruned = Float64Array.from(weights);
  const n = pruned.length;
  const inverse = invertSymmetric(hessian);
  const left = new Set(pruned.keys());
  for (let step = 0; step < count; step++) {
    const cost = (q: number): number => surgeonSaliency(pruned[q]!, inverse, q, n);
    const q = [...left].reduce((best, other) => (cost(other) < cost(best) ? other : best));
    compensate(pruned, inverse, q, -pruned[q]!);
    pruned[q] = 0;
    left.delete(q);
    eliminate(inverse, q, n);
  }
  return pruned;
}
