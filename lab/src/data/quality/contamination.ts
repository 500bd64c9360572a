/**
 * @file Contamination: documents that give evaluation questions away. A text is contaminated when it has n words in a row in
 * common with one; n = 13 in GPT-3 (Brown et al. 2020, appendix C).
 */
import { invariant, LabError } from '../../base/index.ts';
import type { QualityFilter } from './filter.ts';
import { KeyTable } from './key-table.ts';
import { chain, HASH_SEED, scatter, words } from './words.ts';

/** Texts that nobody may train on. */
export interface EvaluationSet {
  readonly name: string;
  readonly items: readonly string[];
}

export interface ContaminationOptions {
  readonly sets: readonly EvaluationSet[];
  /** Words in a row that may not be shared (default 13). */
  readonly ngram?: number;
  /** An item with fewer words than `ngram` is looked for as a whole, if it has at least so many (default 8). */
  readonly shortest?: number;
}

/**
 * Case and punctuation do not count. Every item's n-grams are in memory, 24 to 48 bytes each; the corpus costs nothing. The
 * report says which items were found, and how many are too short to be looked for.
 *
 * @throws LabError when no item is long enough.
 */
export function contamination({ sets, ngram = 13, shortest = 8 }: ContaminationOptions): QualityFilter {
  invariant(Number.isInteger(ngram) && ngram > 0, `contamination: ngram must be 1 or more, got ${ngram}`);
  invariant(Number.isInteger(shortest) && shortest > 0, `contamination: shortest must be 1 or more, got ${shortest}`);
  const index = new ItemIndex(sets, ngram, Math.min(shortest, ngram));
  const found = new Map<number, number>();
  return {
    name: 'contamination',
    settings: { ngram, shortest, sets: index.summary },
    judge({ text }) {
      const item = index.find(text);
      if (item < 0) return undefined;
      found.set(item, (found.get(item) ?? 0) + 1);
      return { reason: `overlaps with ${index.setOf(item)}`, detail: `item ${index.numberOf(item)}` };
    },
    notes: () => ({
      'items too short to be looked for': index.tooShort,
      'documents by item found first': Object.fromEntries(
        [...found].sort((a, b) => a[0] - b[0]).map(([item, count]) => [`${index.setOf(item)} ${index.numberOf(item)}`, count]),
      ),
    }),
    reset: () => found.clear(),
  };
}

/** The n-grams of all items, by length. Items are numbered through all sets. */
class ItemIndex {
  readonly #tables = new Map<number, KeyTable>();
  readonly #sets: readonly EvaluationSet[];
  /** The number of the first item of each set. */
  readonly #starts: readonly number[];
  readonly tooShort: number;
  /** Name, items and a hash of every set, to tell one from another. */
  readonly summary: readonly { readonly name: string; readonly items: number; readonly hash: number }[];

  constructor(sets: readonly EvaluationSet[], ngram: number, shortest: number) {
    this.#sets = sets;
    const starts: number[] = [];
    let [item, tooShort] = [0, 0];
    this.summary = sets.map(({ name, items }) => {
      starts.push(item);
      let hash = HASH_SEED;
      for (const text of items) {
        words.read(text);
        for (let i = 0; i < words.count; i++) hash = chain(hash, words.hashes[i]!);
        hash = chain(hash, words.count);
        if (words.count < shortest) tooShort++;
        else this.#addItem(item, Math.min(ngram, words.count));
        item++;
      }
      return { name, items: items.length, hash };
    });
    this.#starts = starts;
    this.tooShort = tooShort;
    if (this.#tables.size > 0) return;
    throw new LabError(`The evaluation sets have no item of ${shortest} words or more, out of ${item}: nothing to look for.`);
  }

  setOf(item: number): string {
    return this.#sets[this.#setIndex(item)]!.name;
  }

  /** Its number in its set, from 1. */
  numberOf(item: number): number {
    return item - this.#starts[this.#setIndex(item)]! + 1;
  }

  /** The first item that shares words with the text, or −1. */
  find(text: string): number {
    words.read(text);
    for (const [length, table] of this.#tables) {
      for (let i = 0; i + length <= words.count; i++) {
        const item = table.get(highKey(i, length), lowKey(i, length));
        if (item >= 0) return item;
      }
    }
    return -1;
  }

  #setIndex(item: number): number {
    return this.#starts.findLastIndex((start) => start <= item);
  }

  #addItem(item: number, length: number): void {
    const table = this.#tables.get(length) ?? new KeyTable();
    this.#tables.set(length, table);
    for (let i = 0; i + length <= words.count; i++) table.addIfNew(highKey(i, length), lowKey(i, length), item);
  }
}

/** Two hashes that differ in how they mix, of the words that were read last. */
function lowKey(start: number, length: number): number {
  let hash = HASH_SEED;
  for (let i = start; i < start + length; i++) hash = chain(hash, words.hashes[i]!);
  return scatter(hash);
}

function highKey(start: number, length: number): number {
  let hash = length;
  for (let i = start; i < start + length; i++) hash = (Math.imul(hash, 31) + words.hashes[i]!) | 0;
  return scatter(hash);
}
