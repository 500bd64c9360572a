/**
 * @file MinHash: a short signature of the set of word n-grams of a text. Two signatures agree in one place with the probability
 * that is the sets' Jaccard similarity s = |A ∩ B| / |A ∪ B| (Broder 1997). Cut into b bands of r rows, at least one band is
 * equal with the probability 1 − (1 − s^r)^b: an S-shaped curve with its threshold near (1/b)^(1/r).
 */
import { invariant, Random } from '../../base/index.ts';
import { chain, grown, HASH_SEED, scatter, words } from './words.ts';

export interface MinHashOptions {
  /** Words in a shingle (default 5, as in datatrove and FineWeb). */
  readonly ngram?: number;
  /** b (default 14). */
  readonly bands?: number;
  /** r (default 8). */
  readonly rows?: number;
  /** Decides the hash functions (default 1). */
  readonly seed?: number;
}

/** The probability that two documents of Jaccard similarity `s` share a band; the defaults are those of MinHash. */
export function collisionProbability(s: number, { bands = 14, rows = 8 }: MinHashOptions = {}): number {
  return 1 - (1 - s ** rows) ** bands;
}

/**
 * A hash of each n words in a row, as often as they come; of all its words for a text that has fewer.
 *
 * @returns a view into memory that the next call overwrites
 */
export function shingles(text: string, ngram: number): Int32Array {
  words.read(text);
  const { hashes, count } = words;
  const length = Math.min(ngram, count);
  const total = count === 0 ? 0 : count - length + 1;
  if (total > room.length) room = grown(room, total);
  for (let i = 0; i < total; i++) {
    let hash = HASH_SEED;
    for (let j = i; j < i + length; j++) hash = chain(hash, hashes[j]!);
    room[i] = scatter(hash);
  }
  return room.subarray(0, total);
}

let room = new Int32Array(1024);

/** The share of the n-grams of either text that both have, each counted once. */
export function jaccard(a: string, b: string, ngram = 5): number {
  return jaccardOfSorted(sortedSet(shingles(a, ngram)), sortedSet(shingles(b, ngram)));
}

/** Its different values in ascending order, in memory of its own. */
export function sortedSet(values: Int32Array): Int32Array {
  const sorted = values.slice().sort();
  let count = 0;
  for (let i = 0; i < sorted.length; i++) if (i === 0 || sorted[i] !== sorted[i - 1]) sorted[count++] = sorted[i]!;
  return sorted.slice(0, count);
}

/** |A ∩ B| / |A ∪ B| of two sets, 0 for two empty ones. */
export function jaccardOfSorted(a: Int32Array, b: Int32Array): number {
  let both = 0;
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    const difference = a[i]! - b[j]!;
    if (difference === 0) both++;
    if (difference <= 0) i++;
    if (difference >= 0) j++;
  }
  const either = a.length + b.length - both;
  return either === 0 ? 0 : both / either;
}

export class MinHash {
  readonly ngram: number;
  readonly bands: number;
  readonly rows: number;
  /** Hash function i: x ↦ (x ⊕ offsets[i]) · factors[i] mod 2³², as a signed number. Shingles are well mixed already. */
  readonly #offsets: Int32Array;
  readonly #factors: Int32Array;
  /** Functions in all, up to the next multiple of four. */
  readonly #signature: Int32Array;

  constructor({ ngram = 5, bands = 14, rows = 8, seed = 1 }: MinHashOptions = {}) {
    for (const [name, size] of Object.entries({ ngram, bands, rows })) {
      invariant(Number.isInteger(size) && size > 0, `MinHash: ${name} must be a whole number, 1 or more; got ${size}`);
    }
    this.ngram = ngram;
    this.bands = bands;
    this.rows = rows;
    const functions = Math.ceil((bands * rows) / 4) * 4;
    const random = new Random(seed);
    this.#offsets = Int32Array.from({ length: functions }, () => random.uint32());
    this.#factors = Int32Array.from({ length: functions }, () => random.uint32() | 1);
    this.#signature = new Int32Array(functions);
  }

  /**
   * The smallest value of each hash function over the text's shingles.
   *
   * @returns [bands × rows], which the next call overwrites; undefined for a text without words, which is like no other
   */
  signature(text: string): Int32Array | undefined {
    const set = shingles(text, this.ngram);
    if (set.length === 0) return undefined;
    for (let i = 0; i < this.#signature.length; i += 4) this.#fourSmallest(set, i);
    return this.#signature.subarray(0, this.bands * this.rows);
  }

  /** Four functions in one walk: the processor works on them side by side. */
  #fourSmallest(set: Int32Array, i: number): void {
    const offsets = this.#offsets;
    const factors = this.#factors;
    const [o0, o1, o2, o3] = [offsets[i]!, offsets[i + 1]!, offsets[i + 2]!, offsets[i + 3]!];
    const [f0, f1, f2, f3] = [factors[i]!, factors[i + 1]!, factors[i + 2]!, factors[i + 3]!];
    let m0 = 0x7fffffff;
    let m1 = m0;
    let m2 = m0;
    let m3 = m0;
    for (let j = 0; j < set.length; j++) {
      const x = set[j]!;
      const v0 = Math.imul(x ^ o0, f0);
      const v1 = Math.imul(x ^ o1, f1);
      const v2 = Math.imul(x ^ o2, f2);
      const v3 = Math.imul(x ^ o3, f3);
      m0 = v0 < m0 ? v0 : m0;
      m1 = v1 < m1 ? v1 : m1;
      m2 = v2 < m2 ? v2 : m2;
      m3 = v3 < m3 ? v3 : m3;
    }
    this.#signature[i] = m0;
    this.#signature[i + 1] = m1;
    this.#signature[i + 2] = m2;
    this.#signature[i + 3] = m3;
  }

  /** Calls `take` with 64 bits for each band: equal for two texts whose signatures agree in the whole band. */
  bandKeys(signature: Int32Array, take: (high: number, low: number) => void): void {
    for (let band = 0; band < this.bands; band++) {
      let high = chain(HASH_SEED, band);
      let low = chain(~HASH_SEED, band);
      for (let row = band * this.rows; row < (band + 1) * this.rows; row++) {
        high = chain(scatter(high), signature[row]!);
        low = chain(low, scatter(signature[row]! + row));
      }
      take(scatter(high), scatter(low));
    }
  }
}
