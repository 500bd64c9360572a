/**
 * @file The part of the global `WebAssembly` that the lab uses, typed: its types otherwise come only with a browser's.
 */

export interface WasmMemory {
  readonly buffer: ArrayBuffer | SharedArrayBuffer;
}

/** A compiled module; it can be posted to other threads. */
export type WasmCode = object;

export type WasmExports = Readonly<Record<string, (...values: number[]) => number>>;

export interface WebAssemblyApi {
  readonly Memory: new (limits: { initial: number; maximum?: number; shared?: boolean }) => WasmMemory;
  readonly Module: new (bytes: Uint8Array) => WasmCode;
  readonly Instance: new (code: WasmCode, imports: object) => { readonly exports: WasmExports };
  validate(bytes: Uint8Array): boolean;
}

/** The global, or undefined in an engine without WebAssembly. */
export const webAssembly = (globalThis as { WebAssembly?: WebAssemblyApi }).WebAssembly;
