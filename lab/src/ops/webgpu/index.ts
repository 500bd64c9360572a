/** @file The lab's own shaders on WebGPU, beside those of TensorFlow.js. */
export * from './backend.ts';
export * from './kernels.ts';
export * from './runner.ts';
