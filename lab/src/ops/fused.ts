/**
 * @file The way from an operation to the kernel that the running backend may have for it. A backend without one runs the
 * operation's plain path.
 */
import { tf, type Tensor } from '../backend/index.ts';

/** Kernels of the lab's own bear names with this beginning, so that they cannot be mistaken for TensorFlow.js's. */
export const OWN = 'lab.';

/** Takes tensors by name (absent ones left out) and gives its outputs, off the tape. */
export type FusedKernel = (inputs: Readonly<Record<string, Tensor | null>>, attributes?: object) => Tensor[];

/**
 * The running backend's own kernel of that name, if it has one.
 *
 * @param name without the beginning: `linear`
 */
export function fusedKernel(name: string): FusedKernel | undefined {
  const kernelName = OWN + name;
  if (!tf.getKernel(kernelName, tf.getBackend())) return undefined;
  return (inputs, attributes = {}) => {
    const present = Object.entries(inputs).filter((entry): entry is [string, Tensor] => entry[1] !== null);
    return [tf.engine().runKernel(kernelName, Object.fromEntries(present), attributes as tf.NamedAttrMap)].flat();
  };
}
