/**
 * @file What attention moves: an accountant walks through the loops of the plain algorithm and of the tiled one and notes
 * every word that is read from slow memory or written to it, and every floating-point operation of the matrix products.
 * Dao et al. 2022, algorithms 0 to 4 and theorems 2 and 5; the order of the loops is that of Dao 2023.
 *
 * A word is one number. What is in a tile is in fast memory; every matrix of the plain algorithm is in slow memory.
 * Shapes: T queries, U keys, S head size.
 */
import { invariant } from '../../base/index.ts';
import { tileKind, type Visibility } from './mask-rule.ts';

/** One head. */
export interface TrafficShape {
  readonly queries: number;
  readonly keys: number;
  readonly headSize: number;
}

/** Words between slow and fast memory, and FLOPs (a multiplication and an addition are two) of the matrix products. */
export interface Traffic {
  readonly reads: number;
  readonly writes: number;
  readonly words: number;
  readonly flops: number;
}

export interface TileSizes {
  readonly tileQueries: number;
  readonly tileKeys: number;
}

/** Notes what passes. */
class Accountant {
  #reads = 0;
  #writes = 0;
  #flops = 0;

  read(...sizes: readonly number[]): void {
    for (const size of sizes) this.#reads += size;
  }

  write(...sizes: readonly number[]): void {
    for (const size of sizes) this.#writes += size;
  }

  /** So many products of [rows, inner] by [inner, columns]. */
  multiply(rows: number, inner: number, columns: number, products = 1): void {
    this.#flops += 2 * rows * inner * columns * products;
  }

  get traffic(): Traffic {
    return { reads: this.#reads, writes: this.#writes, words: this.#reads + this.#writes, flops: this.#flops };
  }
}

/**
 * How many rows of Q, K, V and O fit into fast memory together, each tile of as many rows as the others.
 *
 * @param memory M, in words
 * @returns ⌊M / 4S⌋, at least 1
 */
export function tileRows(memory: number, headSize: number): number {
  return Math.max(1, Math.floor(memory / (4 * headSize)));
}

/** The plain algorithm: S = Q Kᵀ, P = softmax(S), O = P V, each read from slow memory and written there. */
export function plainTraffic({ queries: T, keys: U, headSize: S }: TrafficShape): Traffic {
  const count = new Accountant();
  count.read(T * S, U * S); // S = Q Kᵀ
  count.multiply(T, S, U);
  count.write(T * U);
  count.read(T * U); // P = softmax(S)
  count.write(T * U);
  count.read(T * U, U * S); // O = P V
  count.multiply(T, U, S);
  count.write(T * S);
  return count.traffic;
}

/** The backward pass of the plain algorithm, which has kept P. */
export function plainBackwardTraffic({ queries: T, keys: U, headSize: S }: TrafficShape): Traffic {
  const count = new Accountant();
  count.read(T * U, T * S); // dV = Pᵀ dO
  count.multiply(U, T, S);
  count.write(U * S);
  count.read(T * S, U * S); // dP = dO Vᵀ
  count.multiply(T, S, U);
  count.write(T * U);
  count.read(T * U, T * U); // dS = P ∘ (dP − rowsum(P ∘ dP))
  count.write(T * U);
  count.read(T * U, U * S); // dQ = dS K
  count.multiply(T, U, S);
  count.write(T * S);
  count.read(T * U, T * S); // dK = dSᵀ Q
  count.multiply(U, T, S);
  count.write(U * S);
  return count.traffic;
}

type Range = readonly [number, number];

/** The tiles of a length, the last one shorter. */
function cuts(length: number, tile: number): Range[] {
  invariant(Number.isInteger(tile) && tile > 0, () => `attention: a tile must have a whole number of rows, got ${tile}`);
  return Array.from({ length: Math.ceil(length / tile) }, (_, i) => [i * tile, Math.min(length, (i + 1) * tile)]);
}

const rowsOf = ([from, to]: Range): number => to - from;

/** Whether a tile of scores has to be computed; without a mask all of them. */
type Seen = (queries: Range, keys: Range) => boolean;

const seenBy =
  (mask: Visibility | undefined): Seen =>
  (queries, keys) =>
    !mask || tileKind(mask, 0, queries, keys) !== 'skipped';

/** FlashAttention-2: every tile of queries goes over the tiles of keys that it sees, and writes its output once. */
export function flashTraffic(shape: TrafficShape, { tileQueries, tileKeys }: TileSizes, mask?: Visibility): Traffic {
  const { queries: T, keys: U, headSize: S } = shape;
  const count = new Accountant();
  const isSeen = seenBy(mask);
  for (const queries of cuts(T, tileQueries)) {
    const rows = rowsOf(queries);
    count.read(rows * S); // Q
    for (const keys of cuts(U, tileKeys).filter((tile) => isSeen(queries, tile))) {
      count.read(rowsOf(keys) * S, rowsOf(keys) * S); // K, V
      count.multiply(rows, S, rowsOf(keys), 2); // S = Q Kᵀ, O += P V
    }
    count.write(rows * S, rows); // O, L
  }
  return count.traffic;
}

export interface BackwardTrafficOptions {
  readonly mask?: Visibility;
  /**
   * 2: one pass over the tiles of queries for dQ, and one over the tiles of keys for dK and dV, so that nobody else adds to the
   * same number; P is computed again in both. That is how the GPU kernels do it. 1: a single pass over the tiles of keys, in
   * which dQ is read and written again and again, as in the paper and on wasm. Default 2.
   */
  readonly passes?: 1 | 2;
}

/** The backward pass, which computes P again from L. */
export function flashBackwardTraffic(
  shape: TrafficShape,
  { tileQueries, tileKeys }: TileSizes,
  { mask, passes = 2 }: BackwardTrafficOptions = {},
): Traffic {
  const { queries: T, keys: U, headSize: S } = shape;
  const count = new Accountant();
  const isSeen = seenBy(mask);
  const readQueries = (rows: number): void => count.read(rows * S, rows * S, rows, rows); // Q, dO, L, D
  count.read(T * S, T * S); // D = rowsum(dO ∘ O)
  count.write(T);
  for (const queries of passes === 2 ? cuts(T, tileQueries) : []) {
    const rows = rowsOf(queries);
    readQueries(rows);
    for (const keys of cuts(U, tileKeys).filter((tile) => isSeen(queries, tile))) {
      count.read(rowsOf(keys) * S, rowsOf(keys) * S); // K, V
      count.multiply(rows, S, rowsOf(keys), 3); // S = Q Kᵀ, dP = dO Vᵀ, dQ += dS K
    }
    count.write(rows * S); // dQ
  }
  for (const keys of cuts(U, tileKeys)) {
    count.read(rowsOf(keys) * S, rowsOf(keys) * S); // K, V
    for (const queries of cuts(T, tileQueries).filter((tile) => isSeen(tile, keys))) {
      const rows = rowsOf(queries);
      readQueries(rows);
      count.multiply(rows, S, rowsOf(keys), 4); // S, dP, dV += Pᵀ dO, dK += dSᵀ Q
      if (passes === 2) continue;
      count.read(rows * S);
      count.multiply(rows, S, rowsOf(keys)); // dQ += dS K
      count.write(rows * S);
    }
    count.write(rowsOf(keys) * S, rowsOf(keys) * S); // dK, dV
  }
  return count.traffic;
}
