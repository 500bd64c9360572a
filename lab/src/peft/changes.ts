/**
 * @file An adaptation as a list of exchanged properties: a module gets another in its place, a parameter its trained copy.
 * Put in, the model computes with it; taken out, the model is what it was, to the bit.
 */
import { tf, type Variable } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import { Module } from '../nn/index.ts';

export interface Change {
  readonly holder: object;
  readonly key: string;
  /** undefined: there was no such property. */
  readonly before: unknown;
  readonly after: unknown;
}

/** Exchanges one property, and says what it did. */
export function exchange(holder: object, key: string, after: unknown): Change {
  const before = Object.hasOwn(holder, key) ? (holder as Record<string, unknown>)[key] : undefined;
  write(holder, key, after);
  return { holder, key, before, after };
}

/** Does the changes again, in order. */
export function putIn(changes: readonly Change[]): void {
  for (const { holder, key, before, after } of changes) {
    const now = Object.hasOwn(holder, key) ? (holder as Record<string, unknown>)[key] : undefined;
    invariant(
      now === before,
      `the model was changed at '${key}' since it was adapted; remove the adaptations before replacing layers`,
    );
    write(holder, key, after);
  }
}

/** Takes them back, the last one first. */
export function takeOut(changes: readonly Change[]): void {
  for (const { holder, key, before } of changes.toReversed()) write(holder, key, before);
}

function write(holder: object, key: string, value: unknown): void {
  if (value === undefined) delete (holder as Record<string, unknown>)[key];
  else (holder as Record<string, unknown>)[key] = value;
}

/** The parameters in what a property holds: a module's, or itself. */
export function variablesOf(value: unknown): Variable[] {
  if (value instanceof tf.Variable) return [value];
  return value instanceof Module ? value.parameters() : [];
}

/** Frees what was made for nothing, but for what the model holds. */
export function disposeMade(changes: readonly Change[], kept: ReadonlySet<Variable>): void {
  for (const variable of new Set(changes.flatMap(({ after }) => variablesOf(after))))
    if (!kept.has(variable)) variable.dispose();
}

/** Frees what merging made, and not what it shares with the layer before. */
export function disposeMerged(changes: readonly Change[]): void {
  for (const { before, after } of changes) {
    const shared = new Set(variablesOf(before));
    for (const variable of variablesOf(after)) if (!shared.has(variable)) variable.dispose();
  }
}
