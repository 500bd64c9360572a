/**
 * @file The fields of a record from outside, each looked at before it is believed. What is missing or of another kind breaks
 * this record alone.
 */
import { LabError, messageOf } from '../../base/index.ts';
import { RecordError } from './records.ts';

export type Entry = Readonly<Record<string, unknown>>;

export function isEntry(value: unknown): value is Entry {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @throws RecordError naming the field, unless it is an object. */
export function entryField(entry: Entry, field: string): Entry {
  return fieldOf(entry, field, 'an object', isEntry);
}

export function textField(entry: Entry, field: string): string {
  return fieldOf(entry, field, 'a text', (value): value is string => typeof value === 'string' && value.trim() !== '');
}

export function listField<T>(entry: Entry, field: string, what: string, isItem: (value: unknown) => value is T): readonly T[] {
  const isList = (value: unknown): value is readonly T[] => Array.isArray(value) && value.every(isItem);
  return fieldOf(entry, field, `a list of ${what}`, isList);
}

function fieldOf<T>(entry: Entry, field: string, what: string, isRight: (value: unknown) => value is T): T {
  const value = entry[field];
  if (value === undefined || value === null) throw new RecordError(`"${field}" is missing`);
  if (!isRight(value)) throw new RecordError(`"${field}" is not ${what}`);
  return value;
}

/** @throws LabError when the text is no JSON. */
export function parseJSON(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new LabError(`${name} is not JSON (${messageOf(error)}). Get it again.`, { cause: error });
  }
}
