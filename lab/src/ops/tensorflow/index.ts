/** @file TensorFlow's own operations, behind the lab's contracts. */
export { TensorFlowOperations, type Attributes } from './backend.ts';
export { tensorFlowKernel, type TensorFlowContext } from './kernels.ts';
