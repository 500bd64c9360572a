/**
 * @file Hangs the lab's kernels into TensorFlow.js's wasm backend, and takes them out again.
 */
import { tf, type WasmBackend } from '../../backend/index.ts';
import { OWN } from '../fused.ts';
import type { KernelPool } from './pool.ts';
import type { Info, Inputs } from './tensors.ts';

/** What a kernel works with. */
export interface WasmContext {
  readonly backend: WasmBackend;
  readonly pool: KernelPool;
}

/** Computes, or returns undefined for what it leaves to TensorFlow.js's own kernel. */
export type WasmKernel = (
  context: WasmContext,
  inputs: Inputs,
  attributes: Readonly<Record<string, unknown>>,
) => Info | Info[] | undefined;

const kernels = new Map<string, WasmKernel>();

/** Declares a kernel for TensorFlow.js's operation of that name; it is in force whenever the wasm backend runs. */
export function wasmKernel(name: string, kernel: WasmKernel): void {
  kernels.set(name, kernel);
}

export function wasmKernelNames(): string[] {
  return [...kernels.keys()];
}

/**
 * Registers all declared kernels in the place of TensorFlow.js's own.
 *
 * @param onlyMissing only those that TensorFlow.js's plain operations need and this backend of it lacks
 * @returns what puts those back
 */
export function registerWasmKernels(context: WasmContext, onlyMissing = false): () => void {
  const before = new Map<string, tf.KernelConfig | undefined>();
  for (const [kernelName, kernel] of kernels) {
    const stock = tf.getKernel(kernelName, 'wasm');
    if (onlyMissing && (stock || kernelName.startsWith(OWN))) continue;
    before.set(kernelName, stock);
    if (stock) tf.unregisterKernel(kernelName, 'wasm');
    tf.registerKernel({
      kernelName,
      backendName: 'wasm',
      ...(stock?.setupFunc && { setupFunc: stock.setupFunc }),
      kernelFunc(call) {
        const result = kernel(context, call.inputs as Inputs, (call.attrs ?? {}) as Record<string, unknown>);
        if (result !== undefined) return result;
        if (!stock) throw new Error(`${kernelName} is not there on wasm for these inputs`);
        return stock.kernelFunc(call);
      },
    });
  }
  return () => {
    for (const [name, stock] of before) {
      tf.unregisterKernel(name, 'wasm');
      if (stock) tf.registerKernel(stock);
    }
  };
}
