/**
 * @file The lab's kernels for the backend `tensorflow`: each a few of TensorFlow's own operations, where those do in one go what
 * TensorFlow.js's take several for.
 */
import { onBackendStart, tf } from '../../backend/index.ts';
import { KernelRegistry, type Kernel } from '../kernel-registry.ts';
import { TensorFlowOperations, type NodeBackend } from './backend.ts';

/** What a kernel works with. */
export interface TensorFlowContext {
  readonly operations: TensorFlowOperations;
}

const kernels = new KernelRegistry<TensorFlowContext>('tensorflow');

/** Declares a kernel for the operation of that name; it is in force whenever the backend runs. */
export function tensorFlowKernel(name: string, kernel: Kernel<TensorFlowContext>): void {
  kernels.declare(name, kernel);
}

onBackendStart('tensorflow', async () => {
  const operations = new TensorFlowOperations(tf.backend() as unknown as NodeBackend);
  const unregister = kernels.register({ operations });
  return {
    description: "TensorFlow's fused operations",
    operations: kernels.names(),
    async remove() {
      unregister();
    },
  };
});
