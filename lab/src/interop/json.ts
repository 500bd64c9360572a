/**
 * @file JSON from outside, with nothing believed before it was looked at: an object's fields by type, with errors that name the
 * file and the field.
 */
import { existsSync } from 'node:fs';
import { LabError, messageOf } from '../base/index.ts';
import { readText } from '../files/index.ts';

export type JSONObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JSONObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @throws LabError when the file is missing or holds no JSON object. */
export async function readJSON(path: string): Promise<JSONObject> {
  const text = await readText(path);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new LabError(`${path} is not JSON (${messageOf(error)}). Get it again.`, { cause: error });
  }
  if (!isObject(value)) throw new LabError(`${path} does not hold a JSON object. Get it again.`);
  return value;
}

/** The same, or undefined when there is no such file. */
export async function readJSONIfThere(path: string): Promise<JSONObject | undefined> {
  return existsSync(path) ? readJSON(path) : undefined;
}

/** The fields of one object, read by type. A field that is missing or null has the fallback; without one it is refused. */
export class Fields {
  readonly json: JSONObject;
  /** What the object is called in errors. */
  readonly name: string;

  constructor(json: JSONObject, name: string) {
    this.json = json;
    this.name = name;
  }

  has(field: string): boolean {
    return this.json[field] !== undefined && this.json[field] !== null;
  }

  /** A whole number of at least 1. */
  count(field: string, fallback?: number): number {
    return this.#read(field, fallback, 'a whole number from 1 on', (value) => Number.isSafeInteger(value) && Number(value) > 0);
  }

  /** A number above 0. */
  positive(field: string, fallback?: number): number {
    return this.#read(field, fallback, 'a number above 0', (value) => Number.isFinite(value) && Number(value) > 0);
  }

  /** A number of at least 0. */
  number(field: string, fallback?: number): number {
    return this.#read(field, fallback, 'a number, 0 or more', (value) => Number.isFinite(value) && Number(value) >= 0);
  }

  boolean(field: string, fallback?: boolean): boolean {
    return this.#read(field, fallback, 'true or false', (value) => typeof value === 'boolean');
  }

  string(field: string, fallback?: string): string {
    return this.#read(field, fallback, 'a text', (value) => typeof value === 'string');
  }

  object(field: string): Fields {
    return new Fields(this.#read<JSONObject>(field, undefined, 'an object', isObject), `${this.name}: ${field}`);
  }

  /** @throws LabError unless the field, where it is given, is one of these. */
  oneOf<T>(field: string, allowed: readonly T[], fallback: T): T {
    const words = allowed.map((value) => JSON.stringify(value)).join(' or ');
    return this.#read(field, fallback, words, (value) => (allowed as readonly unknown[]).includes(value));
  }

  #read<T>(field: string, fallback: T | undefined, expected: string, isRight: (value: unknown) => boolean): T {
    const value = this.json[field] ?? fallback;
    if (value === undefined) throw new LabError(`${this.name} has no "${field}".`);
    if (isRight(value)) return value as T;
    throw new LabError(`${this.name}: "${field}" is ${JSON.stringify(value)}, but here it must be ${expected}.`);
  }
}
