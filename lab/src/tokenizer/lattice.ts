/**
 * @file All ways to cut a word into pieces, as a graph: its nodes are the places between bytes, its edges the pieces.
 * The best path, the total probability, expected counts, and paths at random. Kudo 2018, sections 3.2 and 3.3.
 */
import type { Random } from '../base/index.ts';
import type { Trie } from './trie.ts';

/** Pieces and how probable each is. */
export interface PieceModel {
  readonly trie: Trie;
  /** log p by piece. */
  readonly scores: Float64Array;
}

/** The pieces of the most probable segmentation of a word (Viterbi); of equal ones, that whose last piece is longest. */
export function bestSegmentation({ trie, scores }: PieceModel, bytes: Uint8Array, without = -1): Int32Array {
  const length = bytes.length;
  const best = new Float64Array(length + 1).fill(-Infinity); // log p of the best way to cut the first i bytes
  const lastPiece = new Int32Array(length + 1);
  const lastStart = new Int32Array(length + 1);
  best[0] = 0;
  for (let i = 0; i < length; i++) {
    for (let j = i, node = trie.step(0, bytes[i]!); node >= 0; node = j < length ? trie.step(node, bytes[j]!) : -1) {
      j++;
      const piece = trie.pieceAt(node);
      if (piece < 0 || piece === without || best[i]! + scores[piece]! <= best[j]!) continue;
      best[j] = best[i]! + scores[piece]!;
      lastPiece[j] = piece;
      lastStart[j] = i;
    }
  }
  const reversed: number[] = [];
  for (let end = length; end > 0; end = lastStart[end]!) reversed.push(lastPiece[end]!);
  return Int32Array.from(reversed.reverse());
}

/** The graph of one word after another, in memory that is used again. */
export class Lattice {
  readonly #model: PieceModel;
  #length = 0;
  /** Edges, sorted by where they begin: piece `#pieces[e]` reaches from byte `#from[e]` to byte `#to[e]`. */
  #edges = 0;
  #from: Int32Array = new Int32Array(256);
  #to: Int32Array = new Int32Array(256);
  #pieces: Int32Array = new Int32Array(256);
  /** log of the total probability of all ways to cut the first i bytes. */
  #forward = new Float64Array(64);
  /** The same of the bytes from i on. */
  #backward = new Float64Array(64);

  constructor(model: PieceModel) {
    this.#model = model;
  }

  /**
   * Takes bytes[start] … bytes[end − 1] as the word and sums over all its segmentations.
   *
   * @param temperature divides the log probabilities
   * @returns log of their total probability
   */
  load(bytes: Uint8Array, start = 0, end = bytes.length, temperature = 1): number {
    const { trie, scores } = this.#model;
    this.#length = end - start;
    this.#edges = 0;
    if (this.#forward.length <= this.#length) {
      this.#forward = new Float64Array(2 * this.#length);
      this.#backward = new Float64Array(2 * this.#length);
    }
    const forward = this.#forward.fill(-Infinity, 0, this.#length + 1);
    forward[0] = 0;
    for (let i = start; i < end; i++) {
      const before = forward[i - start]!;
      for (let j = i, node = trie.step(0, bytes[i]!); node >= 0; node = j < end ? trie.step(node, bytes[j]!) : -1) {
        j++;
        const piece = trie.pieceAt(node);
        if (piece < 0) continue;
        this.#addEdge(i - start, j - start, piece);
        forward[j - start] = logAdd(forward[j - start]!, before + scores[piece]! / temperature);
      }
    }
    return forward[this.#length]!;
  }

  /** Adds to `counts` how often each piece is expected in the word, times `weight` (the E-step; after `load`). */
  expect(counts: Float64Array, weight: number): void {
    const { scores } = this.#model;
    const forward = this.#forward;
    const total = forward[this.#length]!;
    const backward = this.#backward.fill(-Infinity, 0, this.#length + 1);
    backward[this.#length] = 0;
    for (let e = this.#edges - 1; e >= 0; e--) {
      const from = this.#from[e]!;
      const piece = this.#pieces[e]!;
      const rest = scores[piece]! + backward[this.#to[e]!]!;
      backward[from] = logAdd(backward[from]!, rest);
      counts[piece]! += weight * Math.exp(forward[from]! + rest - total);
    }
  }

  /** A segmentation at random: from the end back, each last piece as probable as it is among those that end there. */
  sample(random: Random, temperature: number): number[] {
    const { scores } = this.#model;
    const reversed: number[] = [];
    let chosen = this.#edges;
    for (let end = this.#length; end > 0; end = this.#from[chosen]!) {
      let rest = random.uniform();
      // Pieces that end where the chosen one begins stand before it in the list. Where rounding leaves something of
      // `rest`, the last that fits is taken.
      for (let e = chosen - 1; e >= 0 && rest >= 0; e--) {
        if (this.#to[e] !== end) continue;
        chosen = e;
        rest -= Math.exp(this.#forward[this.#from[e]!]! + scores[this.#pieces[e]!]! / temperature - this.#forward[end]!);
      }
      reversed.push(this.#pieces[chosen]!);
    }
    return reversed.reverse();
  }

  #addEdge(from: number, to: number, piece: number): void {
    if (this.#edges === this.#from.length) {
      this.#from = doubled(this.#from);
      this.#to = doubled(this.#to);
      this.#pieces = doubled(this.#pieces);
    }
    this.#from[this.#edges] = from;
    this.#to[this.#edges] = to;
    this.#pieces[this.#edges++] = piece;
  }
}

function doubled(old: Int32Array): Int32Array {
  const larger = new Int32Array(2 * old.length);
  larger.set(old);
  return larger;
}

/** log(eᵃ + eᵇ) */
function logAdd(a: number, b: number): number {
  if (a === -Infinity) return b;
  return a > b ? a + Math.log1p(Math.exp(b - a)) : b + Math.log1p(Math.exp(a - b));
}
