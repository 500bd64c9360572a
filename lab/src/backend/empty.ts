/**
 * @file Tensors whose values are still to come.
 */
import { tf, type Tensor } from './tf.ts';
import type { WasmBackend } from './wasm.ts';

/** A float32 tensor to be overwritten: on wasm with whatever lies in memory there, elsewhere with zeros. */
export function emptyTensor<R extends tf.Rank>(shape: tf.ShapeMap[R]): Tensor<R> {
  if (tf.getBackend() !== 'wasm') return tf.zeros<R>(shape);
  const made = (tf.backend() as unknown as WasmBackend).makeOutput(shape as number[], 'float32');
  return tf.engine().makeTensorFromTensorInfo(made) as Tensor<R>;
}
