/**
 * @file Byte pair encoding of one word: of all pairs of neighbours, join the one that was learned first; repeat.
 * Sennrich et al. 2016, section 3.2. Of equal pairs the leftmost goes first.
 */
import type { PairMap } from './pair-map.ts';

/** The learned merges, ready for use. */
export interface MergeTable {
  /** (left id, right id) → rank: how early it was learned. */
  readonly ranks: PairMap;
  /** The token that the merge of each rank makes. */
  readonly results: Int32Array;
}

/** Up to this length, looking at all pairs for each merge is faster than keeping a heap. */
const SHORT = 48;
const NONE = 0x7fffffff;

/**
 * @param symbols the word as ids of single bytes; used up
 * @returns the tokens
 */
export function mergeWord(symbols: Int32Array, table: MergeTable): Int32Array {
  return symbols.length <= SHORT ? mergeByScanning(symbols, table) : mergeByHeap(symbols, table);
}

/** O(length²): finds the best pair among the ranks of all, joins it, and computes the ranks of its two new pairs. */
export function mergeByScanning(symbols: Int32Array, { ranks, results }: MergeTable): Int32Array {
  let length = symbols.length;
  const pairRanks = new Int32Array(length).fill(NONE); // of symbols i and i + 1
  const rank = (i: number): number => {
    if (i < 0 || i + 1 >= length) return NONE;
    const known = ranks.get(symbols[i]!, symbols[i + 1]!);
    return known < 0 ? NONE : known;
  };
  for (let i = 0; i + 1 < length; i++) pairRanks[i] = rank(i);
  for (;;) {
    let best = 0;
    for (let i = 1; i + 1 < length; i++) if (pairRanks[i]! < pairRanks[best]!) best = i;
    if (length < 2 || pairRanks[best] === NONE) return symbols.slice(0, length);
    symbols[best] = results[pairRanks[best]!]!;
    symbols.copyWithin(best + 1, best + 2, length);
    pairRanks.copyWithin(best, best + 1, length);
    length--;
    pairRanks[best] = rank(best);
    if (best > 0) pairRanks[best - 1] = rank(best - 1);
  }
}

/** O(length · log length): symbols in a linked list, pairs in a heap; entries of pairs that are gone are skipped. */
export function mergeByHeap(symbols: Int32Array, { ranks, results }: MergeTable): Int32Array {
  const length = symbols.length;
  const next = new Int32Array(length);
  const previous = new Int32Array(length);
  for (let i = 0; i < length; i++) {
    next[i] = i + 1;
    previous[i] = i - 1;
  }
  const pairRanks = new Int32Array(length).fill(NONE); // of the pair that begins here
  const heap = new NumberHeap(length);
  const look = (i: number): void => {
    const j = next[i]!;
    const known = j < length ? ranks.get(symbols[i]!, symbols[j]!) : -1;
    pairRanks[i] = known < 0 ? NONE : known;
    if (known >= 0) heap.push(known * 2 ** 32 + i);
  };
  for (let i = 0; i < length; i++) look(i);
  while (heap.size > 0) {
    const entry = heap.pop();
    const i = entry % 2 ** 32;
    const rank = (entry - i) / 2 ** 32;
    if (pairRanks[i] !== rank) continue;
    const gone = next[i]!;
    symbols[i] = results[rank]!;
    next[i] = next[gone]!;
    if (next[i]! < length) previous[next[i]!] = i;
    pairRanks[gone] = NONE;
    look(i);
    if (i > 0) look(previous[i]!);
  }
  let count = 0;
  for (let i = 0; i < length; i = next[i]!) symbols[count++] = symbols[i]!;
  return symbols.slice(0, count);
}

/** A binary heap of numbers, the smallest on top: rank · 2³² + position, so that the leftmost of equal rank comes first. */
class NumberHeap {
  #items: Float64Array;
  size = 0;

  constructor(expected: number) {
    this.#items = new Float64Array(Math.max(16, 2 * expected));
  }

  push(item: number): void {
    if (this.size === this.#items.length) {
      const larger = new Float64Array(2 * this.size);
      larger.set(this.#items);
      this.#items = larger;
    }
    const items = this.#items;
    let at = this.size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (items[parent]! <= item) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  pop(): number {
    const items = this.#items;
    const top = items[0]!;
    const last = items[--this.size]!;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.size) break;
      if (child + 1 < this.size && items[child + 1]! < items[child]!) child++;
      if (items[child]! >= last) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
    return top;
  }
}
