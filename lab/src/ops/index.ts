/** @file The operations a language model is made of: each a contract, a gradient of its own, and a plain reference beside it. */
export * from './activation/index.ts';
export * from './adamw/index.ts';
export * from './attention/index.ts';
export { crossEntropy, crossEntropyReference, type CrossEntropyOptions } from './cross-entropy/index.ts';
export * from './embedding/index.ts';
export * from './head-loss/index.ts';
export * from './kv-append/index.ts';
export * from './layer-norm/index.ts';
export { linear, linearReference } from './linear/index.ts';
export * from './mlp/index.ts';
export * from './numerics/index.ts';
export * from './precision.ts';
export * from './quantized-matmul/index.ts';
export * from './residual/index.ts';
export * from './rms-norm/index.ts';
export * from './rotary/index.ts';
export * from './webgpu/index.ts';
export * from './with-gradient.ts';
