/**
 * @file Where the unigram model starts from: all substrings that come at least twice, longer ones found by lengthening
 * shorter ones by a byte, since a substring is never more frequent than its beginning.
 */
import { PairMap } from './pair-map.ts';
import type { WordCounts } from './word-counts.ts';

export interface Seed {
  readonly bytes: Uint8Array;
  readonly count: number;
}

/** The different substrings of one length, numbered. */
interface Substrings {
  readonly counts: number[];
  /** Where one of its occurrences begins. */
  readonly places: number[];
  /** The number of its beginning, shorter by a byte. */
  readonly parents: number[];
}

/**
 * Substrings of 2 … maxLength bytes within words. One that is always followed by the same byte is left out in favour of the
 * longer one, as it is where substrings come from a suffix tree (Kudo 2018, section 3.2).
 *
 * @param limit how many at most: those with the greatest count × length
 */
export function frequentSubstrings(words: WordCounts, maxLength: number, limit: number): Seed[] {
  const wordOf = wordNumbers(words);
  // The number of the substring of the current length that begins at each place; −1 when it is rare or leaves the word.
  const numbers = Int32Array.from(words.bytes);
  let shorter: Substrings = { counts: [], places: [], parents: [] };
  const seeds: Seed[] = [];
  for (let length = 1; length < maxLength; length++) {
    const longer = lengthen(numbers, length, words, wordOf);
    const followed = new Set(longer.parents.filter((parent, number) => longer.counts[number] === shorter.counts[parent]));
    collect(seeds, shorter, length, words.bytes, (number) => !followed.has(number));
    for (let i = 0; i < numbers.length; i++) if (numbers[i]! >= 0 && longer.counts[numbers[i]!]! < 2) numbers[i] = -1;
    shorter = longer;
  }
  collect(seeds, shorter, maxLength, words.bytes, () => true);
  const weight = (seed: Seed): number => seed.count * seed.bytes.length;
  return seeds.sort((a, b) => weight(b) - weight(a)).slice(0, limit);
}

/** Numbers the substrings that are longer than those of `length` bytes by one, and counts them. */
function lengthen(numbers: Int32Array, length: number, { bytes, starts, counts }: WordCounts, wordOf: Int32Array): Substrings {
  const longer: Substrings = { counts: [], places: [], parents: [] };
  const known = new PairMap();
  for (let i = 0; i < bytes.length; i++) {
    const parent = numbers[i]!;
    const word = wordOf[i]!;
    numbers[i] = -1;
    if (parent < 0 || i + length >= starts[word + 1]!) continue;
    let number = known.get(parent, bytes[i + length]!);
    if (number < 0) {
      number = longer.counts.push(0) - 1;
      longer.places.push(i);
      longer.parents.push(parent);
      known.set(parent, bytes[i + length]!, number);
    }
    longer.counts[number]! += counts[word]!;
    numbers[i] = number;
  }
  return longer;
}

function collect(
  seeds: Seed[],
  { counts, places }: Substrings,
  length: number,
  bytes: Uint8Array,
  isWanted: (number: number) => boolean,
): void {
  counts.forEach((count, number) => {
    const place = places[number]!;
    if (count >= 2 && isWanted(number)) seeds.push({ bytes: bytes.slice(place, place + length), count });
  });
}

/** The word that each byte belongs to. */
function wordNumbers({ bytes, starts, counts }: WordCounts): Int32Array {
  const numbers = new Int32Array(bytes.length);
  for (let w = 0; w < counts.length; w++) numbers.fill(w, starts[w], starts[w + 1]);
  return numbers;
}
