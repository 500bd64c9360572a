/**
 * @file Numbers in whatever form an exercise gives them (tensor, typed array, nested array, number), read into one form.
 */
import { inspect } from 'node:util';
import { LabError } from '../base/index.ts';

/** Numbers with their shape. Tensors are read, not changed or disposed. */
export interface Values {
  readonly shape: readonly number[];
  readonly numbers: Float64Array;
}

/** What {@link readValues} understands. */
export type Expectable = number | boolean | ArrayLike<unknown> | TensorLike;

/** The part of a tensor that is needed to read it, whichever copy of TensorFlow.js made it. */
export interface TensorLike {
  readonly shape: readonly number[];
  readonly dtype: string;
  data(): Promise<ArrayLike<number | string>>;
}

function isTensor(value: unknown): value is TensorLike {
  return typeof value === 'object' && value !== null && 'shape' in value && 'data' in value && typeof value.data === 'function';
}

/** What a value is, in the words of a reader: 'a tensor [2, 3]', 'an array of 4', 'nothing (undefined)'. */
export function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing (undefined)';
  if (value === null) return 'null';
  if (isTensor(value)) return `a tensor [${value.shape.join(', ')}]`;
  if (value instanceof Promise) return 'a promise';
  if (ArrayBuffer.isView(value)) return `a ${value.constructor.name} of ${(value as unknown as ArrayLike<number>).length}`;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'function') return 'a function';
  return typeof value === 'string' ? `the text '${value}'` : typeof value === 'object' ? 'an object' : inspect(value);
}

/** The shape of nested arrays; throws where rows differ in length. */
function flatten(value: unknown, into: number[], depth: number): number[] {
  if (typeof value === 'number' || typeof value === 'boolean') {
    into.push(Number(value));
    return [];
  }
  if (!Array.isArray(value) && !ArrayBuffer.isView(value)) throw new LabError(`holds ${kindOf(value)} where a number should be`);
  const rows = value as unknown as ArrayLike<unknown>;
  let inner: number[] | undefined;
  for (let i = 0; i < rows.length; i++) {
    const shape = flatten(rows[i], into, depth + 1);
    if (inner && inner.join() !== shape.join()) throw new LabError(`has rows of different lengths at depth ${depth + 1}`);
    inner = shape;
  }
  return [rows.length, ...(inner ?? [])];
}

/**
 * Reads numbers and their shape.
 *
 * @throws LabError that says what else was found: `nothing (undefined)`, `a promise`, `has rows of different lengths`.
 */
export async function readValues(value: unknown): Promise<Values> {
  if (isTensor(value)) {
    const data = await value.data();
    return { shape: [...value.shape], numbers: Float64Array.from(data, Number) };
  }
  if (typeof value !== 'number' && typeof value !== 'boolean' && !Array.isArray(value) && !ArrayBuffer.isView(value)) {
    throw new LabError(`is ${kindOf(value)}`);
  }
  const numbers: number[] = [];
  const shape = flatten(value, numbers, 0);
  return { shape, numbers: Float64Array.from(numbers) };
}

export interface Difference {
  /** How far apart the worst pair is; Infinity for NaN or infinity on one side only. */
  readonly largest: number;
  /** Index of the worst pair in the flat numbers. */
  readonly at: number;
  /** How many pairs are further apart than the tolerance allows. */
  readonly apart: number;
  readonly nan: number;
}

/** Float32 arithmetic turns "minus infinity" into −3.4e38 or keeps −1e9: all of them are as good as minus infinity. */
const AS_GOOD_AS_INFINITE = 1e8;

function distance(a: number, b: number): number {
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return 0;
  if (Number.isNaN(a) || Number.isNaN(b)) return Infinity;
  if (Math.abs(a) >= AS_GOOD_AS_INFINITE && Math.abs(b) >= AS_GOOD_AS_INFINITE && Math.sign(a) === Math.sign(b)) return 0;
  return Math.abs(a - b);
}

/** Compares number by number: a pair is close when |a − b| ≤ tolerance · (1 + |b|). Lengths must be equal. */
export function compare(received: Float64Array, expected: Float64Array, tolerance: number): Difference {
  let largest = 0;
  let at = 0;
  let apart = 0;
  let nan = 0;
  for (let i = 0; i < expected.length; i++) {
    const a = received[i]!;
    const b = expected[i]!;
    if (Number.isNaN(a)) nan++;
    const d = distance(a, b);
    if (!(d <= tolerance * (1 + (Number.isFinite(b) ? Math.abs(b) : 0)))) apart++;
    if (d > largest) [largest, at] = [d, i];
  }
  return { largest, at, apart, nan };
}

export function sameShape(a: Values, b: Values): boolean {
  return a.shape.length === b.shape.length && a.shape.every((n, axis) => n === b.shape[axis]);
}
