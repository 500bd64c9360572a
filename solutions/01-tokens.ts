/**
 * @file Reference answers of chapter 01, tokens: short, plain, and built on one another.
 * Gage 1994 and Sennrich et al. 2016 (byte pair encoding), Radford et al. 2019 (on bytes), Kudo 2018 (unigram).
 *
 * A token is a number: 0 … 255 are the bytes, and 256 + i is what the i-th merge makes.
 */

// #region 1.1 bytes and code points
/** The numbers of a text's characters. JavaScript stores those above 0xFFFF as two halves, which are one here. */
export function codePoints(text: string): number[] {
  return Array.from(text, (character) => character.codePointAt(0)!);
}

/** UTF-8: one byte below 0x80, two below 0x800, three below 0x10000, else four. */
export function utf8(points: number[]): number[] {
  return points.flatMap((point) => {
    const sixBits = (shift: number) => 0x80 | ((point >> shift) & 0x3f);
    if (point < 0x80) return [point];
    if (point < 0x800) return [0xc0 | (point >> 6), sixBits(0)];
    if (point < 0x10000) return [0xe0 | (point >> 12), sixBits(6), sixBits(0)];
    return [0xf0 | (point >> 18), sixBits(12), sixBits(6), sixBits(0)];
  });
}
// #endregion

// #region 1.2 pair counts
/**
 * How often each pair of neighbours occurs.
 *
 * @param words the tokens of each word; no pair reaches from one word to the next
 * @param counts how often each word occurs
 * @returns counts by pair; the key of the pair (101, 114) is '101,114'
 */
export function pairCounts(words: number[][], counts: number[]): Map<string, number> {
  const pairs = new Map<string, number>();
  words.forEach((ids, w) => {
    for (let i = 0; i + 1 < ids.length; i++) {
      const pair = `${ids[i]},${ids[i + 1]}`;
      pairs.set(pair, (pairs.get(pair) ?? 0) + counts[w]!);
    }
  });
  return pairs;
}
// #endregion

// #region 1.3 merge
/** A copy of `ids` in which `id` stands wherever the pair stood, taken from left to right. */
export function mergePair(ids: number[], pair: [number, number], id: number): number[] {
  const merged: number[] = [];
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] === pair[0] && ids[i + 1] === pair[1]) {
      merged.push(id);
      i++;
    } else {
      merged.push(ids[i]!);
    }
  }
  return merged;
}
// #endregion

// #region 1.4 train
/**
 * Byte pair encoding: `count` times, the most frequent pair of neighbours becomes a token (of equally frequent ones, any).
 * Ends early when no pair occurs twice.
 *
 * @param words a text in words, repeated ones and all; no token crosses from one to the next
 * @returns the pairs in the order in which they were merged; the i-th made the token 256 + i
 */
export function learnMerges(words: string[], count: number): [number, number][] {
  const occurrences = new Map<string, number>();
  for (const word of words) occurrences.set(word, (occurrences.get(word) ?? 0) + 1);
  let tokens = [...occurrences.keys()].map((word) => utf8(codePoints(word)));
  const counts = [...occurrences.values()];
  const merges: [number, number][] = [];
  while (merges.length < count) {
    let best = ['', 1] as [string, number];
    for (const entry of pairCounts(tokens, counts)) if (entry[1] > best[1]) best = entry;
    if (best[0] === '') break;
    const pair = best[0].split(',').map(Number) as [number, number];
    tokens = tokens.map((ids) => mergePair(ids, pair, 256 + merges.length));
    merges.push(pair);
  }
  return merges;
}
// #endregion

// #region 1.5 encode
/** Starts from bytes; again and again, of all pairs there are, merges the one that was learned first. */
export function encode(text: string, merges: [number, number][]): number[] {
  const ranks = new Map(merges.map((pair, rank) => [pair.join(), rank]));
  let ids = utf8(codePoints(text));
  for (;;) {
    const present = [...pairCounts([ids], [1]).keys()].map((pair) => ranks.get(pair) ?? Infinity);
    const first = Math.min(...present);
    if (first === Infinity) return ids;
    ids = mergePair(ids, merges[first]!, 256 + first);
  }
}
// #endregion

// #region 1.6 decode
/** The text of the tokens. Bytes that are no UTF-8, such as half a character, become U+FFFD, and any text comes back whole. */
export function decode(ids: number[], merges: [number, number][]): string {
  const bytesOf = (id: number): number[] => (id < 256 ? [id] : merges[id - 256]!.flatMap(bytesOf));
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(ids.flatMap(bytesOf)));
}
// #endregion

// #region 1.7 pre-tokenize
/**
 * GPT-2's words: contractions ('s 't 'd 'm 're 've 'll), letters, digits, other signs (the last three with one space before
 * them, if there is one), and what white space is left. Joined, they are the text.
 */
export function preTokenize(text: string): string[] {
  return text.match(/'(?:[sdmt]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu) ?? [];
}
// #endregion

// #region 1.8 unigram's Viterbi
/**
 * The way to cut a word into pieces of the vocabulary whose probabilities have the greatest product.
 *
 * @param logProbabilities log p of each piece; every single letter of the word is among them
 */
export function viterbi(word: string, logProbabilities: Map<string, number>): string[] {
  const best = [0, ...Array<number>(word.length).fill(-Infinity)]; // log p of the best way to cut the first `end` letters
  const start = Array<number>(word.length + 1).fill(0); // where the last piece of that way begins
  for (let end = 1; end <= word.length; end++) {
    for (let from = 0; from < end; from++) {
      const score = best[from]! + (logProbabilities.get(word.slice(from, end)) ?? -Infinity);
      if (score > best[end]!) [best[end], start[end]] = [score, from];
    }
  }
  const pieces: string[] = [];
  for (let end = word.length; end > 0; end = start[end]!) pieces.unshift(word.slice(start[end], end));
  return pieces;
}
// #endregion
