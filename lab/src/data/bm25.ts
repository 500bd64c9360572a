/**
 * @file BM25: which texts of a collection have most to do with a query? Rare words count more than frequent ones, the tenth time
 * of a word hardly more than the ninth, and long texts must not win by their length. Robertson and Zaragoza 2009, section 3.
 */
import { invariant } from '../base/index.ts';

export interface BM25Options {
  /** k₁: how slowly a word's repetitions stop counting (default 1.2). */
  readonly k1?: number;
  /** b: how much the length of a text counts, 0 … 1 (default 0.75). */
  readonly b?: number;
}

export interface BM25Hit {
  /** Which text, from 0. */
  readonly index: number;
  readonly text: string;
  readonly score: number;
}

interface Posting {
  readonly index: number;
  count: number;
}

/**
 * score(D, Q) = Σ over the words of Q of idf · f (k₁ + 1) / (f + k₁ (1 − b + b |D| / mean |D|)), f the word's count in D,
 * idf = ln(1 + (N − n + ½) / (n + ½)) for a word that n of N texts have. The idf is Lucene's, which is never negative.
 */
export class BM25 {
  readonly texts: readonly string[];
  readonly #k1: number;
  readonly #b: number;
  readonly #lengths: readonly number[];
  readonly #meanLength: number;
  readonly #postings = new Map<string, Posting[]>();

  constructor(texts: readonly string[], { k1 = 1.2, b = 0.75 }: BM25Options = {}) {
    invariant(k1 >= 0 && Number.isFinite(k1), `BM25: k1 must be 0 or more, got ${k1}`);
    invariant(b >= 0 && b <= 1, `BM25: b must be in 0 … 1, got ${b}`);
    this.texts = texts;
    this.#k1 = k1;
    this.#b = b;
    const all = texts.map(searchWords);
    this.#lengths = all.map((words) => words.length);
    this.#meanLength = this.#lengths.reduce((sum, length) => sum + length, 0) / Math.max(1, texts.length);
    for (const [index, words] of all.entries()) for (const word of words) this.#count(word, index);
  }

  /** The best texts, best first; of equally good ones the earlier. Texts that share no word with the query are never found. */
  search(query: string, count = 3): readonly BM25Hit[] {
    const scores = new Map<number, number>();
    for (const word of searchWords(query)) {
      const postings = this.#postings.get(word) ?? [];
      const n = postings.length;
      const idf = Math.log(1 + (this.texts.length - n + 0.5) / (n + 0.5));
      for (const { index, count: f } of postings) {
        const relative = 1 - this.#b + (this.#b * this.#lengths[index]!) / this.#meanLength;
        const gain = (idf * f * (this.#k1 + 1)) / (f + this.#k1 * relative);
        scores.set(index, (scores.get(index) ?? 0) + gain);
      }
    }
    const ranked = [...scores].sort(([i, a], [j, b]) => b - a || i - j).slice(0, count);
    return ranked.map(([index, score]) => ({ index, score, text: this.texts[index]! }));
  }

  #count(word: string, index: number): void {
    const postings = this.#postings.get(word) ?? [];
    const last = postings.at(-1);
    if (last?.index === index) last.count++;
    else postings.push({ index, count: 1 });
    this.#postings.set(word, postings);
  }
}

/** Letters and digits in a row, in small letters; amounts keep their commas and points: `$1,240` is `1,240`. */
function searchWords(text: string): readonly string[] {
  return text.toLowerCase().match(/\d+(?:[.,]\d+)*|\p{L}+/gu) ?? [];
}
