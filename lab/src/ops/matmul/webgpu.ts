/**
 * @file TensorFlow.js's matrix product on webgpu, by the lab's own shaders: equally fast for every transposition and for
 * batches.
 */
import type { Info } from '../kernel-registry.ts';
import { webGpuKernel, type WebGpuContext } from '../webgpu/index.ts';
import { dimensionsOf, matrixIndices } from './batch.ts';
import { multiplyOnGpu, sizeOf, type GpuProduct } from './gpu-product.ts';

/** op(a) op(b) with broadcast batch axes: [..., m, k] × [..., k, n] → [..., m, n]. */
function multiplyTensors(context: WebGpuContext, a: Info, b: Info, transposeA: boolean, transposeB: boolean): Info {
  const { m, n, k, batchShape } = dimensionsOf(a, b, transposeA, transposeB);
  const batch = sizeOf(batchShape);
  const [batchA, batchB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const product: GpuProduct = { batch, m, n, k, a, b, transposeA, transposeB, shape: [...batchShape, m, n] };
  // Many matrices times one are one tall matrix times it, unless transposition tears the tall one apart.
  if (sizeOf(batchB) === 1 && !transposeA) return multiplyOnGpu(context, { ...product, batch: 1, m: batch * m })[0]!;
  const step = (own: readonly number[], size: number): number | undefined =>
    sizeOf(own) === batch ? size : sizeOf(own) === 1 ? 0 : undefined;
  const [stepA, stepB] = [step(batchA, m * k), step(batchB, k * n)];
  if (stepA !== undefined && stepB !== undefined) return multiplyOnGpu(context, { ...product, stepA, stepB })[0]!;
  const [ofA, ofB] = [matrixIndices(batchA, batchShape), matrixIndices(batchB, batchShape)];
  const starts = Int32Array.from({ length: 2 * batch }, (_, i) => (i % 2 === 0 ? ofA[i >> 1]! * m * k : ofB[i >> 1]! * k * n));
  return multiplyOnGpu(context, { ...product, starts })[0]!;
}

webGpuKernel('BatchMatMul', (context, { a, b }, { transposeA, transposeB }) => {
  if (a?.dtype !== 'float32' || b?.dtype !== 'float32') return undefined;
  return multiplyTensors(context, a, b, transposeA === true, transposeB === true);
});
