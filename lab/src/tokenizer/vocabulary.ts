/**
 * @file The tokens as byte strings, by id and by content; decoding is looking them up and joining them.
 */
import { invariant } from '../base/index.ts';

/** A key for a Map: one character a byte. */
function keyOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

export class Vocabulary {
  readonly #tokens: Uint8Array[] = [];
  readonly #ids = new Map<string, number>();

  /** The 256 bytes, each with its own value as id. */
  static ofBytes(): Vocabulary {
    const vocabulary = new Vocabulary();
    for (let byte = 0; byte < 256; byte++) vocabulary.add(Uint8Array.of(byte));
    return vocabulary;
  }

  get size(): number {
    return this.#tokens.length;
  }

  /** A new token at the end; with bytes that another token has already, it is found by its id only. */
  add(bytes: Uint8Array): number {
    const id = this.#tokens.push(bytes) - 1;
    const key = keyOf(bytes);
    if (!this.#ids.has(key)) this.#ids.set(key, id);
    return id;
  }

  idOf(bytes: Uint8Array): number | undefined {
    return this.#ids.get(keyOf(bytes));
  }

  /** @throws RangeError for an id outside 0 … size − 1. */
  bytes(id: number): Uint8Array {
    const bytes = this.#tokens[id];
    invariant(
      bytes !== undefined,
      () => `token id ${id} is out of range; this vocabulary has 0 … ${this.size - 1}`,
    );
    return bytes;
  }

  joined(left: number, right: number): Uint8Array {
    const first = this.bytes(left);
    const second = this.bytes(right);
    const both = new Uint8Array(first.length + second.length);
    both.set(first);
    both.set(second, first.length);
    return both;
  }

  /** The bytes of many tokens, one after another. */
  join(ids: ArrayLike<number>): Uint8Array {
    let length = 0;
    for (let i = 0; i < ids.length; i++) length += this.bytes(ids[i]!).length;
    const all = new Uint8Array(length);
    let at = 0;
    for (let i = 0; i < ids.length; i++) {
      const bytes = this.#tokens[ids[i]!]!;
      // Most tokens are short: a loop is faster than the call of set.
      for (let j = 0; j < bytes.length; j++) all[at + j] = bytes[j]!;
      at += bytes.length;
    }
    return all;
  }
}
