/**
 * @file Learning byte pair merges. Counting all pairs anew after each merge would take merges × text; here each merge only
 * visits the words that contain its pair, and the most frequent pair comes from a heap.
 */
import { gpt2ByteOrder } from './byte-order.ts';
import { GrowingInt32Array } from './growing.ts';
import { LateProgress } from './late-progress.ts';
import { PairHeap } from './pair-heap.ts';
import { PairMap } from './pair-map.ts';
import type { WordCounts } from './word-counts.ts';

const BYTES = 256;

export interface MergeTrainingOptions {
  /** How large the vocabulary of bytes and merged tokens shall become. */
  readonly size: number;
  readonly minFrequency: number;
  readonly quiet: boolean;
}

/**
 * @returns pairs of ids in the order learned; ids below 256 are bytes, and merge n makes the token 256 + n. No two merges spell
 * the same bytes: within the bytes of a token, wherever they stand, the earlier merges have done the same.
 */
export function learnMerges(words: WordCounts, { size, minFrequency, quiet }: MergeTrainingOptions): [number, number][] {
  const merges: [number, number][] = [];
  const pairs = new Pairs(words);
  const progress = new LateProgress({ total: size - BYTES, label: 'merging', unit: 'merges', quiet });
  while (BYTES + merges.length < size) {
    const pair = pairs.mostFrequent();
    if (pair < 0 || pairs.counts[pair]! < minFrequency) break;
    pairs.merge(pair, BYTES + merges.length);
    merges.push([pairs.lefts[pair]!, pairs.rights[pair]!]);
    progress.update(merges.length);
  }
  progress.done();
  return merges;
}

/** Where each byte stands: the library `tokenizers` takes the pair of earlier bytes where two are equally frequent. */
function placesInOrder(bytes: readonly number[]): Int32Array {
  const places = new Int32Array(256);
  bytes.forEach((byte, place) => (places[byte] = place));
  return places;
}

/** All pairs of neighbours in the words, with their counts kept up to date from merge to merge. */
class Pairs {
  readonly lefts: number[] = [];
  readonly rights: number[] = [];
  /** How often each pair occurs, each word as often as it comes in the text. */
  readonly counts: number[] = [];
  /** The words in which a pair was seen; it may have gone from some since. */
  readonly #seenIn: (number[] | undefined)[] = [];
  readonly #numbers = new PairMap(1 << 14);
  readonly #heap: PairHeap;
  readonly #order = placesInOrder(gpt2ByteOrder());
  readonly #symbols: Int32Array;
  readonly #starts: Int32Array;
  readonly #lengths: Int32Array;
  readonly #frequencies: Float64Array;
  /** Pairs that the merge under way made, which are not in the heap yet. */
  readonly #fresh = new GrowingInt32Array();

  constructor({ bytes, starts, counts }: WordCounts) {
    this.#symbols = Int32Array.from(bytes);
    this.#starts = starts;
    this.#lengths = Int32Array.from(counts, (_, w) => starts[w + 1]! - starts[w]!);
    this.#frequencies = counts;
    this.#heap = new PairHeap();
    for (let w = 0; w < counts.length; w++) {
      for (let i = starts[w]!; i + 1 < starts[w + 1]!; i++) this.#more(this.#symbols[i]!, this.#symbols[i + 1]!, w);
    }
    this.#pushFresh();
  }

  /** The pair with the greatest count; of several the first in GPT-2's order. −1 when none is left. */
  mostFrequent(): number {
    for (;;) {
      const pair = this.#heap.pop();
      if (pair < 0) return -1;
      const count = this.counts[pair]!;
      // Counts fall while a pair waits in the heap: it goes back to where it belongs now.
      if (count === this.#heap.poppedCount) return pair;
      if (count > 0) this.#push(pair);
    }
  }

  /** Joins the pair to `result` in every word. */
  merge(pair: number, result: number): void {
    const words = this.#seenIn[pair] ?? [];
    this.#seenIn[pair] = undefined;
    const left = this.lefts[pair]!;
    const right = this.rights[pair]!;
    for (const w of words) this.#mergeIn(w, left, right, result);
    this.#pushFresh();
  }

  #mergeIn(w: number, left: number, right: number, result: number): void {
    const symbols = this.#symbols;
    const start = this.#starts[w]!;
    const end = start + this.#lengths[w]!;
    let to = start;
    for (let i = start; i < end; i++, to++) {
      if (symbols[i] !== left || i + 1 >= end || symbols[i + 1] !== right) {
        symbols[to] = symbols[i]!;
        continue;
      }
      if (to > start) this.#replace(symbols[to - 1]!, left, symbols[to - 1]!, result, w);
      if (i + 2 < end) this.#replace(right, symbols[i + 2]!, result, symbols[i + 2]!, w);
      symbols[to] = result;
      i++;
    }
    this.#lengths[w] = to - start;
  }

  /** One pair of word w is another one now. */
  #replace(oldLeft: number, oldRight: number, left: number, right: number, w: number): void {
    const old = this.#numbers.get(oldLeft, oldRight);
    this.counts[old]! -= this.#frequencies[w]!;
    this.#more(left, right, w);
  }

  #more(left: number, right: number, w: number): void {
    let pair = this.#numbers.get(left, right);
    if (pair < 0) {
      pair = this.counts.push(0) - 1;
      this.lefts.push(left);
      this.rights.push(right);
      this.#numbers.set(left, right, pair);
    }
    this.counts[pair]! += this.#frequencies[w]!;
    const seenIn = this.#seenIn[pair];
    if (seenIn === undefined) {
      this.#seenIn[pair] = [w];
      this.#fresh.push(pair);
    } else if (seenIn.at(-1) !== w) {
      seenIn.push(w);
    }
  }

  #pushFresh(): void {
    for (const pair of this.#fresh.take()) if (this.counts[pair]! > 0) this.#push(pair);
  }

  #push(pair: number): void {
    const place = (id: number): number => (id < BYTES ? this.#order[id]! : id);
    this.#heap.push(pair, this.counts[pair]!, place(this.lefts[pair]!), place(this.rights[pair]!));
  }
}
