/**
 * @file FlashAttention on wasm, backward: Dao 2023, algorithm 2. The weights are computed again from the scores and L, tile by
 * tile; a thread has a key/value head for itself, so that nobody else adds to its dK and dV.
 *
 * P = exp(S − L), dS = P ∘ (dO Vᵀ − D) with D = rowsum(dO ∘ O); dV = Pᵀ dO, dQ = dS K · scale, dK = dSᵀ Q · scale.
 */
import { spaceForA, spaceForB } from '../matmul/gemm.as';
import { element, packA, packB } from '../matmul/pack.as';
import { COLUMNS, multiplyAdd } from '../matmul/tile.as';
import { address, argument, number } from '../wasm/parallel.as';
import { boundedExp, sumOf } from '../wasm/vectors.as';
import { addSeen, addTransposed, clearEnds, hideEnds, MOST_KEYS, multiplySeen, scores, seenFrom, seenTo } from './tiles.as';

/** Queries in a row block: half as many as forward, as there are two matrices [queries, keys]. */
export const BACKWARD_QUERIES: i32 = 48;

@inline function keySpace(): usize { return spaceForB(); }
@inline function valueSpace(): usize { return element(spaceForB(), 32 * 1024 + 512); }
@inline function keyRowsSpace(): usize { return element(spaceForB(), 64 * 1024 + 1024); }
@inline function blockSpace(): usize { return element(spaceForB(), 96 * 1024 + 2048); }
/** dP, then dS, behind the scores. */
@inline function scoreGradients(): usize { return element(scores(), (BACKWARD_QUERIES + 4) * MOST_KEYS); }

/** D of one query: Σ dO ∘ O */
@inline function outputProduct(dO: usize, o: usize, n: i32): f32 {
  let sums = f32x4.splat(0), i: i32 = 0;
  for (; i + 4 <= n; i += 4) sums = multiplyAdd(v128.load(element(dO, i)), v128.load(element(o, i)), sums);
  let sum = sumOf(sums);
  for (; i < n; ++i) sum += f32.load(element(dO, i)) * f32.load(element(o, i));
  return sum;
}

/** One row's scores become weights P, and dP becomes dS · scale, over the keys that the query sees; elsewhere both are 0. */
@inline function differentiateRow(line: usize, gradient: usize, from: i32, to: i32, used: i32, L: f32, D: f32): void {
  if (to > from) {
    hideEnds(line, from, to);
    const scale = f32x4.splat(number(10)), shift = f32x4.splat(-L), products = f32x4.splat(D);
    for (let j = from & ~7; j < to; j += 8) {
      const s = element(line, j), g = element(gradient, j);
      const p0 = boundedExp(multiplyAdd(v128.load(s), scale, shift)), p1 = boundedExp(multiplyAdd(v128.load(s, 16), scale, shift));
      const d0 = f32x4.mul(f32x4.mul(p0, scale), f32x4.sub(v128.load(g), products));
      const d1 = f32x4.mul(f32x4.mul(p1, scale), f32x4.sub(v128.load(g, 16), products));
      v128.store(s, p0);
      v128.store(s, p1, 16);
      v128.store(g, d0);
      v128.store(g, d1, 16);
    }
  }
  clearEnds(line, from, to, used);
  clearEnds(gradient, from, to, used);
}

/** One row block of one query head against the packed tile of keys. */
function addBlock(head: i32, firstQuery: i32, rows: i32, ranges: usize, keyAt: i32, start: i32, count: i32): void {
  const T = argument(7), U = argument(8), S = argument(9), tile = argument(15), at = (head * T + firstQuery) * S;
  const width = (min(tile, U) + COLUMNS - 1) / COLUMNS * COLUMNS;
  const used = seenTo(ranges, rows - 1, start, count);
  if (used <= seenFrom(ranges, 0, start, count)) return;
  const q = element(address(0), at), o = element(address(3), at), dO = element(address(16), at);
  packA(spaceForA(), q, rows, S, S, 1);
  multiplySeen(spaceForA(), keySpace(), scores(), width, rows, S, ranges, start, count);
  packA(spaceForA(), dO, rows, S, S, 1);
  multiplySeen(spaceForA(), valueSpace(), scoreGradients(), width, rows, S, ranges, start, count);
  for (let row: i32 = 0; row < rows; ++row) {
    const from = seenFrom(ranges, row, start, count), to = seenTo(ranges, row, start, count);
    const L = f32.load(element(address(4), head * T + firstQuery + row));
    const D = outputProduct(element(dO, row * S), element(o, row * S), S);
    differentiateRow(element(scores(), row * width), element(scoreGradients(), row * width), from, to, used, L, D);
  }
  packB(blockSpace(), dO, S, rows, 1, S);
  packA(spaceForA(), scores(), used, rows, 1, width);
  addTransposed(spaceForA(), used, blockSpace(), element(address(19), keyAt), rows, S, ranges, start, count);
  packB(blockSpace(), q, S, rows, 1, S);
  packA(spaceForA(), scoreGradients(), used, rows, 1, width);
  addTransposed(spaceForA(), used, blockSpace(), element(address(18), keyAt), rows, S, ranges, start, count);
  packA(spaceForA(), scoreGradients(), rows, used, width, 1);
  addSeen(spaceForA(), used, keyRowsSpace(), element(address(17), at), rows, S, ranges, start, count);
}

/**
 * All gradients of one key/value head and of the query heads that share it.
 *
 * 0 … 12 as in forward.as.ts, 13 queries in a block, 15 keys in a tile, 16 gradient of the output, 17 dq, 18 dk, 19 dv
 */
export function attendGradient(keyHead: i32): void {
  const H = argument(5), K = argument(6), T = argument(7), U = argument(8), S = argument(9), tile = argument(15);
  const group = H / K, batch = keyHead / K, firstHead = keyHead * group;
  const ranges = address(11) + <usize>(argument(12) != 0 ? 12 * batch * T : 0);
  memory.fill(element(address(17), firstHead * T * S), 0, <usize>(group * T * S) << 2);
  memory.fill(element(address(18), keyHead * U * S), 0, <usize>(U * S) << 2);
  memory.fill(element(address(19), keyHead * U * S), 0, <usize>(U * S) << 2);
  for (let start: i32 = 0; start < U; start += tile) {
    const count = min(tile, U - start), keyAt = (keyHead * U + start) * S;
    packB(keySpace(), element(address(1), keyAt), count, S, S, 1);
    packB(valueSpace(), element(address(2), keyAt), count, S, S, 1);
    packB(keyRowsSpace(), element(address(1), keyAt), S, count, 1, S);
    for (let head = firstHead; head < firstHead + group; ++head) {
      for (let query: i32 = 0; query < T; query += argument(13)) {
        addBlock(head, query, min(argument(13), T - query), ranges + <usize>(12 * query), keyAt, start, count);
      }
    }
  }
}
