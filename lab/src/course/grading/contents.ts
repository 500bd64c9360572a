/**
 * @file What is in an object, as a flat list: to see whether it has changed, and to put other contents in, in place.
 */
import { tf } from '../../backend/index.ts';

/** As a flat list. */
export type Parts = ArrayLike<unknown>;

/** What an object consists of, as a flat list; undefined for what does not change from outside. */
export function partsOf(value: object): Parts | undefined {
  if (Array.isArray(value)) return [...(value as unknown[])];
  if (ArrayBuffer.isView(value)) return (value as Float64Array).slice();
  if (value instanceof Map) return [...value].flat();
  if (value instanceof Set) return [...value];
  if (typeof value === 'function' || isOpaque(value)) return undefined;
  return Object.entries(value).flat();
}

function isOpaque(value: object): boolean {
  return value instanceof tf.Tensor || value instanceof Error || value instanceof Promise || value instanceof Date;
}

export function changed(before: Parts, value: object): boolean {
  const now = ArrayBuffer.isView(value) ? (value as unknown as ArrayLike<unknown>) : partsOf(value)!;
  if (now.length !== before.length) return true;
  for (let i = 0; i < before.length; i++) if (!Object.is(before[i], now[i])) return true;
  return false;
}

/** Puts other contents into an object, in place. */
export function refill(value: object, parts: Parts): void {
  if (Array.isArray(value)) {
    value.length = 0;
    for (let i = 0; i < parts.length; i++) value.push(parts[i]);
  } else if (ArrayBuffer.isView(value)) (value as Float64Array).set(parts as ArrayLike<number>);
  else if (value instanceof Map) {
    value.clear();
    for (let i = 0; i < parts.length; i += 2) value.set(parts[i], parts[i + 1]);
  } else if (value instanceof Set) {
    value.clear();
    for (let i = 0; i < parts.length; i++) value.add(parts[i]);
  } else {
    for (const key of Object.keys(value)) Reflect.deleteProperty(value, key);
    for (let i = 0; i < parts.length; i += 2) define(value, String(parts[i]), parts[i + 1]);
  }
}

/** Also a key such as `__proto__` becomes a property like any other. */
function define(target: object, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
}

/** What must stay as it is when contents change: the class, and for typed arrays the length. */
export function kindOf(value: object): string {
  if (ArrayBuffer.isView(value)) return `${value[Symbol.toStringTag as never] as string} ${value.byteLength}`;
  return Array.isArray(value) ? 'array' : value instanceof Map ? 'map' : value instanceof Set ? 'set' : 'object';
}
