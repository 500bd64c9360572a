/**
 * @file The repetition rules of Gopher: texts that say the same again and again. Rae et al. 2021, appendix A.1.1, table A1.
 *
 * Characters are those of the words, without spaces and punctuation, for n-grams; whole lines and paragraphs otherwise.
 */
import { above } from './gopher.ts';
import type { QualityFilter, Removal } from './filter.ts';
import { chain, scatter, words } from './words.ts';

/** Shares from 0 to 1; every bound is the last value that is still kept. */
export interface RepetitionOptions {
  /** Lines that stood there before, to all lines (default 0.30). */
  readonly maxLines?: number;
  /** Paragraphs that stood there before, to all paragraphs (default 0.30). */
  readonly maxParagraphs?: number;
  /** Characters in such lines (default 0.20). */
  readonly maxLineCharacters?: number;
  /** Characters in such paragraphs (default 0.20). */
  readonly maxParagraphCharacters?: number;
  /** Characters in the most frequent n words in a row, by n (default 2: 0.20, 3: 0.18, 4: 0.16). */
  readonly maxTop?: Readonly<Record<number, number>>;
  /** Characters in n words that stood there before, in this order, by n (default 5: 0.15, 6: 0.14 … 10: 0.10). */
  readonly maxDuplicate?: Readonly<Record<number, number>>;
}

export const repetitionDefaults = {
  maxLines: 0.3,
  maxParagraphs: 0.3,
  maxLineCharacters: 0.2,
  maxParagraphCharacters: 0.2,
  maxTop: { 2: 0.2, 3: 0.18, 4: 0.16 },
  maxDuplicate: { 5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1 },
} as const satisfies Required<RepetitionOptions>;

/** Removes what breaks a rule, naming the first one. */
export function gopherRepetition(options: RepetitionOptions = {}): QualityFilter {
  const bounds: Required<RepetitionOptions> = { ...repetitionDefaults, ...options };
  return {
    name: 'Gopher repetition',
    settings: { ...bounds },
    judge: ({ text }) => repeatedBlocks(text, bounds) ?? repeatedWords(text, bounds),
  };
}

function repeatedBlocks(text: string, bounds: Required<RepetitionOptions>): Removal | undefined {
  const lines = repeatedParts(text, '\n');
  if (lines.share > bounds.maxLines) return above('repeated lines', lines.share, bounds.maxLines);
  if (lines.characters > bounds.maxLineCharacters) {
    return above('characters in repeated lines', lines.characters, bounds.maxLineCharacters);
  }
  const paragraphs = repeatedParts(text, '\n\n');
  if (paragraphs.share > bounds.maxParagraphs) return above('repeated paragraphs', paragraphs.share, bounds.maxParagraphs);
  if (paragraphs.characters <= bounds.maxParagraphCharacters) return undefined;
  return above('characters in repeated paragraphs', paragraphs.characters, bounds.maxParagraphCharacters);
}

/** The share of parts that are equal to an earlier one, and that of their characters; empty parts do not count. */
export function repeatedParts(text: string, separator: '\n' | '\n\n'): { readonly share: number; readonly characters: number } {
  if (!text.includes(separator)) return { share: 0, characters: 0 };
  const seen = new Set<string>();
  let [parts, repeated, characters, repeatedCharacters] = [0, 0, 0, 0];
  for (const raw of text.split(separator)) {
    const part = raw.trim();
    if (part === '') continue;
    parts++;
    characters += part.length;
    if (!seen.has(part)) {
      seen.add(part);
      continue;
    }
    repeated++;
    repeatedCharacters += part.length;
  }
  return parts === 0 ? { share: 0, characters: 0 } : { share: repeated / parts, characters: repeatedCharacters / characters };
}

