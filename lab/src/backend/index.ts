/** @file Which device runs the tensors. */
export * from './backward.ts';
export * from './device.ts';
export * from './empty.ts';
export * from './failures.ts';
export { GpuGuard, gpuGuardOf } from './gpu-guard.ts';
export * from './hooks.ts';
export * from './inspect.ts';
export * from './kernel-calls.ts';
export { runShader, ShaderError, type ShaderFailure, type ShaderJob, type ShaderMessage, type ShaderResult } from './shader.ts';
export * from './start.ts';
export { cudaLibraries } from './tensorflow.ts';
export * from './tf.ts';
export { wasmHeap, type HeapUsage, type WasmBackend, type WasmHeap, type WasmModule } from './wasm.ts';
export { webAssembly, type WasmCode, type WasmExports, type WasmMemory } from './webassembly.ts';
