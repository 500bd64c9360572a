/**
 * @file The element types of a safetensors file, and which typed array holds each.
 */
import { narrowToBrain, narrowToHalf, widenBrain, widenHalf } from './half.ts';

/** A typed array that can hold the elements of a stored tensor. */
export type StoredArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** Half-precision and 8-bit floats stay as their bits: `toFloat32` reads the 16-bit ones. */
const arrays = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  F8_E5M2: Uint8Array,
  F8_E4M3: Uint8Array,
  I64: BigInt64Array,
  I32: Int32Array,
  I16: Int16Array,
  I8: Int8Array,
  U64: BigUint64Array,
  U32: Uint32Array,
  U16: Uint16Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const;

export type StoredDtype = keyof typeof arrays;

/** A tensor as it lies in a file: plain data, no device. */
export interface StoredTensor {
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
  readonly data: StoredArray;
}

export function isStoredDtype(name: unknown): name is StoredDtype {
  return typeof name === 'string' && Object.hasOwn(arrays, name);
}

export function bytesPerElement(dtype: StoredDtype): number {
  return arrays[dtype].BYTES_PER_ELEMENT;
}

/** The bytes as elements of that type; `bytes` must start at the beginning of its own buffer. */
export function storedArray(dtype: StoredDtype, bytes: Uint8Array): StoredArray {
  return new arrays[dtype](bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength / bytesPerElement(dtype));
}

export function isArrayOf(dtype: StoredDtype, data: StoredArray): boolean {
  return data instanceof arrays[dtype];
}

/**
 * The elements as 32-bit floats, whatever they were stored as.
 *
 * @throws TypeError for the 8-bit float types.
 */
export function toFloat32(tensor: StoredTensor): Float32Array {
  const { dtype, data } = tensor;
  if (data instanceof Float32Array) return data;
  const values = new Float32Array(data.length);
  widen(dtype, data, values);
  return values;
}

/**
 * The same into an array that is there.
 *
 * @throws TypeError for the 8-bit float types.
 */
export function widen(dtype: StoredDtype, source: StoredArray, target: Float32Array): void {
  if (dtype === 'F8_E4M3' || dtype === 'F8_E5M2') throw new TypeError(`toFloat32: ${dtype} is not supported`);
  if (dtype === 'F16') widenHalf(source as Uint16Array, target);
  else if (dtype === 'BF16') widenBrain(source as Uint16Array, target);
  else if (source instanceof BigInt64Array || source instanceof BigUint64Array) target.set(Float32Array.from(source, Number));
  else target.set(source);
}

/** The types that weights are saved in. */
export type FloatDtype = 'F32' | 'F16' | 'BF16';

/** 32-bit floats as elements of a float type, each the nearest there is. */
export function fromFloat32(values: Float32Array, dtype: FloatDtype): StoredArray {
  if (dtype === 'F32') return values;
  return dtype === 'F16' ? narrowToHalf(values) : narrowToBrain(values);
}
