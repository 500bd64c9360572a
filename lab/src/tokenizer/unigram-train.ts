/**
 * @file Learning a unigram vocabulary: from far too many pieces, drop again and again those that the text misses least.
 * Kudo 2018, section 3.2.
 */
import { LateProgress } from './late-progress.ts';
import { bestSegmentation, Lattice, type PieceModel } from './lattice.ts';
import { Trie } from './trie.ts';
import { frequentSubstrings } from './unigram-seeds.ts';
import type { WordCounts } from './word-counts.ts';

export interface PieceTrainingOptions {
  /** How many pieces there shall be, the 256 bytes included. */
  readonly size: number;
  readonly maxPieceLength: number;
  readonly seedSize: number;
  readonly shrinkingFactor: number;
  readonly emRounds: number;
  readonly quiet: boolean;
}

/** Pieces and log p of each; the first 256 are the bytes. */
export interface Pieces {
  readonly tokens: readonly Uint8Array[];
  readonly scores: Float64Array;
}

const BYTES = 256;
/** A piece that is expected less often goes at once, and a byte counts as if it were seen so often: it may be needed later. */
const LEAST_COUNT = 0.5;

/** @returns the bytes, then the other pieces, the most probable first */
export function learnPieces(words: WordCounts, options: PieceTrainingOptions): Pieces {
  const { size, maxPieceLength, seedSize, shrinkingFactor, emRounds, quiet } = options;
  let pieces = firstPieces(words, maxPieceLength, seedSize);
  const surplus = Math.max(0, pieces.tokens.length - size);
  const progress = new LateProgress({ total: surplus, label: 'pruning', unit: 'pieces', quiet });
  for (;;) {
    const last = pieces.tokens.length <= size;
    let counts: Float64Array = new Float64Array();
    for (let round = 0; round < emRounds; round++) {
      counts = expectedCounts(pieces, words);
      const kept = frequentEnough(counts, size);
      pieces = select(pieces, kept, counts);
      counts = Float64Array.from(kept, (id) => counts[id]!);
      progress.update(surplus - Math.max(0, pieces.tokens.length - size));
    }
    if (last) break;
    const room = Math.max(size, Math.floor(pieces.tokens.length * shrinkingFactor)) - BYTES;
    pieces = select(pieces, mostMissed(pieces, counts, room), counts);
  }
  progress.done();
  return sorted(pieces);
}

/** The bytes and the frequent substrings, each as probable as the share of the text that it covers. */
function firstPieces(words: WordCounts, maxLength: number, limit: number): Pieces {
  const counts = new Float64Array(BYTES);
  words.counts.forEach((count, w) => {
    for (let i = words.starts[w]!; i < words.starts[w + 1]!; i++) counts[words.bytes[i]!]! += count;
  });
  const seeds = frequentSubstrings(words, maxLength, limit);
  const tokens = [...Array.from({ length: BYTES }, (_, byte) => Uint8Array.of(byte)), ...seeds.map((seed) => seed.bytes)];
  const weights = [...counts, ...seeds.map((seed) => seed.count * seed.bytes.length)];
  return { tokens, scores: logShares(weights) };
}

/** How often each piece is expected in the text, over all segmentations of every word (E-step). */
function expectedCounts(pieces: Pieces, { bytes, starts, counts: frequencies }: WordCounts): Float64Array {
  const lattice = new Lattice(modelOf(pieces));
  const counts = new Float64Array(pieces.tokens.length);
  for (let w = 0; w < frequencies.length; w++) {
    lattice.load(bytes, starts[w]!, starts[w + 1]!);
    lattice.expect(counts, frequencies[w]!);
  }
  return counts;
}

/** The ids of the bytes and of the pieces that are expected often enough; of the others as many as make `size`. */
function frequentEnough(counts: Float64Array, size: number): number[] {
  const ids = [...counts.keys()];
  const enough = ids.filter((id) => id < BYTES || counts[id]! >= LEAST_COUNT);
  if (enough.length >= size) return enough;
  const rare = ids.filter((id) => id >= BYTES && counts[id]! < LEAST_COUNT).sort((a, b) => counts[b]! - counts[a]! || a - b);
  return [...enough, ...rare.slice(0, size - enough.length)].sort((a, b) => a - b);
}

/**
 * The ids of the bytes and of the `room` pieces without which the text would become least probable: where a piece is gone, the
 * best other pieces take its place, and their counts grow by its count.
 */
function mostMissed(pieces: Pieces, counts: Float64Array, room: number): number[] {
  const model = modelOf(pieces);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const losses = pieces.tokens.map((bytes, id) => {
    if (id < BYTES) return Infinity;
    const others = bestSegmentation(model, bytes, id);
    const count = counts[id]!;
    const newTotal = Math.log(total + count * (others.length - 1));
    let replaced = 0;
    for (const other of others) replaced += Math.log(counts[other]! + count) - newTotal;
    return count * (Math.log(count) - Math.log(total) - replaced);
  });
  const others = [...losses.keys()].slice(BYTES).sort((a, b) => losses[b]! - losses[a]! || a - b);
  return [...Array(BYTES).keys(), ...others.slice(0, room).sort((a, b) => a - b)];
}

/** Some of the pieces, as probable as their counts say (M-step). */
function select(pieces: Pieces, ids: readonly number[], counts: Float64Array): Pieces {
  return { tokens: ids.map((id) => pieces.tokens[id]!), scores: logShares(ids.map((id) => counts[id]!)) };
}

function logShares(weights: readonly number[]): Float64Array {
  const atLeast = weights.map((weight) => Math.max(weight, LEAST_COUNT));
  const total = atLeast.reduce((sum, weight) => sum + weight, 0);
  return Float64Array.from(atLeast, (weight) => Math.log(weight / total));
}

function sorted({ tokens, scores }: Pieces): Pieces {
  const ids = [...tokens.keys()];
  const order = [...ids.slice(0, BYTES), ...ids.slice(BYTES).sort((a, b) => scores[b]! - scores[a]! || a - b)];
  return { tokens: order.map((id) => tokens[id]!), scores: Float64Array.from(order, (id) => scores[id]!) };
}

function modelOf({ tokens, scores }: Pieces): PieceModel {
  return { trie: new Trie(tokens), scores };
}
