/**
 * @file From the Hessian to what GPTQ's sweep needs of it: dead inputs, the order of the columns, damping, and the upper
 * Cholesky factor of the inverse. Frantar et al. 2022, section 3.3, step 3; done once for all layers that have the same inputs.
 */
import { LabError } from '../base/index.ts';
import { doubleArithmetic, type Arithmetic, type Numbers } from './arithmetic.ts';
import { NotPositiveDefinite, sizeOfSquare } from './dense.ts';
import { deviceArithmetic } from './device-arithmetic.ts';

export interface HessianOptions {
  /** Added to the diagonal, as a share of its mean (default 0.01). Where that is too little, ten times as much is tried. */
  readonly damping?: number;
  /** Sweep the columns by falling diag(H): the most important ones while most others can still make up for them. */
  readonly actOrder?: boolean;
  /** Unless told, double precision up to 512 inputs and the device above. */
  readonly arithmetic?: Arithmetic;
}

export interface PreparedHessian {
  readonly inputs: number;
  /** U [inputs, inputs] in the order of the sweep: upper triangular, Uᵀ U = (H + damping)⁻¹. */
  readonly factor: Numbers;
  /** The input of each step of the sweep; null where it is the natural order. */
  readonly order: Int32Array | null;
  /** Inputs that were never anything but zero: what their weights are does not matter, so they become zero. */
  readonly dead: readonly number[];
  /** The damping it took. */
  readonly damping: number;
  readonly arithmetic: Arithmetic;
}

const SMALL = 512;
/** Of the mean of the diagonal: with more than this the Hessian is noise beside its damping. */
const MOST_DAMPING = 10;

/**
 * @param hessian [inputs, inputs], before damping; left as it is
 * @throws LabError for a Hessian that is not finite, has a negative diagonal, or cannot be factorised whatever the damping.
 */
export async function prepareHessian(hessian: Numbers, options: HessianOptions = {}): Promise<PreparedHessian> {
  const n = sizeOfSquare(hessian);
  const { damping: least = 0.01, actOrder = false, arithmetic = n <= SMALL ? doubleArithmetic : deviceArithmetic } = options;
  const diagonal = Float64Array.from({ length: n }, (_, i) => hessian[i * n + i]!);
  checkHessian(hessian, diagonal);
  const dead = [...diagonal.keys()].filter((i) => diagonal[i] === 0);
  for (const i of dead) diagonal[i] = 1;
  const order = actOrder ? Int32Array.from(diagonal.keys()).sort((a, b) => diagonal[b]! - diagonal[a]! || a - b) : null;
  const mean = diagonal.reduce((sum, value) => sum + value, 0) / n;
  const damped = inOrder(hessian, order);
  for (let damping = least; ; damping *= 10) {
    for (let i = 0; i < n; i++) damped[i * n + i] = diagonal[order ? order[i]! : i]! + damping * mean;
    try {
      return { inputs: n, factor: await arithmetic.inverseFactor(damped), order, dead, damping, arithmetic };
    } catch (error) {
      if (!(error instanceof NotPositiveDefinite)) throw error;
      if (damping > 0 && damping * 10 <= MOST_DAMPING) continue;
      throw new LabError(
        `the Hessian of the inputs cannot be factorised, even with a damping of ${damping} times the mean of its diagonal. ` +
          'Give calibration data that is different text, and more of it.',
        { cause: error },
      );
    }
  }
}

function checkHessian(hessian: Numbers, diagonal: Float64Array): void {
  if (!hessian.every(Number.isFinite)) {
    throw new LabError(
      'the Hessian of the inputs holds numbers that are not finite: the model overflows on the calibration data.',
    );
  }
  const negative = diagonal.findIndex((value) => value < 0);
  if (negative >= 0) {
    throw new LabError(
      `the Hessian of the inputs is ${diagonal[negative]} at ${negative} of its diagonal, which a square cannot be.`,
    );
  }
}

/** A copy with rows and columns in another order. */
function inOrder(matrix: Numbers, order: Int32Array | null): Numbers {
  const copy = matrix.slice();
  if (!order) return copy;
  const n = order.length;
  for (let i = 0; i < n; i++) {
    const row = order[i]! * n;
    for (let j = 0; j < n; j++) copy[i * n + j] = matrix[row + order[j]!]!;
  }
  return copy;
}
