/**
 * @file The two products that make GPTQ's work, in double precision in plain loops: small layers and readers take this, and the
 * faster one (device-arithmetic.ts) is tested against it.
 */
import { cholesky, invertLower, reversed } from './dense.ts';

/** Numbers of a matrix, row after row. */
export type Numbers = Float32Array | Float64Array;

/** target [N, R] −= stripᵀ errors, for strip [C, N] and errors [C, R]. */
export interface DebtShape {
  /** C: columns of the block that made the errors. */
  readonly columns: number;
  /** N: columns behind it. */
  readonly later: number;
  /** R */
  readonly rows: number;
}

export interface Arithmetic {
  /**
   * U, upper triangular, with Uᵀ U = H⁻¹: what `torch.linalg.cholesky(H⁻¹, upper=True)` gives.
   *
   * @param hessian [n, n], symmetric
   * @throws NotPositiveDefinite
   */
  inverseFactor(hessian: Numbers): Promise<Numbers>;
  /** Settles what the errors of a block owe to the columns behind it: GPTQ's lazy update. */
  settle(target: Float64Array, strip: Numbers, errors: Float64Array, shape: DebtShape): Promise<void>;
}

/**
 * H⁻¹ need not be computed. With the order reversed (J), J H J = L Lᵀ; so H = (J L J)(J L J)ᵀ, whose factor J L J is upper
 * triangular, and its inverse U = J L⁻¹ J is too, with Uᵀ U = H⁻¹: half the work, and no loss of digits by inverting twice.
 */
export const doubleArithmetic: Arithmetic = {
  inverseFactor: async (hessian) => reversed(invertLower(cholesky(reversed(Float64Array.from(hessian))))),
  settle: async (target, strip, errors, { columns, later, rows }) => {
    for (let c = 0; c < columns; c++) {
      for (let n = 0; n < later; n++) {
        const factor = strip[c * later + n]!;
        for (let r = 0; r < rows; r++) target[n * rows + r]! -= factor * errors[c * rows + r]!;
      }
    }
  },
};
