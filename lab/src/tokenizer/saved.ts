/**
 * @file Reading back what `toJSON` wrote, with nothing believed before it was looked at.
 */
import { LabError } from '../base/index.ts';

export function isString(value: unknown): value is string {
  return typeof value === 'string';
}

type Test<T> = ((item: unknown) => item is T) | ((item: unknown) => boolean);

export function isListOf<T>(value: unknown, isItem: Test<T>): value is T[] {
  return Array.isArray(value) && value.every((item) => isItem(item));
}

/**
 * A function that takes fields out of saved data.
 *
 * @throws LabError naming the field that is missing or not what it should be.
 */
export function savedField(json: unknown, reader: string) {
  const fields: Readonly<Record<string, unknown>> = typeof json === 'object' && json !== null ? { ...json } : {};
  return function field<T>(name: string, isRight: (value: unknown) => value is T): T {
    const value = fields[name];
    if (isRight(value)) return value;
    throw new LabError(`${reader}: the saved tokenizer's "${name}" is missing or damaged. Save it or get it again.`);
  };
}

export function bytesFromBase64(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'));
}
