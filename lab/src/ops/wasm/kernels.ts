/**
 * @file The lab's kernels for TensorFlow.js's wasm backend.
 */
import type { WasmBackend } from '../../backend/index.ts';
import { KernelRegistry, type Kernel } from '../kernel-registry.ts';
import type { KernelPool } from './pool.ts';

/** What a kernel works with. */
export interface WasmContext {
  readonly backend: WasmBackend;
  readonly pool: KernelPool;
}

export type WasmKernel = Kernel<WasmContext>;

export const wasmKernels = new KernelRegistry<WasmContext>('wasm');

/** Declares a kernel for TensorFlow.js's operation of that name; it is in force whenever the wasm backend runs. */
export function wasmKernel(name: string, kernel: WasmKernel): void {
  wasmKernels.declare(name, kernel);
}

export function wasmKernelNames(): string[] {
  return wasmKernels.names();
}
