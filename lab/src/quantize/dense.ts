/**
 * @file Symmetric matrices in double precision, row after row in one array: what OBD, OBS, OBQ and a small GPTQ need of them.
 */
import { invariant, LabError } from '../base/index.ts';

/** A matrix that should have a Cholesky factor has none: it has a direction in which nothing, or less, was seen. */
export class NotPositiveDefinite extends LabError {
  constructor(row: number, pivot: number) {
    super(`the matrix is not positive definite: pivot ${row} is ${pivot}`);
  }
}

/** The number of rows of a square matrix. */
export function sizeOfSquare(matrix: ArrayLike<number>): number {
  const n = Math.round(Math.sqrt(matrix.length));
  invariant(n * n === matrix.length, () => `a square matrix has n · n numbers, got ${matrix.length}`);
  return n;
}

/**
 * L, lower triangular, with L Lᵀ = A.
 *
 * @param matrix [n, n], symmetric; only its lower half is read
 * @throws NotPositiveDefinite naming the first pivot that is not above zero.
 */
export function cholesky(matrix: ArrayLike<number>): Float64Array {
  const n = sizeOfSquare(matrix);
  const L = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= L[i * n + k]! * L[j * n + k]!;
      if (i > j) L[i * n + j] = sum / L[j * n + j]!;
      else if (sum > 0) L[i * n + i] = Math.sqrt(sum);
      else throw new NotPositiveDefinite(i, sum);
    }
  }
  return L;
}

/** The inverse of a lower triangular matrix, which is lower triangular too. */
export function invertLower(L: Float64Array): Float64Array {
  const n = sizeOfSquare(L);
  const inverse = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const row = inverse.subarray(i * n, i * n + i + 1);
    // Row i of L · inverse = identity, solved for the last term; row by row, so that memory is read forward.
    for (let k = 0; k < i; k++) {
      const factor = L[i * n + k]!;
      for (let j = 0; j <= k; j++) row[j]! -= factor * inverse[k * n + j]!;
    }
    const diagonal = L[i * n + i]!;
    for (let j = 0; j < i; j++) row[j]! /= diagonal;
    row[i] = 1 / diagonal;
  }
  return inverse;
}

/**
 * A⁻¹ = L⁻ᵀ L⁻¹.
 *
 * @param matrix [n, n], symmetric
 * @throws NotPositiveDefinite
 */
export function invertSymmetric(matrix: ArrayLike<number>): Float64Array {
  const n = sizeOfSquare(matrix);
  const M = invertLower(cholesky(matrix));
  const inverse = new Float64Array(n * n);
  for (let k = 0; k < n; k++) {
    for (let i = 0; i <= k; i++) {
      for (let j = 0; j <= k; j++) inverse[i * n + j]! += M[k * n + i]! * M[k * n + j]!;
    }
  }
  return inverse;
}

/** Rows and columns in the opposite order: what was lower triangular is upper triangular then. */
export function reversed(matrix: Float64Array): Float64Array {
  return matrix.slice().reverse();
}
