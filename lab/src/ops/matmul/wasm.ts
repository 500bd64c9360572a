/**
 * @file TensorFlow.js's matrix product on wasm, by the kernels in gemm.as.ts: equally fast for every transposition and for
 * batches, on all threads.
 */
import { floatsOf, makeFloats, offsetOf, sizeOf, wasmKernel, type Info, type WasmContext } from '../wasm/index.ts';
import { dimensionsOf, matrixIndices } from './batch.ts';
import { multiply, seen } from './product.ts';

const FLOAT = 4;

/** op(a) op(b) with broadcast batch axes: [..., m, k] × [..., k, n] → [..., m, n]. */
export function multiplyTensors(context: WasmContext, a: Info, b: Info, transposeA: boolean, transposeB: boolean): Info {
  const { backend } = context;
  const { m, n, k, batchShape } = dimensionsOf(a, b, transposeA, transposeB);
  const output = makeFloats(backend, [...batchShape, m, n]);
  if (sizeOf(output.shape) === 0) return output;
  if (k === 0) {
    floatsOf(backend, output).fill(0);
    return output;
  }
  const product = {
    k,
    n,
    a: seen(offsetOf(backend, a), a.shape.at(-1)!, transposeA),
    b: seen(offsetOf(backend, b), b.shape.at(-1)!, transposeB),
    c: offsetOf(backend, output),
  };
  const batch = sizeOf(batchShape);
  const sharedB = sizeOf(b.shape.slice(0, -2)) === 1;
  // Many matrices times one are one tall matrix times it, unless transposition tears the tall one apart.
  if (sharedB && !transposeA) multiply(context, { ...product, batch: 1, m: batch * m });
  else {
    const ofA = matrixIndices(a.shape.slice(0, -2), batchShape).map((i) => FLOAT * m * k * i);
    const ofB = matrixIndices(b.shape.slice(0, -2), batchShape).map((i) => FLOAT * k * n * i);
    const steps = Int32Array.from({ length: 2 * batch }, (_, i) => (i % 2 === 0 ? ofA : ofB)[i >> 1]!);
    multiply(context, { ...product, batch, m, steps });
  }
  return output;
}

wasmKernel('BatchMatMul', (context, { a, b }, { transposeA, transposeB }) => {
  if (a?.dtype !== 'float32' || b?.dtype !== 'float32') return undefined;
  return multiplyTensors(context, a, b, transposeA === true, transposeB === true);
});
