/**
 * @file What a problem may ask beyond the plain path, row by row: how products q · k become the scores that enter the softmax
 * (soft cap, ALiBi, bias), and which weights dropout forgets (the hash of dropout.ts, four at a time).
 *
 * A row holds the products of one query with the keys of a tile; it is worked on from one multiple of eight to another, and
 * what that takes in besides the range [from, to) that the query sees is hidden or cleared afterwards.
 */
import { element } from '../matmul/pack.as';
import { multiplyAdd } from '../matmul/tile.as';
import { address, argument, number } from '../wasm/parallel.as';
import { tanh } from '../wasm/vectors.as';
import { CHANGES_SCORES, FORGETS, HEAD_STEP, KEY_STEP, QUERY_STEP } from './shared';
import { scaleRow, steepness } from './tiles.as';

/**
 * The arguments that say what is asked:
 * 20 bits of shared.ts, 21 soft cap or 0, 22 slopes [H] or 0,
 * 23 bias or 0, 24 … 27 its strides along B, H, T and U, 0 where it is broadcast,
 * 28 dropout's seed, 29 what a hash must reach for the weight to be kept, 30 what a kept weight is multiplied by
 */
@inline export function asksMore(): bool { return argument(20) != 0; }
@inline export function changesScores(): bool { return (argument(20) & CHANGES_SCORES) != 0; }
@inline export function forgets(): bool { return (argument(20) & FORGETS) != 0; }
@inline export function caps(): bool { return number(21) > 0; }

/** row = cap · tanh(row · scale / cap) over [from, to), and its derivative by what is under the tanh. */
function capRow(row: usize, from: i32, to: i32, scale: f32): void {
  const cap = f32x4.splat(number(21)), inner = f32x4.splat(scale / number(21)), one = f32x4.splat(1);
  for (let j = from; j < to; j += 4) {
    const t = tanh(f32x4.mul(v128.load(element(row, j)), inner));
    v128.store(element(row, j), f32x4.mul(cap, t));
    v128.store(element(steepness(), j), f32x4.sub(one, f32x4.mul(t, t)));
  }
}

/** row[j] −= slope · |place − j| over [from, to) */
function penalizeDistance(row: usize, from: i32, to: i32, place: i32, slope: f32): void {
  const step = f32x4.splat(4), slopes = f32x4.splat(-slope);
  let distance = f32x4.sub(f32x4.splat(<f32>(place - from)), f32x4(0, 1, 2, 3));
  for (let j = from; j < to; j += 4) {
    v128.store(element(row, j), multiplyAdd(slopes, f32x4.abs(distance), v128.load(element(row, j))));
    distance = f32x4.sub(distance, step);
  }
}

/** row[from, to) += bias, of which just these entries are there */
function addBias(row: usize, from: i32, to: i32, bias: usize, stride: i32): void {
  let j = from;
  if (stride == 0) {
    for (; j < to; ++j) f32.store(element(row, j), f32.load(element(row, j)) + f32.load(bias));
    return;
  }
  for (; j + 4 <= to; j += 4) {
    v128.store(element(row, j), f32x4.add(v128.load(element(row, j)), v128.load(bias)));
    bias += 16;
  }
  for (; j < to; ++j) {
    f32.store(element(row, j), f32.load(element(row, j)) + f32.load(bias));
    bias += 4;
  }
}

/** Products become scores. @param head b · H + h @param ranges of this query @param start the tile's first key */
export function finishScores(row: usize, from: i32, to: i32, head: i32, query: i32, ranges: usize, start: i32): void {
  const batch = head / argument(5), h = head - batch * argument(5), first = from & ~7, end = (to + 7) & ~7;
  if (caps()) capRow(row, first, end, number(10));
  else scaleRow(element(row, first), end - first, number(10));
  if (address(22) != 0) {
    penalizeDistance(row, first, end, query + i32.load(ranges, 8) - start, f32.load(element(address(22), h)));
  }
  if (address(23) != 0) {
    const place = batch * argument(24) + h * argument(25) + query * argument(26) + (start + from) * argument(27);
    addBias(row, from, to, element(address(23), place), argument(27));
  }
}

@inline function mix(x: i32): i32 {
  let h = x;
  h = (h ^ (h >>> 16)) * <i32>QUERY_STEP;
  h = (h ^ (h >>> 13)) * <i32>KEY_STEP;
  return h ^ (h >>> 16);
}

/** row[from, to) times 0 where the weight is forgotten, else times 1/(1 − rate). */
export function forgetRow(row: usize, from: i32, to: i32, head: i32, query: i32, start: i32): void {
  const ofRow = mix(mix(argument(28) ^ ((head + 1) * <i32>HEAD_STEP)) + (query + 1) * <i32>QUERY_STEP), first = from & ~7;
  const threshold = i32x4.splat(argument(29)), kept = f32x4.splat(number(30));
  const multiplier1 = i32x4.splat(<i32>QUERY_STEP), multiplier2 = i32x4.splat(<i32>KEY_STEP);
  const step = i32x4.splat(<i32>KEY_STEP * 4);
  const keys = i32x4.add(i32x4.splat(start + first + 1), i32x4(0, 1, 2, 3));
  let counter = i32x4.add(i32x4.splat(ofRow), i32x4.mul(keys, i32x4.splat(<i32>KEY_STEP)));
  for (let j = first; j < to; j += 4) {
    let h = counter;
    h = i32x4.mul(v128.xor(h, i32x4.shr_u(h, 16)), multiplier1);
    h = i32x4.mul(v128.xor(h, i32x4.shr_u(h, 13)), multiplier2);
    h = v128.xor(h, i32x4.shr_u(h, 16));
    const at = element(row, j);
    v128.store(at, v128.and(f32x4.mul(v128.load(at), kept), i32x4.ge_u(h, threshold)));
    counter = i32x4.add(counter, step);
  }
}
