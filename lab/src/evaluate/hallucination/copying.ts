/**
 * @file Verbatim copying: how much of what a model writes stands word for word in what it has read. Lee et al. 2022,
 * *Deduplicating Training Data Makes Language Models Better*, section 6.1 (there 50 tokens in a row count as copied).
 */
import { invariant } from '../../base/index.ts';

export interface CopyIndexOptions {
  /** Words in a row that count as copied (default 8): fewer are the language's own turns of phrase. */
  readonly words?: number;
}

export interface Copying {
  readonly words: number;
  /** Words that lie in a copied span. */
  readonly copied: number;
  /** copied / words; NaN for a text without words. */
  readonly rate: number;
  /** The longest copied span, in words; 0 when none is long enough to count. */
  readonly longest: number;
  readonly longestText: string;
}

/** Finds spans of a corpus again. Memory: some 30 bytes for each word of the corpus. */
export class CopyIndex {
  readonly #length: number;
  /** All words of the corpus by number; −1 between texts. */
  readonly #corpus: Int32Array;
  readonly #numbers = new Map<string, number>();
  /** Places where a run of words with this hash begins: the last one, and for each place the one before. */
  readonly #last = new Map<number, number>();
  readonly #before: Int32Array;

  constructor(texts: Iterable<string>, { words: length = 8 }: CopyIndexOptions = {}) {
    invariant(Number.isInteger(length) && length >= 1, `CopyIndex: words must be a whole number, 1 or more; got ${length}`);
    this.#length = length;
    const ids: number[] = [];
    for (const text of texts) {
      for (const word of wordsOf(text)) {
        const number = this.#numbers.get(word) ?? this.#numbers.size;
        this.#numbers.set(word, number);
        ids.push(number);
      }
      ids.push(-1);
    }
    this.#corpus = Int32Array.from(ids);
    this.#before = new Int32Array(ids.length).fill(-1);
    for (let i = 0; i + length <= ids.length; i++) {
      const key = this.#keyAt(this.#corpus, i);
      this.#before[i] = this.#last.get(key) ?? -1;
      this.#last.set(key, i);
    }
  }

  /** How much of a text is copied from the corpus; case counts, blanks do not. */
  copying(text: string): Copying {
    const words = wordsOf(text);
    const ids = Int32Array.from(words, (word) => this.#numbers.get(word) ?? -2);
    const isCopied = new Uint8Array(words.length);
    let [longest, at] = [0, 0];
    for (let i = 0; i + this.#length <= ids.length; i++) {
      const span = this.#longestAt(ids, i);
      isCopied.fill(1, i, i + span);
      if (span > longest) [longest, at] = [span, i];
    }
    const copied = isCopied.reduce((sum, one) => sum + one, 0);
    const longestText = words.slice(at, at + longest).join(' ');
    return { words: words.length, copied, rate: copied / words.length, longest, longestText };
  }

  /** Words from here on that stand in the corpus in a row; 0 when they are too few to count. */
  #longestAt(ids: Int32Array, from: number): number {
    let best = 0;
    for (let place = this.#last.get(this.#keyAt(ids, from)) ?? -1; place >= 0; place = this.#before[place]!) {
      let span = 0;
      // Neither a word that the corpus lacks (−2) nor the end of a text (−1) equals anything on the other side.
      while (from + span < ids.length && ids[from + span] === this.#corpus[place + span]) span++;
      best = Math.max(best, span);
    }
    return best >= this.#length ? best : 0;
  }

  /** A hash of the run that begins here: equal runs have equal ones, and others may. */
  #keyAt(ids: Int32Array, from: number): number {
    let key = 0;
    for (let i = from; i < from + this.#length; i++) key = (Math.imul(key, 0x01000193) ^ ids[i]!) | 0;
    return key;
  }
}

function wordsOf(text: string): readonly string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}
