/**
 * @file The fields of a request's body, each looked at before it is used. What is null counts as not given, as clients send it
 * so; fields that nobody asks for are left alone.
 */
import { badRequest } from './errors.ts';

/** What a number must be. */
export interface Range {
  readonly least: number;
  readonly most: number;
  /** `least` itself is not allowed (default false). */
  readonly above?: boolean;
}

export class Parameters {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #path: string;

  /** @throws APIError when it is not a JSON object. */
  constructor(values: unknown, path = '') {
    if (typeof values !== 'object' || values === null || Array.isArray(values)) {
      throw badRequest(`${path === '' ? 'The body' : path} must be a JSON object, got ${kindOf(values)}.`, path || undefined);
    }
    this.#values = values as Readonly<Record<string, unknown>>;
    this.#path = path;
  }

  /** What a field is called in errors. */
  nameOf(name: string): string {
    return this.#path === '' ? name : `${this.#path}.${name}`;
  }

  get(name: string): unknown {
    return Object.hasOwn(this.#values, name) ? (this.#values[name] ?? undefined) : undefined;
  }

  text(name: string): string | undefined {
    const value = this.get(name);
    if (value === undefined || typeof value === 'string') return value;
    throw this.wrong(name, 'a string');
  }

  flag(name: string): boolean {
    const value = this.get(name) ?? false;
    if (typeof value === 'boolean') return value;
    throw this.wrong(name, 'true or false');
  }

  number(name: string, { least, most, above = false }: Range): number | undefined {
    const value = this.get(name);
    if (value === undefined) return undefined;
    const inside = typeof value === 'number' && (above ? value > least : value >= least) && value <= most;
    if (inside) return value;
    throw this.wrong(name, `a number ${above ? 'above' : 'from'} ${least} ${above ? 'up ' : ''}to ${most}`);
  }

  whole(name: string, { least, most = Number.MAX_SAFE_INTEGER }: { least: number; most?: number }): number | undefined {
    const value = this.get(name);
    if (value === undefined) return undefined;
    if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most) return value as number;
    const upTo = most < Number.MAX_SAFE_INTEGER ? ` to ${most}` : ' on';
    throw this.wrong(name, least > Number.MIN_SAFE_INTEGER ? `a whole number from ${least}${upTo}` : 'a whole number');
  }

  list(name: string): readonly unknown[] | undefined {
    const value = this.get(name);
    if (value === undefined || Array.isArray(value)) return value;
    throw this.wrong(name, 'an array');
  }

  object(name: string): Parameters | undefined {
    const value = this.get(name);
    return value === undefined ? undefined : new Parameters(value, this.nameOf(name));
  }

  /** The field that must be there. */
  required<T>(name: string, value: T | undefined): T {
    if (value !== undefined) return value;
    throw badRequest(`${this.nameOf(name)} is missing.`, this.nameOf(name));
  }

  /** Says no to what would change the answer and is not known here. */
  refuse(name: string, harmless: (value: unknown) => boolean): void {
    const value = this.get(name);
    if (value === undefined || harmless(value)) return;
    throw badRequest(`${this.nameOf(name)} is not supported by this server; leave it out.`, name, 'unsupported_parameter');
  }

  /** The error for a field that is not what it must be. */
  wrong(name: string, expected: string): Error {
    const value = this.get(name);
    const shown = typeof value === 'number' || typeof value === 'boolean' ? String(value) : kindOf(value);
    return badRequest(`${this.nameOf(name)} must be ${expected}, got ${shown}.`, this.nameOf(name));
  }
}

/** What a value of JSON is, in words. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'an array';
  if (typeof value === 'string') return value === '' ? 'an empty string' : 'a string';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
