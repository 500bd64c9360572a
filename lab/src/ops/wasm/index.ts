/** @file The lab's own kernels on WebAssembly: a thread pool on TensorFlow.js's heap, in force whenever the wasm backend runs. */
import './elementwise.ts';
import './layout.ts';
import './reduce.ts';

export { runningWasm } from './install.ts';
export { FLAVOURS, runnableFlavours, type Flavour } from './flavour.ts';
export { wasmKernel, wasmKernelNames, type WasmContext, type WasmKernel } from './kernels.ts';
export { KernelPool, type FloatArgument } from './pool.ts';
export * from './tensors.ts';
