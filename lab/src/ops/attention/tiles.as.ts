/**
 * @file What the forward and the backward pass of attention on wasm share: the ranges of the mask, products of packed strips that
 * leave out what the mask hides, and rows of weights.
 *
 * A row block of queries meets a tile of keys. Its scores stand in memory of the thread, [rows, width], where both are filled up
 * to whole register tiles.
 */
import { addEdge } from '../matmul/gemm.as';
import { element } from '../matmul/pack.as';
import { COLUMNS, ROWS, tileAdd, tileSet } from '../matmul/tile.as';
import { multiplyAdd } from '../matmul/tile.as';
import { boundedExp, largestOf, sumOf } from '../wasm/vectors.as';
import { FORWARD_QUERIES, MOST_KEYS } from './shared';

/** A row block may be filled up to whole strips. */
const STRIP_SLACK: i32 = 8;

/** Bytes of a thread's memory for the scores, for two numbers a row, and for one row more. */
export function scoreSpace(): i32 { return ((FORWARD_QUERIES + STRIP_SLACK) * (MOST_KEYS + 2) + MOST_KEYS) << 2; }

let scoresStart: usize = 0;

export function useScoreSpace(start: usize): void { scoresStart = start; }
export function scores(): usize { return scoresStart; }
export function rowNumbers(): usize { return element(scoresStart, (FORWARD_QUERIES + STRIP_SLACK) * MOST_KEYS); }
/** How steep the soft cap is at each score of a row. */
export function steepness(): usize { return element(scoresStart, (FORWARD_QUERIES + STRIP_SLACK) * (MOST_KEYS + 2)); }

/** What stands in the place of a hidden score until the row is done: exp makes next to nothing of it, or nothing. */
export const HIDDEN: f32 = -1e30;

/** Where the keys that a query sees begin and end, in the tile of `count` keys that begins at `start`. */
@inline export function seenFrom(ranges: usize, query: i32, start: i32, count: i32): i32 {
  return max(0, min(count, i32.load(ranges + <usize>(12 * query)) - start));
}
@inline export function seenTo(ranges: usize, query: i32, start: i32, count: i32): i32 {
  return max(0, min(count, i32.load(ranges + <usize>(12 * query), 4) - start));
}

/** Scores [rows, width] = packed A [rows, depth] times packed keys, where any query of a strip sees any key of a register tile. */
export function multiplySeen(
  a: usize, keys: usize, to: usize, width: i32, rows: i32, depth: i32, ranges: usize, start: i32, count: i32,
): void {
  for (let i: i32 = 0; i < rows; i += ROWS) {
    const from = seenFrom(ranges, i, start, count), end = seenTo(ranges, min(i + ROWS, rows) - 1, start, count);
    for (let j = from / COLUMNS * COLUMNS; j < end; j += COLUMNS) {
      tileSet(element(a, i * depth), element(keys, j * depth), depth, element(to, i * width + j), (<usize>width) << 2);
    }
  }
}

/**
 * C [rows, columns] += packed weights [rows, used keys] times packed B [keys in the tile, columns]; the sums run over the keys that
 * a strip of queries sees.
 */
export function addSeen(
  weights: usize, used: i32, b: usize, c: usize, rows: i32, columns: i32, ranges: usize, start: i32, count: i32,
): void {
  for (let i: i32 = 0; i < rows; i += ROWS) {
    const from = seenFrom(ranges, i, start, count), end = seenTo(ranges, min(i + ROWS, rows) - 1, start, count);
    if (end <= from) continue;
    const a = element(weights, i * used + from * ROWS);
    for (let j: i32 = 0; j < columns; j += COLUMNS) {
      const strip = element(b, j * count + from * COLUMNS);
      addTile(a, strip, end - from, element(c, i * columns + j), columns, min(ROWS, rows - i), min(COLUMNS, columns - j));
    }
  }
}

/**
 * C [keys, columns] += packed weightsᵀ [keys, rows] times packed B [rows, columns]; the sums run over the queries that see a strip
 * of keys.
 */
