/**
 * @file Quantization after training: grids, rounding to nearest, OBD → OBS → OBQ → GPTQ, AWQ, NF4, and layers that stay packed.
 */
export { doubleArithmetic, type Arithmetic, type DebtShape, type Numbers } from './arithmetic.ts';
export * from './awq.ts';
export { calibrationBatches, type CalibrationBatch, type CalibrationOptions } from './calibration.ts';
export * from './column-step.ts';
export { cholesky, invertLower, invertSymmetric, NotPositiveDefinite } from './dense.ts';
export { deviceArithmetic } from './device-arithmetic.ts';
export { gptq, type GPTQOptions, type GPTQResult, type SweepOptions } from './gptq.ts';
export * from './grid.ts';
export { HessianAverage, relativeOutputError } from './hessian.ts';
export {
  bitsPerWeight,
  decodeMatrix,
  packMatrix,
  unpackMatrix,
  type GroupSize,
  type MatrixShape,
  type QuantizedMatrix,
} from './matrix.ts';
export { QUANTIZATION_METHODS, type MethodOptions, type QuantizationMethod } from './methods.ts';
export * from './nf4.ts';
export { NF4Linear } from './nf4-linear.ts';
export * from './obd.ts';
export * from './obq.ts';
export * from './obs.ts';
export * from './prepare-hessian.ts';
export {
  quantizeModel,
  type LayerReport,
  type QuantizationReport,
  type QuantizeModelOptions,
} from './quantize-model.ts';
export { QuantizedLayer, QuantizedLinear, type QuantizedLinearOptions } from './quantized-linear.ts';
export { roundToNearest, type RTNOptions } from './rtn.ts';
export * from './aware/index.ts';
