/**
 * @file Rounding to nearest (RTN): every weight, by itself, becomes the nearest value of its grid. What all other methods are
 * compared with.
 */
import { invariant } from '../base/index.ts';
import type { GridOptions } from './grid.ts';
import { encodeMatrix, fitGrids, type GroupSize, type MatrixShape, type QuantizedMatrix } from './matrix.ts';

export interface RTNOptions extends GridOptions {
  /** Which weights share a grid; those of a row unless told. */
  readonly groupSize?: GroupSize;
}

/**
 * @param weights [outputs, inputs]
 * @throws RangeError for weights that are not finite, bits that there are not, or groups that do not divide the inputs.
 */
export function roundToNearest(weights: Float32Array, shape: MatrixShape, options: RTNOptions): QuantizedMatrix {
  checkFinite('roundToNearest', weights, shape);
  return encodeMatrix(weights, shape, fitGrids(weights, shape, options));
}

/** @throws RangeError for the first weight that is not a finite number, or when there are too few or too many. */
export function checkFinite(what: string, weights: Float32Array, { outputs, inputs }: MatrixShape): void {
  invariant(
    weights.length === outputs * inputs,
    () => `${what}: ${outputs} × ${inputs} weights are ${outputs * inputs} numbers, got ${weights.length}`,
  );
  const bad = weights.findIndex((weight) => !Number.isFinite(weight));
  invariant(
    bad < 0,
    () =>
      `${what}: the weight of output ${Math.floor(bad / inputs)}, input ${bad % inputs} is ${weights[bad]}; it must be finite`,
  );
}