export function addTransposed(
  weights: usize, keys: i32, b: usize, c: usize, rows: i32, columns: i32, ranges: usize, start: i32, count: i32,
): void {
  let first: i32 = 0, end: i32 = 0;
  for (let u: i32 = 0; u < keys; u += ROWS) {
    // Both ends of the ranges only move forward from query to query, and so do these.
    while (first < rows && seenTo(ranges, first, start, count) <= u) ++first;
    while (end < rows && seenFrom(ranges, end, start, count) < u + ROWS) ++end;
    if (end <= first) continue;
    const a = element(weights, u * rows + first * ROWS);
    for (let j: i32 = 0; j < columns; j += COLUMNS) {
      const strip = element(b, j * rows + first * COLUMNS);
      addTile(a, strip, end - first, element(c, u * columns + j), columns, min(ROWS, keys - u), min(COLUMNS, columns - j));
    }
  }
}

@inline function addTile(a: usize, b: usize, depth: i32, c: usize, rowStride: i32, rows: i32, columns: i32): void {
  if (rows == ROWS && columns == COLUMNS) tileAdd(a, b, depth, c, (<usize>rowStride) << 2);
  else addEdge(a, b, depth, c, rowStride, rows, columns);
}

/** Writes `value` over row[from, to). */
@inline export function fill(row: usize, from: i32, to: i32, value: f32): void {
  let j = from;
  for (; j + 4 <= to; j += 4) v128.store(element(row, j), f32x4.splat(value));
  for (; j < to; ++j) f32.store(element(row, j), value);
}

/** Hides what lies between the range that a query sees and the multiples of eight around it. */
@inline export function hideEnds(row: usize, from: i32, to: i32): void {
  fill(row, from & ~7, from, HIDDEN);
  fill(row, to, (to + 7) & ~7, HIDDEN);
}

/** Zeros on both sides of the range that a query sees. */
@inline export function clearEnds(row: usize, from: i32, to: i32, used: i32): void {
  fill(row, 0, from, 0);
  fill(row, to, used, 0);
}

/** The largest of row[from, to); both are multiples of eight. */
@inline export function largestScore(row: usize, from: i32, to: i32): f32 {
  let m0 = f32x4.splat(HIDDEN), m1 = m0;
  for (let j = from; j < to; j += 8) {
    m0 = f32x4.pmax(m0, v128.load(element(row, j)));
    m1 = f32x4.pmax(m1, v128.load(element(row, j), 16));
  }
  return largestOf(f32x4.pmax(m0, m1));
}

/** Weights below e^LEAST_EXPONENT count as 0: no sum of floats would show them, and products with them are slow once they underflow. */
const LEAST_EXPONENT: f32 = -60;

/**
 * e^x of scores relative to the largest. Without a cut it is never 0, only below the smallest share; with one, for a little more
 * work, it is exactly 0 where a bias hides the key or ALiBi puts it far away. NaN stays NaN.
 */
@inline export function weigh(cut: bool, x: v128): v128 {
  return cut ? v128.andnot(boundedExp(x), f32x4.lt(x, f32x4.splat(LEAST_EXPONENT))) : boundedExp(x);
}

/** row = exp(row · scale + shift) over [from, to), multiples of eight; returns the sum. */
@inline export function exponentials(cut: bool, row: usize, from: i32, to: i32, scale: f32, shift: f32): f32 {
  const scales = f32x4.splat(scale), shifts = f32x4.splat(shift);
  let s0 = f32x4.splat(0), s1 = s0;
  for (let j = from; j < to; j += 8) {
    const at = element(row, j);
    const e0 = weigh(cut, multiplyAdd(v128.load(at), scales, shifts));
    const e1 = weigh(cut, multiplyAdd(v128.load(at, 16), scales, shifts));
    v128.store(at, e0);
    v128.store(at, e1, 16);
    s0 = f32x4.add(s0, e0);
    s1 = f32x4.add(s1, e1);
  }
  return sumOf(f32x4.add(s0, s1));
}

/** row[0, n) *= factor */
export function scaleRow(row: usize, n: i32, factor: f32): void {
  const factors = f32x4.splat(factor);
  let j: i32 = 0;
  for (; j + 8 <= n; j += 8) {
    const x0 = f32x4.mul(v128.load(element(row, j)), factors), x1 = f32x4.mul(v128.load(element(row, j), 16), factors);
    v128.store(element(row, j), x0);
    v128.store(element(row, j), x1, 16);
  }
  for (; j < n; ++j) f32.store(element(row, j), f32.load(element(row, j)) * factor);
}
