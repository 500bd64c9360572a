/**
 * @file FlashAttention on wasm, forward: Dao 2023, algorithm 1. A row block of queries goes over the keys tile by tile with a
 * running maximum m and a running sum l in every row; never is there more than one tile of scores.
 *
 * Shapes: B batch, H heads, K key/value heads, T queries, U keys, S head size.
 */
import { spaceForA, spaceForB } from '../matmul/gemm.as';
import { element, packA, packB } from '../matmul/pack.as';
import { COLUMNS } from '../matmul/tile.as';
import { address, argument, currentSequence, number } from '../wasm/parallel.as';
import { boundedExp, log } from '../wasm/vectors.as';
import { asksMore, changesScores, finishScores, forgetRow, forgets } from './scores.as';
import { PACKED } from './shared';
import {
  addSeen, clearEnds, exponentials, fill, HIDDEN, hideEnds, largestScore, multiplySeen, rowNumbers, scaleRow, scores, seenFrom,
  seenTo,
} from './tiles.as';

/** Which tile of which head's keys and values is packed, and in which operation. */
let packedFor: i32 = -1;
let packedHead: i32 = -1;
let packedStart: i32 = -1;

@inline function keySpace(): usize { return spaceForB(); }
@inline function valueSpace(): usize { return element(spaceForB(), PACKED + 1024); }
@inline function querySpace(): usize { return element(spaceForB(), 2 * PACKED + 2048); }

/** Row blocks of a head follow each other, so that a thread finds its keys packed already when they fit into one tile. */
function packTile(head: i32, start: i32, count: i32): void {
  if (packedFor == currentSequence() && packedHead == head && packedStart == start) return;
  const S = argument(9), at = (head * argument(16) + start) * S;
  packB(keySpace(), element(address(1), at), count, S, S, 1);
  packB(valueSpace(), element(address(2), at), S, count, 1, S);
  packedFor = currentSequence();
  packedHead = head;
  packedStart = start;
}

/** m and l of a row of the block */
@inline export function rowState(row: i32): usize { return element(rowNumbers(), 2 * row); }

/** Whether a row holds NaN, which a maximum overlooks, over [from, to), multiples of eight. */
function hasNaN(row: usize, from: i32, to: i32): bool {
  for (let j = from; j < to; j += 4) {
    const x = v128.load(element(row, j));
    if (v128.any_true(f32x4.ne(x, x))) return true;
  }
  return false;
}

/** One row's scores become weights relative to its maximum so far; what was summed before is brought down to the new maximum. */
@inline function weighSeen(cut: bool, row: i32, line: usize, o: usize, from: i32, to: i32, scale: f32): void {
  hideEnds(line, from, to);
  const first = from & ~7, end = (to + 7) & ~7, state = rowState(row);
  const before = f32.load(state), l = f32.load(state, 4), m = max(before, largestScore(line, first, end) * scale);
  if (cut && m <= HIDDEN && !hasNaN(line, first, end)) {
    fill(line, first, end, 0); // a bias hides them all
    return;
  }
  const sum = exponentials(cut, line, first, end, scale, -m);
  let kept: f32 = 0;
  if (l > 0) {
    kept = f32x4.extract_lane(boundedExp(f32x4.splat(before - m)), 0);
    if (kept != 1) scaleRow(o, argument(9), kept);
  }
  f32.store(state, m);
  f32.store(state, l * kept + sum, 4);
}

@inline function weighRow(row: i32, line: usize, o: usize, from: i32, to: i32, used: i32): void {
  if (to > from) weighSeen(false, row, line, o, from, to, number(10));
  clearEnds(line, from, to, used);
}

/** The same for a problem that asks more. @param head b · H + h @param ranges this query's @param start the tile's first key */
export function weighRowFully(
  row: i32, line: usize, o: usize, from: i32, to: i32, used: i32, head: i32, query: i32, ranges: usize, start: i32,
): void {
  if (to > from) {
    if (changesScores()) finishScores(line, from, to, head, query, ranges, start);
    weighSeen(true, row, line, o, from, to, changesScores() ? 1 : number(10));
    if (forgets()) forgetRow(line, from, to, head, query, start);
  }
  clearEnds(line, from, to, used);
}

/** O = O / l and L = m + log l; zeros for a query that saw nothing. */
@inline export function finishRow(row: i32, o: usize, logSumExp: usize): void {
  const m = f32.load(rowState(row)), l = f32.load(rowState(row), 4);
  if (l != 0) scaleRow(o, argument(9), 1 / l);
  f32.store(logSumExp, l != 0 ? m + log(l) : 0);
}

/**
 * One row block of one head.
 *
 *  0 q, 1 k, 2 v, 3 output, 4 log-sum-exp
 *  5 H, 6 K, 7 T, 8 U, 9 S, 10 scale
 * 11 ranges of keys [1 or B, T, 3], 12 whether each row of the batch has its own
 * 13 queries in a block, 14 blocks, 15 keys in a tile, 16 keys that k and v have room for
 * 20 … 30 what is asked besides: scores.as.ts
 */
export function attend(chunk: i32): void {
  const H = argument(5), K = argument(6), T = argument(7), U = argument(8), S = argument(9), tile = argument(15);
  const head = chunk / argument(14), firstQuery = (chunk - head * argument(14)) * argument(13);
  const batch = head / H, keyHead = batch * K + (head - batch * H) / (H / K);
  const rows = min(argument(13), T - firstQuery), width = (min(tile, U) + COLUMNS - 1) / COLUMNS * COLUMNS;
  const ranges = address(11) + <usize>(12 * ((argument(12) != 0 ? batch * T : 0) + firstQuery));
  const o = element(address(3), (head * T + firstQuery) * S), end = i32.load(ranges + <usize>(12 * (rows - 1)), 4);
  memory.fill(o, 0, <usize>(rows * S) << 2);
  for (let row: i32 = 0; row < rows; ++row) {
    f32.store(rowState(row), -Infinity);
    f32.store(rowState(row), 0, 4);
  }
  const more = asksMore();
  packA(querySpace(), element(address(0), (head * T + firstQuery) * S), rows, S, S, 1);
  for (let start = i32.load(ranges) / tile * tile; start < end; start += tile) {
    const count = min(tile, U - start), used = min(count, end - start);
    packTile(keyHead, start, count);
    multiplySeen(querySpace(), keySpace(), scores(), width, rows, S, ranges, start, count);
    for (let row: i32 = 0; row < rows; ++row) {
      const from = seenFrom(ranges, row, start, count), to = seenTo(ranges, row, start, count);
      const line = element(scores(), row * width), sum = element(o, row * S);
      if (!more) weighRow(row, line, sum, from, to, used);
      else weighRowFully(row, line, sum, from, to, used, head, firstQuery + row, ranges + <usize>(12 * row), start);
    }
    packA(spaceForA(), scores(), rows, used, width, 1);
    addSeen(spaceForA(), used, valueSpace(), o, rows, S, ranges, start, count);
  }
  const logSumExp = element(address(4), head * T + firstQuery);
  for (let row: i32 = 0; row < rows; ++row) finishRow(row, element(o, row * S), element(logSumExp, row));
}
