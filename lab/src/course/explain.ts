/**
 * @file Why a test failed, in words: the recognised mistake first; else the message, the values, and the reader's line.
 */
import { inspect, stripVTControlCharacters } from 'node:util';
import { KERNEL_CELL, kernelLine } from './kernel-source.ts';
import { compiledSources } from './transpile.ts';

export interface Explanation {
  /** 'diagnosis': a mistake that was recognised; 'unwritten': the stub. */
  readonly kind: 'diagnosis' | 'unwritten' | 'stopped' | 'error';
  /** The sentence to show first. */
  readonly message: string;
  /** The id of the hint that was given. */
  readonly hint?: string;
  /** Expected and received values, or the reader's line. */
  readonly detail?: string;
}

/** What may have been thrown: the reader's code can throw anything. */
interface Thrown {
  readonly name?: unknown;
  readonly message: unknown;
  readonly hint?: unknown;
  readonly actual?: unknown;
  readonly expected?: unknown;
  readonly stack?: unknown;
}

function show(value: unknown): string {
  return inspect(value, { depth: 4, maxArrayLength: 30, breakLength: 90 });
}

/** Lines of the reader's by stack frame: looking one up takes the engine some ten milliseconds. */
export type KnownLines = Map<string, string | undefined>;

/** Errors are told apart by name: they may come from another copy of their class. */
export function explain(error: unknown, known: KnownLines = new Map()): Explanation {
  if (typeof error !== 'object' || error === null || !('message' in error))
    return { kind: 'error', message: `threw ${show(error)}` };
  const { name, message, hint, actual, expected, stack } = error as Thrown;
  const text = stripVTControlCharacters(typeof message === 'string' ? message : show(message));
  if (name === 'Diagnosis' && typeof hint === 'string') return { kind: 'diagnosis', message: text, hint };
  if (name === 'NotWrittenYet') return { kind: 'unwritten', message: 'not written yet' };
  if (name === 'Stopped') return { kind: 'stopped', message: text };
  if (name === 'AssertionError') {
    const values =
      actual !== undefined || expected !== undefined ? `expected: ${show(expected)}\nreceived: ${show(actual)}` : undefined;
    return { kind: 'error', message: text, ...(values !== undefined && { detail: values }) };
  }
  const line = readersLine(typeof stack === 'string' ? stack : '', known);
  const plain = typeof name !== 'string' || name === 'Error' || name === 'LabError';
  return { kind: 'error', message: plain ? text : `${name}: ${text}`, ...(line !== undefined && { detail: line }) };
}

/** The line of the reader's cell that the stack passes first, where its source can be had. */
function readersLine(stack: string, known: KnownLines): string | undefined {
  for (const frame of stack.split('\n')) {
    const [, name, cell, line] =
      /^ *at (?:async )?(?:([\w$]+) )?\(?(cell [^():]+|evalmachine\.<anonymous>):(\d+):\d+\)?$/.exec(frame) ?? [];
    if (cell === undefined) continue;
    if (cell !== KERNEL_CELL) known.set(frame, compiledSources.get(cell)?.split('\n')[Number(line) - 1]);
    else if (name !== undefined && !known.has(frame)) known.set(frame, kernelLine(name, Number(line)));
    const text = known.get(frame);
    if (text !== undefined) return `in your line: ${text.trim()}`;
  }
  return undefined;
}
