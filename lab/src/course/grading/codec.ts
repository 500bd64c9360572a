/**
 * @file Values on their way to another process and back: plain data, typed arrays, maps, tensors, errors, functions and
 * promises. What was the same object stays the same object, and what one side does to an object the other side sees.
 *
 * A session (one call from outside, with all that it calls in turn) has a table of the objects that both sides know.
 * With every message go the contents of those that have changed since the last one.
 */
import { tf, type Tensor } from '../../backend/index.ts';
import { LabError } from '../../base/index.ts';
import { changed, kindOf, partsOf, refill, type Parts } from './contents.ts';

/** JSON that stands for a value. */
export type Encoded = unknown;

/** How functions and promises, which stay where they are, are named to the other side. */
export interface Delegate {
  nameFunction(f: (...args: unknown[]) => unknown): { readonly own: number } | { readonly theirs: number };
  functionNamed(id: number, label: string, parameters: number): unknown;
  ownFunction(id: number): unknown;
  namePromise(promise: Promise<unknown>): number;
  promiseNamed(id: number): unknown;
  /** What the tensor was computed from, where gradients may be asked for: ids in this table. */
  sources(tensor: Tensor): readonly number[];
  tensorFrom(tensor: Tensor, id: number, sources: readonly number[]): Tensor;
}

const ARRAYS = {
  Float32Array,
  Float64Array,
  Int8Array,
  Int16Array,
  Int32Array,
  Uint8Array,
  Uint8ClampedArray,
  Uint16Array,
  Uint32Array,
  BigInt64Array,
  BigUint64Array,
} as const;
type TypedArray = InstanceType<(typeof ARRAYS)[keyof typeof ARRAYS]>;

/** Deeper than any answer. */
const DEEPEST = 200;

interface Known {
  readonly value: object;
  /** What was in it when both sides last agreed; undefined for what cannot change. */
  parts: Parts | undefined;
}

/** The raw bytes of one message: written while encoding, or read while decoding. */
export class Bytes {
  readonly #chunks: Uint8Array[] = [];
  #length = 0;

  add(array: ArrayBufferView): readonly [number, number] {
    // A copy, so that what follows in the same turn cannot alter it.
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength).slice();
    this.#chunks.push(bytes);
    this.#length += bytes.length;
    return [this.#length - bytes.length, bytes.length];
  }

  joined(): Uint8Array {
    return Buffer.concat(this.#chunks);
  }
}

/** The objects that both sides know in one session. */
export class Table {
  readonly #known = new Map<number, Known>();
  readonly #ids = new Map<object, number>();
  readonly #delegate: Delegate;
  #next: number;

  /** @param side 0 or 1: each side has its own numbers to give */
  constructor(side: 0 | 1, delegate: Delegate) {
    this.#next = side;
    this.#delegate = delegate;
  }

  get(id: number): object | undefined {
    return this.#known.get(id)?.value;
  }

  idOf(value: object): number | undefined {
    return this.#ids.get(value);
  }

  encode(value: unknown, bytes: Bytes, depth = 0): Encoded {
    if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
    if (typeof value === 'number') return Number.isFinite(value) && !Object.is(value, -0) ? value : { x: spelled(value) };
    if (value === undefined) return { u: 1 };
    if (typeof value === 'bigint') return { b: String(value) };
    if (typeof value === 'symbol') throw new LabError('a symbol cannot be handed over to another process');
    if (depth > DEEPEST) throw new LabError(`data nested deeper than ${DEEPEST} cannot be handed over to another process`);
    const known = this.#ids.get(value);
    if (known !== undefined) return { r: known };
    return this.#encodeObject(value, bytes, depth);
  }

