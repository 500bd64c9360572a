/**
 * @file The words of a text as numbers: what is compared between documents, never shown. Case and punctuation do not count.
 */

/** What a character does to words. */
export const OTHER = 0;
export const LETTER = 1;
export const DIGIT = 2;
/** A letter that is a word of its own, in scripts that put no spaces between words. */
export const ALONE = 3;
export const SPACE = 4;

interface Characters {
  /** Of every UTF-16 unit: one of the kinds above. */
  readonly kinds: Uint8Array;
  /** Of every UTF-16 unit: itself in lower case. */
  readonly lower: Uint16Array;
}

const SCRIPTS = ['Han', 'Hiragana', 'Katakana', 'Thai', 'Lao', 'Khmer'];
const WITHOUT_SPACES = new RegExp(`[${SCRIPTS.map((script) => `\\p{Script=${script}}`).join('')}]`, 'u');

let table: Characters | undefined;

/** Made when it is first wanted: some milliseconds. */
export function characters(): Characters {
  if (table) return table;
  const kinds = new Uint8Array(0x10000);
  const lower = new Uint16Array(0x10000);
  for (let unit = 0; unit < 0x10000; unit++) {
    const character = String.fromCharCode(unit);
    kinds[unit] = kindOf(character);
    const small = character.toLowerCase();
    lower[unit] = small.length === 1 ? small.charCodeAt(0) : unit;
  }
  return (table = { kinds, lower });
}

function kindOf(character: string): number {
  if (/\p{N}/u.test(character)) return DIGIT;
  if (WITHOUT_SPACES.test(character)) return ALONE;
  if (/[\p{L}\p{M}]/u.test(character)) return LETTER;
  return /\p{White_Space}/u.test(character) ? SPACE : OTHER;
}

/** Puts one more 32-bit value into a hash (the step of FNV-1a, with a word in place of a byte). */
export function chain(hash: number, value: number): number {
  return Math.imul(hash ^ value, 0x01000193);
}

/** Spreads every bit of a hash over all of them (the last step of MurmurHash3). */
export function scatter(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

export const HASH_SEED = 0x811c9dc5 | 0;

/**
 * Reads texts, one at a time, into arrays that it keeps: words are runs of letters and digits in lower case; characters of
 * Chinese, Japanese, Thai, Lao and Khmer are words of their own.
 */
export class WordReader {
  /** A 32-bit hash of each word. Only the first `count` entries are of this text. */
  hashes = new Int32Array(1024);
  /** Characters (UTF-16 units) of each word. */
  lengths = new Int32Array(1024);
  count = 0;
  #text: string | undefined;

  /** Reading the same text again costs nothing. */
  read(text: string): void {
    if (text === this.#text) return;
    this.#text = text;
    this.count = 0;
    const { kinds, lower } = characters();
    let hash = HASH_SEED;
    let length = 0;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      const kind = kinds[unit]!;
      if (kind === LETTER || kind === DIGIT) {
        hash = chain(hash, lower[unit]!);
        length++;
        continue;
      }
      if (length > 0) this.#push(hash, length);
      hash = HASH_SEED;
      length = 0;
      if (kind === ALONE) this.#push(chain(HASH_SEED, unit), 1);
      else if (unit >= 0xd800 && unit < 0xdc00) this.#pushPair(text, i++);
    }
    if (length > 0) this.#push(hash, length);
  }

  /** A character outside the basic plane: a word if it is a letter (rare ideographs), nothing otherwise (emoji). */
  #pushPair(text: string, at: number): void {
    const code = text.codePointAt(at)!;
    if (/[\p{L}\p{N}]/u.test(String.fromCodePoint(code))) this.#push(chain(HASH_SEED, code), 2);
  }

  #push(hash: number, length: number): void {
    if (this.count === this.hashes.length) {
      this.hashes = grown(this.hashes);
      this.lengths = grown(this.lengths);
    }
    this.hashes[this.count] = scatter(hash);
    this.lengths[this.count++] = length;
  }
}

/** The same numbers with room for as many again. */
export function grown(items: Int32Array<ArrayBuffer>, least = 0): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(Math.max(items.length * 2, least));
  larger.set(items);
  return larger;
}

/** The reader that all filters share: they look at the same document one after another. */
export const words = new WordReader();
