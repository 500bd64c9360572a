/**
 * @file What words were encoded to: a text says the same words again and again.
 *
 * Bounded memory with two generations: when the young one is full it becomes the old one and the old one is dropped, so
 * a word that is used at least once in a while stays.
 */
import { detached } from './detached.ts';

/** Words of a generation. A word with its ids takes some 200 bytes. */
const GENERATION = 50_000;
/** Longer words (in UTF-16 code units) hardly come twice. */
const LONGEST = 64;

export class WordCache {
  #young = new Map<string, Int32Array>();
  #old = new Map<string, Int32Array>();

  get(word: string): Int32Array | undefined {
    const ids = this.#young.get(word);
    if (ids !== undefined) return ids;
    const older = this.#old.get(word);
    if (older !== undefined) this.set(word, older);
    return older;
  }

  set(word: string, ids: Int32Array): void {
    if (word.length > LONGEST) return;
    if (this.#young.size === GENERATION) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(detached(word), ids);
  }
}
