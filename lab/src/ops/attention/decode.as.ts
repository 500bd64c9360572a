/**
 * @file Attention of a few queries over a long cache, on wasm, as in decoding. The keys are split, as there are too few
 * queries to share out, and the parts are joined by their maxima and sums (Dao et al. 2023, Flash-Decoding). Every key and
 * value is read once, where it lies, for all query heads that share it: reading them is the whole cost.
 *
 * Shapes: B batch, H heads, K key/value heads, G = H / K, T queries, U keys, S head size.
 */
import { element } from '../matmul/pack.as';
import { multiplyAdd } from '../matmul/tile.as';
import { address, argument } from '../wasm/parallel.as';
import { boundedExp } from '../wasm/vectors.as';
import { finishRow, rowState, weighRowFully } from './forward.as';
import { SPLIT_KEYS } from './shared';
import { scores, seenFrom, seenTo } from './tiles.as';

/** Keys whose values stay in the first-level cache while all sums go over them. */
const KEYS_IN_STEP: i32 = 64;

/** The four sums of four vectors, as one. */
@inline function sumsOfFour(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(i32x4.shuffle(c, d, 0, 4, 1, 5), i32x4.shuffle(c, d, 2, 6, 3, 7));
  return f32x4.add(i64x2.shuffle(ab, cd, 0, 2), i64x2.shuffle(ab, cd, 1, 3));
}

@inline function fourNumbers(a: usize, b: usize, c: usize, d: usize): v128 {
  return v128.load32_lane(d, v128.load32_lane(c, v128.load32_lane(b, v128.load32_zero(a), 1), 2), 3);
}

/** The products of two queries with four keys. */
function multiplyFour(q0: usize, q1: usize, k0: usize, k1: usize, k2: usize, k3: usize, S: i32, to0: usize, to1: usize): void {
  let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0, d: i32 = 0;
  for (; d + 4 <= S; d += 4) {
    const x = v128.load(element(q0, d)), y = v128.load(element(q1, d));
    const u0 = v128.load(element(k0, d)), u1 = v128.load(element(k1, d));
    const u2 = v128.load(element(k2, d)), u3 = v128.load(element(k3, d));
    a0 = multiplyAdd(x, u0, a0); a1 = multiplyAdd(x, u1, a1); a2 = multiplyAdd(x, u2, a2); a3 = multiplyAdd(x, u3, a3);
    b0 = multiplyAdd(y, u0, b0); b1 = multiplyAdd(y, u1, b1); b2 = multiplyAdd(y, u2, b2); b3 = multiplyAdd(y, u3, b3);
  }
  let x = sumsOfFour(a0, a1, a2, a3), y = sumsOfFour(b0, b1, b2, b3);
  for (; d < S; ++d) {
    const u = fourNumbers(element(k0, d), element(k1, d), element(k2, d), element(k3, d));
    x = multiplyAdd(v128.load32_splat(element(q0, d)), u, x);
    y = multiplyAdd(v128.load32_splat(element(q1, d)), u, y);
  }
  v128.store(to0, x);
  v128.store(to1, y);
}

/** Products of all rows with keys [from, to) of this split; the last four keys may be some of them twice. */
export function multiplyKeys(q: usize, keys: usize, rows: i32, S: i32, from: i32, to: i32): void {
  for (let u = from & ~3; u < to; u += 4) {
    const k0 = element(keys, u * S), k1 = element(keys, min(u + 1, to - 1) * S);
    const k2 = element(keys, min(u + 2, to - 1) * S), k3 = element(keys, min(u + 3, to - 1) * S);
    for (let row: i32 = 0; row < rows; row += 2) {
      const other = min(row + 1, rows - 1); // an odd row out is done twice
      const to0 = element(scores(), row * SPLIT_KEYS + u), to1 = element(scores(), other * SPLIT_KEYS + u);
      multiplyFour(element(q, row * S), element(q, other * S), k0, k1, k2, k3, S, to0, to1);
    }
  }
}

/** Two rows of sums += their weights times the values, sixteen columns at a time. */
function addValues(p0: usize, p1: usize, values: usize, count: i32, S: i32, o0: usize, o1: usize): void {
  const step = (<usize>S) << 2;
  let d: i32 = 0;
  for (; d + 16 <= S; d += 16) {
    const x = element(o0, d), y = element(o1, d);
    let a0 = v128.load(x), a1 = v128.load(x, 16), a2 = v128.load(x, 32), a3 = v128.load(x, 48);
    let b0 = v128.load(y), b1 = v128.load(y, 16), b2 = v128.load(y, 32), b3 = v128.load(y, 48), v = element(values, d);
    for (let u: i32 = 0; u < count; ++u) {
      const v0 = v128.load(v), v1 = v128.load(v, 16), v2 = v128.load(v, 32), v3 = v128.load(v, 48);
      const s = v128.load32_splat(element(p0, u)), t = v128.load32_splat(element(p1, u));
      a0 = multiplyAdd(s, v0, a0); a1 = multiplyAdd(s, v1, a1); a2 = multiplyAdd(s, v2, a2); a3 = multiplyAdd(s, v3, a3);
      b0 = multiplyAdd(t, v0, b0); b1 = multiplyAdd(t, v1, b1); b2 = multiplyAdd(t, v2, b2); b3 = multiplyAdd(t, v3, b3);
      v += step;
    }
    v128.store(x, a0); v128.store(x, a1, 16); v128.store(x, a2, 32); v128.store(x, a3, 48);
    v128.store(y, b0); v128.store(y, b1, 16); v128.store(y, b2, 32); v128.store(y, b3, 48);
  }
  for (; d < S; ++d) {
    let a = f32.load(element(o0, d)), b = f32.load(element(o1, d)), v = element(values, d);
    for (let u: i32 = 0; u < count; ++u) {
      a += f32.load(element(p0, u)) * f32.load(v);
      b += f32.load(element(p1, u)) * f32.load(v);
      v += step;
    }
    f32.store(element(o0, d), a);
    f32.store(element(o1, d), b);
  }
}

