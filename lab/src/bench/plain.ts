/**
 * @file What fused operations are compared with: the same model on the same device, by operations that every backend of
 * TensorFlow.js has.
 */
import { tf } from '../backend/index.ts';

/** Runs `work` as if the running backend had none of the lab's kernels for fused operations. */
export async function withoutFusedKernels<T>(work: () => Promise<T>): Promise<T> {
  const own = tf.getKernelsForBackend(tf.getBackend()).filter(({ kernelName }) => kernelName.startsWith('lab.'));
  for (const { kernelName, backendName } of own) tf.unregisterKernel(kernelName, backendName);
  try {
    return await work();
  } finally {
    for (const kernel of own) tf.registerKernel(kernel);
  }
}
