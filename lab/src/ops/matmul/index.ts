/** @file Matrix multiplication. */
import './wasm.ts';
import './webgpu.ts';

export { multiplyOnGpu, type GpuFinish, type GpuProduct } from './gpu-product.ts';
export { joinShader } from './join.wgsl.ts';
export { matricesShader, type MatricesFeatures, type SubgroupMatrix } from './matrices.wgsl.ts';
export { planProduct, type Plan, type ProductShape } from './plan.ts';
export type { FinishFeatures, Operand, ProductFeatures } from './product.wgsl.ts';
export { rowsShader, type RowsFeatures } from './rows.wgsl.ts';
export { planShader, type GpuFeatures, type GpuProductShape, type ShaderPlan } from './shader-plan.ts';
export { tileShader, type TileSize } from './tile.wgsl.ts';
