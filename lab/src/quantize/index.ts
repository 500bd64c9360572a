/** @file Quantization after training: grids, rounding to nearest, OBD → OBS → OBQ → GPTQ. */
export { doubleArithmetic, type Arithmetic, type DebtShape, type Numbers } from './arithmetic.ts';
export * from './column-step.ts';
export { cholesky, invertLower, invertSymmetric, NotPositiveDefinite } from './dense.ts';
export { deviceArithmetic } from './device-arithmetic.ts';
export { gptq, type GPTQOptions, type GPTQResult, type SweepOptions } from './gptq.ts';
export * from './grid.ts';
export * from './hessian.ts';
export {
  bitsPerWeight,
  decodeMatrix,
  packMatrix,
  unpackMatrix,
  type GroupSize,
  type MatrixShape,
  type QuantizedMatrix,
} from './matrix.ts';
export * from './nf4.ts';
export * from './obd.ts';
export * from './obq.ts';
export * from './obs.ts';
export * from './prepare-hessian.ts';
export { roundToNearest, type RTNOptions } from './rtn.ts';
export * from './aware/index.ts';
