/**
 * @file TensorFlow.js's wasm tensors as the kernels see them: an offset in the heap and a shape.
 */
import type { tf, WasmBackend } from '../../backend/index.ts';
import type { Info } from '../kernel-registry.ts';

export type { Info, Inputs } from '../kernel-registry.ts';

export type KernelArguments = Parameters<tf.KernelFunc>[0];

export const sizeOf = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);

/** Where a tensor lies in the heap, in bytes. */
export function offsetOf(backend: WasmBackend, { dataId }: Info): number {
  return backend.dataIdMap.get(dataId).memoryOffset;
}

/** A tensor's values in place. The view is good until the next allocation. */
export function floatsOf(backend: WasmBackend, info: Info): Float32Array {
  return new Float32Array(backend.wasm.HEAPU8.buffer, offsetOf(backend, info), sizeOf(info.shape));
}

export function makeFloats(backend: WasmBackend, shape: readonly number[]): Info {
  return backend.makeOutput(shape, 'float32');
}

/** The same values under another shape: no copy, one more reference. */
export function share(backend: WasmBackend, x: Info, shape: readonly number[]): Info {
  backend.incRef(x.dataId);
  return { dataId: x.dataId, shape: [...shape], dtype: x.dtype };
}
