/**
 * @file Assertions that recognise a mistake: before the raw difference, they say which known error makes exactly
 * this wrong number (the scale is missing, the mask is off by one), as a teacher looking over the shoulder would.
 */
import { compare, readValues, sameShape, type Expectable, type Values } from './values.ts';
import { messageOf } from '../base/index.ts';

/** A wrong answer whose cause was recognised. The message is a sentence for the reader. */
export class Diagnosis extends Error {
  override readonly name: string = 'Diagnosis';
  /** The key of the hint that fitted. */
  readonly hint: string;

  constructor(hint: string, say: string) {
    super(say);
    this.hint = hint;
  }
}

/** What a stub throws: neither right nor wrong. */
export class NotWrittenYet extends Error {
  override readonly name: string = 'NotWrittenYet';
}

/** The body of an exercise that waits for its reader. */
export function todo(id: string): never {
  throw new NotWrittenYet(`Exercise ${id} is not written yet.`);
}

/** One known mistake: how to recognise it and what to say to somebody who made it. */
export interface Hint {
  /** The sentence for the reader. */
  readonly say: string;
  /** What the mistake computes. It is recognised when the received values are close to these and of the same shape. */
  readonly looksLike?: Expectable | (() => Expectable | Promise<Expectable>);
  /** Recognised when true. */
  readonly when?: boolean | (() => boolean | Promise<boolean>);
}

/** Known mistakes by their id (kebab-case), tried in this order. */
export type Hints = Readonly<Record<string, Hint>>;

export interface ExpectCloseOptions {
  readonly hints?: Hints;
  /** A pair of numbers is close when |received − expected| ≤ tolerance · (1 + |expected|); 1e-4 unless told. */
  readonly tolerance?: number;
  /** What is compared, for the message: 'the output', 'the gradient of the gain'. */
  readonly what?: string;
}

/** A plain failed comparison, shown as vitest shows its own. */
class NotClose extends Error {
  override readonly name: string = 'AssertionError';
}

/**
 * Passes when both have the same shape and all numbers are close. Huge numbers of the same sign (|x| ≥ 1e8) count as
 * the same infinity, so that any "minus infinity" of a mask will do. NaN is close to NaN alone.
 *
 * @throws Diagnosis for the first hint that fits; otherwise an error that names shapes, the share of NaN, the largest
 * difference and where it is, and the first values of both.
 */
export async function expectClose(received: unknown, expected: unknown, options: ExpectCloseOptions = {}): Promise<void> {
  const { hints = {}, tolerance = 1e-4, what = 'the result' } = options;
  const wanted = await readValues(expected);
  let got: Values | undefined;
  let unreadable = '';
  try {
    got = await readValues(received);
  } catch (error) {
    unreadable = messageOf(error);
  }
  if (got && sameShape(got, wanted) && compare(got.numbers, wanted.numbers, tolerance).apart === 0) return;
  await tryHints(hints, got, tolerance);
  if (!got) throw new NotClose(`${what} ${unreadable}; expected ${describeShape(wanted)}.${returnHint(received)}`);
  throw new NotClose(difference(got, wanted, tolerance, what));
}

async function tryHints(hints: Hints, got: Values | undefined, tolerance: number): Promise<void> {
  for (const [id, hint] of Object.entries(hints)) {
    const { when, looksLike } = hint;
    const holds = typeof when === 'function' ? await when() : when;
    if (holds === true) throw new Diagnosis(id, hint.say);
    if (looksLike === undefined || !got) continue;
    const mistake = await readValues(typeof looksLike === 'function' ? await looksLike() : looksLike);
    if (sameShape(got, mistake) && compare(got.numbers, mistake.numbers, tolerance).apart === 0)
      throw new Diagnosis(id, hint.say);
  }
}

function returnHint(received: unknown): string {
  if (received === undefined) return ' Does the function return its result?';
  return received instanceof Promise ? ' The function should not be async here.' : '';
}

function describeShape({ shape }: Values): string {
  return shape.length === 0 ? 'a number' : `shape [${shape.join(', ')}]`;
}

function difference(got: Values, wanted: Values, tolerance: number, what: string): string {
  const lines: string[] = [];
  if (!sameShape(got, wanted)) {
    lines.push(`${what} should have ${describeShape(wanted)} but has ${describeShape(got)}.`);
  } else {
    const { largest, at, apart, nan } = compare(got.numbers, wanted.numbers, tolerance);
    const n = wanted.numbers.length;
    lines.push(`${what} is not close: ${apart} of ${n} numbers differ.`);
    if (nan > 0) lines.push(`${nan} of ${n} are NaN (0/0, ∞ − ∞, or the square root or logarithm of a negative number).`);
    else lines.push(`The largest difference is ${digits(largest)} at ${place(at, wanted.shape)}.`);
  }
  lines.push(`expected: ${preview(wanted)}`, `received: ${preview(got)}`);
  return lines.join('\n');
}

/** Where a flat index lies: [1, 0, 2]. */
function place(index: number, shape: readonly number[]): string {
  const position: number[] = [];
  let rest = index;
  for (const n of [...shape].reverse()) {
    position.unshift(rest % n);
    rest = Math.floor(rest / n);
  }
  return `[${position.join(', ')}]`;
}

function digits(x: number): string {
  return Number.isInteger(x) ? String(x) : String(Number(x.toPrecision(5)));
}

function preview({ shape, numbers }: Values): string {
  if (shape.length === 0) return digits(numbers[0]!);
  const first = [...numbers.subarray(0, 8)].map(digits).join(', ');
  return `[${first}${numbers.length > 8 ? ', …' : ''}]`;
}