function repeatedWords(text: string, bounds: Required<RepetitionOptions>): Removal | undefined {
  for (const [n, most] of Object.entries(bounds.maxTop)) {
    const share = topShare(text, Number(n));
    if (share > most) return above(`the most frequent ${n} words`, share, most);
  }
  for (const [n, most] of Object.entries(bounds.maxDuplicate)) {
    const share = duplicateShare(text, Number(n));
    if (share > most) return above(`repeated ${n} words`, share, most);
  }
  return undefined;
}

/**
 * The share of the characters that stand in the most frequent n words in a row; 0 if nothing comes twice. Occurrences that
 * overlap count once; of equally frequent ones the longest counts.
 */
export function topShare(text: string, n: number): number {
  const { count, lengths } = readWords(text, n);
  let [most, covered] = [1, 0];
  for (let i = 0; i + n <= count; i++) {
    const slot = ngrams.find(keys[i]!);
    if (ngrams.isNew(slot)) {
      ngrams.insert(slot, keys[i]!, 1, i);
      continue;
    }
    if (i < ngrams.last[slot]! + n) continue;
    ngrams.last[slot] = i;
    const times = ++ngrams.counts[slot]!;
    if (times < most) continue;
    let length = 0;
    for (let j = i; j < i + n; j++) length += lengths[j]!;
    if (times > most || length * times > covered) covered = length * times;
    most = times;
  }
  return covered === 0 ? 0 : covered / total(lengths, count);
}

/** The share of the characters that stand in n words in a row that came before in this order; each counts once. */
export function duplicateShare(text: string, n: number): number {
  const { count, lengths } = readWords(text, n);
  let [covered, until] = [0, 0];
  for (let i = 0; i + n <= count; i++) {
    const slot = ngrams.find(keys[i]!);
    if (ngrams.isNew(slot)) {
      ngrams.insert(slot, keys[i]!, 1, i);
      continue;
    }
    for (let j = Math.max(i, until); j < i + n; j++) covered += lengths[j]!;
    until = i + n;
  }
  return covered === 0 ? 0 : covered / total(lengths, count);
}

function total(lengths: Int32Array, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += lengths[i]!;
  return sum;
}

/** The hash of the n words from i on, for every i. */
let keys = new Int32Array(0);

function readWords(text: string, n: number): { readonly count: number; readonly lengths: Int32Array } {
  words.read(text);
  const { count, hashes, lengths } = words;
  if (keys.length < count) keys = new Int32Array(hashes.length);
  for (let i = 0; i + n <= count; i++) {
    let hash = n;
    for (let j = i; j < i + n; j++) hash = chain(hash, hashes[j]!);
    keys[i] = scatter(hash);
  }
  ngrams.clear(count);
  return { count, lengths };
}

/** A table of n-grams that is emptied in no time: entries of earlier texts carry an old stamp. */
class NgramTable {
  counts = new Int32Array(0);
  /** Where the n-gram was seen last. */
  last = new Int32Array(0);
  #keys = new Int32Array(0);
  #stamps = new Int32Array(0);
  #stamp = 0;
  #mask = 0;

  clear(expected: number): void {
    let slots = 1024;
    while (slots < expected * 2) slots *= 2;
    this.#mask = slots - 1;
    if (slots > this.#keys.length) {
      [this.#keys, this.#stamps] = [new Int32Array(slots), new Int32Array(slots)];
      [this.counts, this.last] = [new Int32Array(slots), new Int32Array(slots)];
      this.#stamp = 0;
    }
    this.#stamp++;
  }

  /** The slot of the key, or the free one where it belongs. */
  find(key: number): number {
    let slot = key & this.#mask;
    while (this.#stamps[slot] === this.#stamp && this.#keys[slot] !== key) slot = (slot + 1) & this.#mask;
    return slot;
  }

  isNew(slot: number): boolean {
    return this.#stamps[slot] !== this.#stamp;
  }

  insert(slot: number, key: number, count: number, at: number): void {
    this.#stamps[slot] = this.#stamp;
    this.#keys[slot] = key;
    this.counts[slot] = count;
    this.last[slot] = at;
  }
}

const ngrams = new NgramTable();
