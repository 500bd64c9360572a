/**
 * @file TensorFlow.js's matrix product on wasm, by the kernels in gemm.as.ts: equally fast for every transposition and for
 * batches, on all threads.
 */
import { invariant } from '../../base/index.ts';
import { tf } from '../../backend/index.ts';
import { floatsOf, makeFloats, offsetOf, sizeOf, wasmKernel, type Info, type WasmContext } from '../wasm/index.ts';
import { multiply, seen } from './product.ts';

const FLOAT = 4;

/** For each matrix of the broadcast batch, the distance of the operand's matrix from its first, in bytes. */
function batchSteps(shape: readonly number[], batchShape: readonly number[], matrixSize: number): Int32Array {
  const padded = [...new Array<number>(batchShape.length - shape.length).fill(1), ...shape];
  let steps = [0];
  let inner = FLOAT * matrixSize;
  const strides = padded.map(() => 0);
  for (let axis = padded.length - 1; axis >= 0; axis--) {
    strides[axis] = padded[axis] === 1 ? 0 : inner;
    inner *= padded[axis]!;
  }
  for (const [axis, size] of batchShape.entries()) {
    steps = steps.flatMap((start) => Array.from({ length: size }, (_, i) => start + i * strides[axis]!));
  }
  return Int32Array.from(steps);
}

interface Dimensions {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly batchShape: number[];
}

function dimensionsOf(a: Info, b: Info, transposeA: boolean, transposeB: boolean): Dimensions {
  const [aDown, aRight] = a.shape.slice(-2) as [number, number];
  const [bDown, bRight] = b.shape.slice(-2) as [number, number];
  const [m, k] = transposeA ? [aRight, aDown] : [aDown, aRight];
  const [kb, n] = transposeB ? [bRight, bDown] : [bDown, bRight];
  invariant(k === kb, () => `matMul: [${a.shape.join(', ')}] and [${b.shape.join(', ')}] do not fit: the inner sizes are ${k} and ${kb}`);
  const batchShape = tf.broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  return { m, n, k, batchShape };
}

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
    const aSteps = batchSteps(a.shape.slice(0, -2), batchShape, m * k);
    const bSteps = batchSteps(b.shape.slice(0, -2), batchShape, k * n);
    const steps = Int32Array.from({ length: 2 * batch }, (_, i) => (i % 2 === 0 ? aSteps : bSteps)[i >> 1]!);
    multiply(context, { ...product, batch, m, steps });
  }
  return output;
}

wasmKernel('BatchMatMul', (context, { a, b }, { transposeA, transposeB }) => {
  if (a?.dtype !== 'float32' || b?.dtype !== 'float32') return undefined;
  return multiplyTensors(context, a, b, transposeA === true, transposeB === true);
});
