/**
 * @file The gradient of a tile of scores, on wasm: P = exp(S − L) and dS = P ∘ (dO Vᵀ − D), for a row block of queries and a
 * tile of keys. Dropout multiplies P and dO Vᵀ by the same factors; the soft cap multiplies dS by its steepness.
 */
import { spaceForA } from '../matmul/gemm.as';
import { element, packA } from '../matmul/pack.as';
import { multiplyAdd } from '../matmul/tile.as';
import { address, argument, number } from '../wasm/parallel.as';
import { sumOf } from '../wasm/vectors.as';
import { asksMore, caps, changesScores, finishScores, forgetRow, forgets } from './scores.as';
import { BACKWARD_QUERIES, MOST_KEYS } from './shared';
import { clearEnds, hideEnds, multiplySeen, scores, seenFrom, seenTo, steepness, weigh } from './tiles.as';

/** dP, then dS, behind the scores. */
@inline export function scoreGradients(): usize { return element(scores(), (BACKWARD_QUERIES + 4) * MOST_KEYS); }

/** D of one query: Σ dO ∘ O */
@inline function outputProduct(dO: usize, o: usize, n: i32): f32 {
  let sums = f32x4.splat(0), i: i32 = 0;
  for (; i + 4 <= n; i += 4) sums = multiplyAdd(v128.load(element(dO, i)), v128.load(element(o, i)), sums);
  let sum = sumOf(sums);
  for (; i < n; ++i) sum += f32.load(element(dO, i)) * f32.load(element(o, i));
  return sum;
}

/** One row's scores become weights P = exp(score · scale − L), and dP becomes P ∘ (dP − D) · factor. */
@inline function differentiateSeen(
  cut: bool, line: usize, gradient: usize, from: i32, to: i32, scale: f32, factor: f32, L: f32, D: f32,
): void {
  hideEnds(line, from, to);
  const scales = f32x4.splat(scale), factors = f32x4.splat(factor), shift = f32x4.splat(-L), products = f32x4.splat(D);
  for (let j = from & ~7; j < to; j += 8) {
    const s = element(line, j), g = element(gradient, j);
    const p0 = weigh(cut, multiplyAdd(v128.load(s), scales, shift));
    const p1 = weigh(cut, multiplyAdd(v128.load(s, 16), scales, shift));
    const d0 = f32x4.mul(f32x4.mul(p0, factors), f32x4.sub(v128.load(g), products));
    const d1 = f32x4.mul(f32x4.mul(p1, factors), f32x4.sub(v128.load(g, 16), products));
    v128.store(s, p0);
    v128.store(s, p1, 16);
    v128.store(g, d0);
    v128.store(g, d1, 16);
  }
}

/** Over the keys that the query sees; elsewhere both become 0. */
@inline function differentiateRow(line: usize, gradient: usize, from: i32, to: i32, used: i32, L: f32, D: f32): void {
  if (to > from) differentiateSeen(false, line, gradient, from, to, number(10), number(10), L, D);
  clearEnds(line, from, to, used);
  clearEnds(gradient, from, to, used);
}

/** row[from, to) *= the steepness of the soft cap */
function bendRow(row: usize, from: i32, to: i32): void {
  for (let j = from; j < to; j += 4) {
    v128.store(element(row, j), f32x4.mul(v128.load(element(row, j)), v128.load(element(steepness(), j))));
  }
}

/** The same for a problem that asks more. @param ofScores give the gradient of the final scores, not of the products q · k */
function differentiateRowFully(
  line: usize, gradient: usize, from: i32, to: i32, used: i32, L: f32, D: f32,
  head: i32, query: i32, ranges: usize, start: i32, ofScores: bool,
): void {
  if (to > from) {
    if (changesScores()) finishScores(line, from, to, head, query, ranges, start);
    if (forgets()) forgetRow(gradient, from, to, head, query, start);
    const scale: f32 = changesScores() ? 1 : number(10), factor: f32 = ofScores ? 1 : number(10);
    differentiateSeen(true, line, gradient, from, to, scale, factor, L, D);
    if (caps() && !ofScores) bendRow(gradient, from & ~7, (to + 7) & ~7);
    if (forgets()) forgetRow(line, from, to, head, query, start);
  }
  clearEnds(line, from, to, used);
  clearEnds(gradient, from, to, used);
}

/**
 * The weights P of a row block, in `scores()`, and their dS · scale, in `scoreGradients()`, [rows, width], from packed keys and
 * values. The arguments are those of backward.as.ts.
 */
export function differentiateBlock(
  head: i32, firstQuery: i32, rows: i32, ranges: usize, keys: usize, values: usize, width: i32, start: i32, count: i32,
  ofScores: bool,
): void {
  const T = argument(7), S = argument(9), first = head * T + firstQuery, at = first * S;
  const used = seenTo(ranges, rows - 1, start, count), more = asksMore();
  const o = element(address(3), at), dO = element(address(16), at);
  packA(spaceForA(), element(address(0), at), rows, S, S, 1);
  multiplySeen(spaceForA(), keys, scores(), width, rows, S, ranges, start, count);
  packA(spaceForA(), dO, rows, S, S, 1);
  multiplySeen(spaceForA(), values, scoreGradients(), width, rows, S, ranges, start, count);
  for (let row: i32 = 0; row < rows; ++row) {
    const from = seenFrom(ranges, row, start, count), to = seenTo(ranges, row, start, count);
    const line = element(scores(), row * width), gradient = element(scoreGradients(), row * width);
    const L = f32.load(element(address(4), first + row)), D = outputProduct(element(dO, row * S), element(o, row * S), S);
    if (!more) differentiateRow(line, gradient, from, to, used, L, D);
    else {
      const ofRow = ranges + <usize>(12 * row);
      differentiateRowFully(line, gradient, from, to, used, L, D, head, firstQuery + row, ofRow, start, ofScores);
    }
  }
}
