/**
 * @file The one copy of TensorFlow.js that the whole lab uses, notebooks included.
 * The union package, because `@tensorflow/tfjs-core` alone registers neither gradients nor chained operations in Node.
 */
export * as tf from '@tensorflow/tfjs';
export type { Rank, Scalar, Tensor, Tensor1D, Tensor2D, Tensor3D, Tensor4D, TypedArray, Variable } from '@tensorflow/tfjs';
