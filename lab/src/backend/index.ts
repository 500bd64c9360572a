/** @file Which device runs the tensors. */
export * from './backward.ts';
export * from './device.ts';
export * from './hooks.ts';
export * from './inspect.ts';
export * from './start.ts';
export { cudaLibraries } from './tensorflow.ts';
export * from './tf.ts';
export { wasmHeap, type HeapUsage, type WasmBackend, type WasmHeap, type WasmModule } from './wasm.ts';
export { webAssembly, type WasmCode, type WasmExports, type WasmMemory } from './webassembly.ts';