/** Sums of all rows, `gap` elements apart, over the values of keys [from, to). */
export function sumValues(values: usize, rows: i32, S: i32, from: i32, to: i32, o: usize, gap: i32): void {
  for (let u = from; u < to; u += KEYS_IN_STEP) {
    const count = min(KEYS_IN_STEP, to - u), first = element(values, u * S), weights = element(scores(), u);
    for (let row: i32 = 0; row < rows; row += 2) {
      // An odd row out adds to itself only once: both sums begin alike and end alike.
      const other = min(row + 1, rows - 1);
      const p0 = element(weights, row * SPLIT_KEYS), p1 = element(weights, other * SPLIT_KEYS);
      addValues(p0, p1, first, count, S, element(o, row * gap), element(o, other * gap));
    }
  }
}

/**
 * One split of the keys, for all queries of the heads that share one key/value head.
 *
 * 0 … 12 and 20 … 30 as in forward.as.ts
 * 13 splits, 14 where the parts of the output go [B, H, T, splits, S], 15 and of m and l [B, H, T, splits, 2];
 * a single split writes the output itself; 16 keys that k and v have room for
 */
export function attendFew(chunk: i32): void {
  const H = argument(5), K = argument(6), T = argument(7), U = argument(8), S = argument(9), splits = argument(13);
  const keyHead = chunk / splits, split = chunk - keyHead * splits, start = split * SPLIT_KEYS, count = min(SPLIT_KEYS, U - start);
  const batch = keyHead / K, group = H / K, firstHead = keyHead * group, rows = group * T, firstRow = firstHead * T;
  const ranges = address(11) + <usize>(argument(12) != 0 ? 12 * batch * T : 0);
  // Both ends of the ranges only move forward from query to query.
  const first = seenFrom(ranges, 0, start, count), end = seenTo(ranges, T - 1, start, count);
  const o = splits == 1 ? element(address(3), firstRow * S) : element(address(14), (firstRow * splits + split) * S);
  const gap = splits * S, keyAt = (keyHead * argument(16) + start) * S;
  multiplyKeys(element(address(0), firstRow * S), element(address(1), keyAt), rows, S, first, end);
  for (let row: i32 = 0; row < rows; ++row) {
    const head = firstHead + row / T, query = row % T, ofQuery = ranges + <usize>(12 * query), state = rowState(row);
    const from = seenFrom(ofQuery, 0, start, count), to = seenTo(ofQuery, 0, start, count), sum = element(o, row * gap);
    f32.store(state, -Infinity);
    f32.store(state, 0, 4);
    memory.fill(sum, 0, (<usize>S) << 2);
    weighRowFully(row, element(scores(), row * SPLIT_KEYS), sum, from, to, end, head, query, ofQuery, start);
  }
  sumValues(element(address(2), keyAt), rows, S, first, end, o, gap);
  for (let row: i32 = 0; row < rows; ++row) {
    if (splits == 1) finishRow(row, element(o, row * gap), element(address(4), firstRow + row));
    else i64.store(element(address(15), 2 * ((firstRow + row) * splits + split)), i64.load(rowState(row)));
  }
}

/** O, L of one query from its parts: each is brought down to the largest m of all. The arguments are those of `attendFew`. */
export function joinParts(row: i32): void {
  const S = argument(9), splits = argument(13), states = element(address(15), 2 * row * splits), state = rowState(0);
  const o = element(address(3), row * S);
  let m: f32 = -Infinity, l: f32 = 0;
  for (let i: i32 = 0; i < splits; ++i) m = max(m, f32.load(element(states, 2 * i)));
  memory.fill(o, 0, (<usize>S) << 2);
  for (let i: i32 = 0; i < splits; ++i) {
    const mass = f32.load(element(states, 2 * i), 4);
    if (mass == 0) continue; // it saw nothing
    const factor = f32x4.extract_lane(boundedExp(f32x4.splat(f32.load(element(states, 2 * i)) - m)), 0);
    const part = element(address(14), (row * splits + i) * S);
    l += factor * mass;
    let d: i32 = 0;
    for (; d + 4 <= S; d += 4) {
      v128.store(element(o, d), multiplyAdd(f32x4.splat(factor), v128.load(element(part, d)), v128.load(element(o, d))));
    }
    for (; d < S; ++d) f32.store(element(o, d), f32.load(element(o, d)) + factor * f32.load(element(part, d)));
  }
  f32.store(state, m);
  f32.store(state, l, 4);
  finishRow(0, o, element(address(4), row));
}
