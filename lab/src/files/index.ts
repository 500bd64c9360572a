/** @file Files: where the project keeps its own, strict text, safetensors, saves that are whole or not there. */
export * from './atomic.ts';
export * from './atomic-set.ts';
export * from './dtypes.ts';
export { parseSafetensors, readSafetensors, serializeSafetensors, streamSafetensors, writeSafetensors } from './safetensors.ts';
export type { LazyTensor, ReadOptions, Safetensors, WriteOptions } from './safetensors.ts';
export { SafetensorsFile, type TensorEntry } from './safetensors-file.ts';
export * from './project.ts';
export * from './text.ts';
