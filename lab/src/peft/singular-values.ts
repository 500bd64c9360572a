/**
 * @file The singular values of a matrix: how far it stretches in each of its directions. As many as are not zero is its rank;
 * LoRA bets that the change which fine-tuning makes has few that count (Hu et al. 2021, section 7).
 * By rotations of pairs of rows until all stand at right angles: Hestenes 1958 (the one-sided Jacobi method).
 */
import { invariant } from '../base/index.ts';

/** Two rows whose cosine is below this stand at right angles. */
const RIGHT_ANGLE = 1e-14;
const MOST_SWEEPS = 60;

/**
 * @param matrix row after row, m · n numbers
 * @returns min(m, n) numbers, the largest first
 */
export function singularValues(matrix: ArrayLike<number>, [m, n]: readonly [number, number]): Float64Array {
  invariant(matrix.length === m * n, `singularValues: ${matrix.length} numbers are no matrix [${m}, ${n}]`);
  const at = m <= n ? (i: number, j: number) => matrix[i * n + j]! : (i: number, j: number) => matrix[j * n + i]!;
  const [few, many] = [Math.min(m, n), Math.max(m, n)];
  const rows = Array.from({ length: few }, (_, i) => Float64Array.from({ length: many }, (__, j) => at(i, j)));
  for (let sweep = 0; sweep < MOST_SWEEPS && rotateAll(rows); sweep++);
  return Float64Array.from(rows, (row) => Math.sqrt(dot(row, row)))
    .sort()
    .reverse();
}

/** One rotation for each pair of rows. @returns whether there was anything to rotate */
function rotateAll(rows: readonly Float64Array[]): boolean {
  let rotated = false;
  for (const [i, a] of rows.entries()) {
    for (const b of rows.slice(i + 1)) {
      const [aa, bb, ab] = [dot(a, a), dot(b, b), dot(a, b)];
      if (Math.abs(ab) <= RIGHT_ANGLE * Math.sqrt(aa * bb)) continue;
      rotated = true;
      const zeta = (bb - aa) / (2 * ab);
      const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
      const cosine = 1 / Math.hypot(1, tangent);
      rotate(a, b, cosine, cosine * tangent);
    }
  }
  return rotated;
}

function rotate(a: Float64Array, b: Float64Array, cosine: number, sine: number): void {
  for (let k = 0; k < a.length; k++) {
    const [x, y] = [a[k]!, b[k]!];
    a[k] = cosine * x - sine * y;
    b[k] = sine * x + cosine * y;
  }
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += a[k]! * b[k]!;
  return sum;
}
