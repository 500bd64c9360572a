/**
 * @file The lab's kernels for TensorFlow.js's webgpu backend, and the runner of shaders that all of them share.
 */
import { onBackendStart, tf } from '../../backend/index.ts';
import { KernelRegistry, type Kernel } from '../kernel-registry.ts';
import type { WebGpuBackend } from './backend.ts';
import { ShaderRunner } from './runner.ts';

/** What a kernel works with: the runner, and by it the backend and the device. */
export interface WebGpuContext {
  readonly runner: ShaderRunner;
}

export type WebGpuKernel = Kernel<WebGpuContext>;

const kernels = new KernelRegistry<WebGpuContext>('webgpu');

/** Declares a kernel for TensorFlow.js's operation of that name; it is in force whenever the webgpu backend runs. */
export function webGpuKernel(name: string, kernel: WebGpuKernel): void {
  kernels.declare(name, kernel);
}

let running: WebGpuContext | undefined;
let unregister: (() => void) | undefined;

/** What the lab's kernels on webgpu work with, while they are in force. */
export function runningWebGpu(): WebGpuContext | undefined {
  return running;
}

/** Runs `work` on TensorFlow.js's own shaders, to measure against: the kernels declared here stay away until it is done. */
export async function withStockWebGpu<T>(work: () => Promise<T>): Promise<T> {
  const context = running;
  if (!context) return work();
  unregister?.();
  unregister = undefined;
  try {
    return await work();
  } finally {
    if (running === context) unregister = kernels.register(context);
  }
}

onBackendStart('webgpu', async () => {
  const runner = new ShaderRunner(tf.backend() as unknown as WebGpuBackend);
  unregister = kernels.register({ runner });
  running = { runner };
  return {
    description: 'WGSL',
    operations: kernels.names(),
    async remove() {
      running = undefined;
      unregister?.();
      unregister = undefined;
    },
  };
});