  #encodeObject(value: object, bytes: Bytes, depth: number): Encoded {
    const i = this.#remember(value);
    if (typeof value === 'function') {
      const f = value as (...args: unknown[]) => unknown;
      return { i, k: 'function', ...this.#delegate.nameFunction(f), name: f.name, length: f.length };
    }
    if (value instanceof tf.Tensor) {
      if (value.dtype === 'string' || value.dtype === 'complex64')
        throw new LabError(`a tensor of ${value.dtype} cannot be handed over to another process`);
      const at = bytes.add(value.dataSync());
      return { i, k: 'tensor', shape: value.shape, dtype: value.dtype, at, from: this.#delegate.sources(value) };
    }
    if (value instanceof Promise) return { i, k: 'promise', p: this.#delegate.namePromise(value) };
    if (value instanceof Date) return { i, k: 'date', at: value.getTime() };
    if (value instanceof Error) return { i, k: 'error', name: value.name, message: value.message, line: lineOf(value) };
    return { i, ...this.#encodeContents(value, bytes, depth), ...(Object.isFrozen(value) && { z: 1 }) };
  }

  #encodeContents(value: object, bytes: Bytes, depth: number): { k: string } & Record<string, unknown> {
    const all = (parts: readonly unknown[]): Encoded[] => parts.map((part) => this.encode(part, bytes, depth + 1));
    if (ArrayBuffer.isView(value)) {
      const c = value[Symbol.toStringTag as never] as string;
      if (!(c in ARRAYS)) throw new LabError(`a ${c} cannot be handed over to another process`);
      return { k: 'typed', c, at: bytes.add(value) };
    }
    if (Array.isArray(value)) {
      if (value.length > 0 && value.every((x) => typeof x === 'number'))
        return { k: 'numbers', at: bytes.add(Float64Array.from(value as number[])) };
      return { k: 'array', v: all(Array.from(value as unknown[])) };
    }
    if (value instanceof Map) return { k: 'map', v: all([...value].flat()) };
    if (value instanceof Set) return { k: 'set', v: all(Array.from(value)) };
    return { k: 'object', v: all(Object.entries(value).flat()) };
  }

  #remember(value: object): number {
    const id = this.#next;
    this.#next += 2;
    this.#ids.set(value, id);
    this.#known.set(id, { value, parts: partsOf(value) });
    return id;
  }

  /** @throws LabError when it is no value */
  decode(encoded: Encoded, bytes: Uint8Array, depth = 0): unknown {
    if (typeof encoded !== 'object' || encoded === null) return encoded;
    const e = encoded as Record<string, unknown>;
    if (depth > DEEPEST) throw new LabError('a malformed message');
    if (e['u'] === 1) return undefined;
    if (typeof e['x'] === 'string') return Number(e['x']);
    if (typeof e['b'] === 'string') return BigInt(e['b']);
    if (typeof e['r'] === 'number') {
      const value = this.get(e['r']);
      if (value === undefined) throw new LabError('a malformed message');
      return value;
    }
    if (!Number.isSafeInteger(e['i']) || this.#known.has(e['i'] as number)) throw new LabError('a malformed message');
    return this.#decodeObject(e, e['i'] as number, bytes, depth);
  }

  #decodeObject(e: Record<string, unknown>, id: number, bytes: Uint8Array, depth: number): object {
    const keep = <T extends object>(value: T): T => {
      this.#ids.set(value, id);
      this.#known.set(id, { value, parts: undefined });
      return value;
    };
    switch (e['k']) {
      case 'function': {
        const f =
          typeof e['theirs'] === 'number'
            ? this.#delegate.ownFunction(e['theirs'])
            : this.#delegate.functionNamed(Number(e['own']), String(e['name']).slice(0, 100), Number(e['length']) || 0);
        return keep(f as object);
      }
      case 'promise':
        return keep(this.#delegate.promiseNamed(Number(e['p'])) as object);
      case 'date':
        return keep(new Date(Number(e['at'])));
      case 'error':
        return keep(errorOf(e));
      case 'tensor': {
        const from = (Array.isArray(e['from']) ? e['from'] : []).filter((s) => this.get(s as number) instanceof tf.Tensor);
        return keep(this.#delegate.tensorFrom(tensorOf(e, bytes), id, from as number[]));
      }
    }
    const value = keep(emptyOf(e, bytes));
    if (Array.isArray(e['v']))
      refill(
        value,
        (e['v'] as unknown[]).map((part) => this.decode(part, bytes, depth + 1)),
      );
    if (e['z'] === 1 && !ArrayBuffer.isView(value)) Object.freeze(value);
    this.#known.get(id)!.parts = partsOf(value);
    return value;
  }

  /** The contents of what has changed since both sides last agreed. */
  encodeChanges(bytes: Bytes): Encoded {
    const list: unknown[] = [];
    for (const [id, known] of this.#known) {
      if (!known.parts || !changed(known.parts, known.value)) continue;
      known.parts = partsOf(known.value);
      list.push({ id, ...this.#encodeContents(known.value, bytes, 0) });
    }
    return list;
  }

  /**
   * @param before is told each object that is about to change
   * @throws LabError when they are no changes
   */
  applyChanges(encoded: Encoded, bytes: Uint8Array, before: (value: object, parts: Parts) => void): void {
    if (!Array.isArray(encoded)) throw new LabError('a malformed message');
    for (const change of encoded as Record<string, unknown>[]) {
      const known = this.#known.get(change['id'] as number);
      if (!known?.parts || Object.isFrozen(known.value)) throw new LabError('a malformed message');
      const fresh = emptyOf(change, bytes);
      const parts = Array.isArray(change['v'])
        ? (change['v'] as unknown[]).map((part) => this.decode(part, bytes, 1))
        : (fresh as unknown as Parts);
      if (kindOf(fresh) !== kindOf(known.value)) throw new LabError('a malformed message');
      before(known.value, known.parts);
      refill(known.value, parts);
      known.parts = partsOf(known.value);
    }
  }
}

/** An object of the right class: typed arrays and arrays of numbers are complete, the others are empty. */
function emptyOf(e: Record<string, unknown>, bytes: Uint8Array): object {
  switch (e['k']) {
    case 'numbers':
      return Array.from(slice('Float64Array', e['at'], bytes) as Float64Array);
    case 'typed':
      return slice(e['c'], e['at'], bytes);
    case 'array':
      return [];
    case 'map':
      return new Map();
    case 'set':
      return new Set();
    case 'object':
      return {};
  }
  throw new LabError('a malformed message');
}

function slice(name: unknown, at: unknown, bytes: Uint8Array): TypedArray {
  const [start, length] = Array.isArray(at) ? (at as number[]) : [];
  const make = typeof name === 'string' && Object.hasOwn(ARRAYS, name) ? ARRAYS[name as keyof typeof ARRAYS] : undefined;
  const valid = Number.isSafeInteger(start) && Number.isSafeInteger(length) && start! >= 0 && length! >= 0;
  if (!make || !valid || start! + length! > bytes.length || length! % make.BYTES_PER_ELEMENT !== 0)
    throw new LabError('a malformed message');
  return new make(Uint8Array.from(bytes.subarray(start, start! + length!)).buffer);
}

const STORAGE = { float32: 'Float32Array', int32: 'Int32Array', bool: 'Uint8Array' } as const;

function tensorOf({ shape, dtype, at }: Record<string, unknown>, bytes: Uint8Array): Tensor {
  const valid = Array.isArray(shape) && shape.length <= 6 && shape.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (!valid || typeof dtype !== 'string' || !Object.hasOwn(STORAGE, dtype)) throw new LabError('a malformed message');
  const type = dtype as keyof typeof STORAGE;
  const data = slice(STORAGE[type], at, bytes) as Float32Array;
  if (data.length !== (shape as number[]).reduce((size, n) => size * n, 1)) throw new LabError('a malformed message');
  return tf.tensor(data, shape as number[], type);
}

function spelled(x: number): string {
  return Object.is(x, -0) ? '-0' : String(x);
}

const lines = new WeakMap<Error, string>();

/** The student's line in which an error arose, if it came from there. */
export function lineOf(error: Error): string | undefined {
  return lines.get(error);
}

export function setLine(error: Error, line: string): void {
  lines.set(error, line);
}

function errorOf({ name, message, line }: Record<string, unknown>): Error {
  const error = new Error(String(message).slice(0, 10_000));
  Object.defineProperty(error, 'name', { value: String(name).slice(0, 100), configurable: true, writable: true });
  // What the stack would show is of this process, and says nothing to a student.
  error.stack = `${error.name}: ${error.message}`;
  if (typeof line === 'string') setLine(error, line.slice(0, 500));
  return error;
}
