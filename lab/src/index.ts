/**
 * @file `lab`: everything a notebook, a test or a program may import.
 */
export * from './base/index.ts';
export * from './backend/index.ts';
export * from './ops/matmul/index.ts';
export { FLAVOURS, KernelPool, runnableFlavours, wasmKernelNames, type Flavour } from './ops/wasm/index.ts';
export * from './files/index.ts';
export * from './ops/index.ts';
export * from './nn/index.ts';
export * from './attention/index.ts';
export * from './model/index.ts';
export * from './course/index.ts';
export * from './course/grading/index.ts';
export * from './tokenizer/index.ts';
export * from './worlds/index.ts';
export * from './data/index.ts';
export * from './plot/index.ts';
export * from './train/index.ts';
export * from './quantize/index.ts';
export * from './peft/index.ts';
export * from './profile/index.ts';
export * from './evaluate/index.ts';
export * from './align/index.ts';
export * from './interop/index.ts';
export * from './serve/index.ts';
export * from './experiments/index.ts';
