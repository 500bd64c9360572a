/**
 * @file Packing: blocks of A and B are copied into strips in the order in which the register tile will read them,
 * so that it only ever reads forward, whatever the transposition (Goto and van de Geijn 2008, section 4.2.3).
 *
 *   A: strips of ROWS rows,       k-major:  a[0..ROWS, k=0], a[0..ROWS, k=1], …
 *   B: strips of COLUMNS columns, k-major:  b[k=0, 0..COLUMNS], b[k=1, 0..COLUMNS], …
 *
 * The last strip is filled up with zeros. Strides are in elements: `across` from row to row of A (column to column of B),
 * `along` from one k to the next. One of them is 1, the other says which way the matrix is stored.
 */
import { COLUMNS, ROWS } from './tile.as';

@inline export function element(base: usize, index: i32): usize { return base + ((<usize>index) << 2); }

/** A full strip whose `width` elements lie side by side in memory: copied as they are. */
@inline function copyStrip(to: usize, from: usize, depth: i32, along: i32, width: i32): void {
  const step = (<usize>along) << 2;
  for (let k: i32 = 0; k < depth; ++k) {
    let i: i32 = 0;
    for (; i + 4 <= width; i += 4) v128.store(element(to, i), v128.load(element(from, i)));
    if (width & 2) { i64.store(element(to, i), i64.load(element(from, i))); i += 2; }
    if (width & 1) f32.store(element(to, i), f32.load(element(from, i)));
    to += (<usize>width) << 2;
    from += step;
  }
}

/** Four rows of a strip that lie along k in memory: transposed in registers, 4 × 4 at a time. */
@inline function transposeFour(to: usize, from: usize, depth: i32, across: i32, width: i32): void {
  const r1 = element(from, across), r2 = element(r1, across), r3 = element(r2, across);
  const step = (<usize>width) << 2;
  let at: usize = 0;
  let k: i32 = 0;
  for (; k + 4 <= depth; k += 4) {
    const a = v128.load(from + at), b = v128.load(r1 + at), c = v128.load(r2 + at), d = v128.load(r3 + at);
    const ab01 = i32x4.shuffle(a, b, 0, 4, 1, 5), ab23 = i32x4.shuffle(a, b, 2, 6, 3, 7);
    const cd01 = i32x4.shuffle(c, d, 0, 4, 1, 5), cd23 = i32x4.shuffle(c, d, 2, 6, 3, 7);
    v128.store(to, i64x2.shuffle(ab01, cd01, 0, 2));
    v128.store(to + step, i64x2.shuffle(ab01, cd01, 1, 3));
    v128.store(to + 2 * step, i64x2.shuffle(ab23, cd23, 0, 2));
    v128.store(to + 3 * step, i64x2.shuffle(ab23, cd23, 1, 3));
    to += 4 * step;
    at += 16;
  }
  for (; k < depth; ++k) {
    f32.store(to, f32.load(from + at));
    f32.store(to, f32.load(r1 + at), 4);
    f32.store(to, f32.load(r2 + at), 8);
    f32.store(to, f32.load(r3 + at), 12);
    to += step;
    at += 4;
  }
}

/** The same for two rows. */
@inline function transposeTwo(to: usize, from: usize, depth: i32, across: i32, width: i32): void {
  const r1 = element(from, across);
  const step = (<usize>width) << 2;
  let at: usize = 0;
  let k: i32 = 0;
  for (; k + 4 <= depth; k += 4) {
    const a = v128.load(from + at), b = v128.load(r1 + at);
    const ab01 = i32x4.shuffle(a, b, 0, 4, 1, 5), ab23 = i32x4.shuffle(a, b, 2, 6, 3, 7);
    v128.store64_lane(to, ab01, 0);
    v128.store64_lane(to + step, ab01, 1);
    v128.store64_lane(to + 2 * step, ab23, 0);
    v128.store64_lane(to + 3 * step, ab23, 1);
    to += 4 * step;
    at += 16;
  }
  for (; k < depth; ++k) {
    f32.store(to, f32.load(from + at));
    f32.store(to, f32.load(r1 + at), 4);
    to += step;
    at += 4;
  }
}

/** `width` rows starting at `from`, k by k, any strides; rows from `present` on are zeros. */
@inline function gatherStrip(to: usize, from: usize, depth: i32, across: i32, along: i32, present: i32, width: i32): void {
  for (let i: i32 = 0; i < width; ++i) {
    let source = element(from, i * across), target = element(to, i);
    for (let k: i32 = 0; k < depth; ++k) {
      f32.store(target, i < present ? f32.load(source) : 0);
      source += (<usize>along) << 2;
      target += (<usize>width) << 2;
    }
  }
}

/** k is walked in steps of so many terms where elements of neighbouring strips share cache lines: they are still there. */
const TERMS_IN_STEP: i32 = 32;

/** Full strips whose rows lie side by side in memory. */
@inline function copyStrips(to: usize, from: usize, count: i32, depth: i32, along: i32, width: i32): void {
  for (let k: i32 = 0; k < depth; k += TERMS_IN_STEP) {
    const terms = min(TERMS_IN_STEP, depth - k);
    for (let first: i32 = 0; first + width <= count; first += width) {
      copyStrip(element(to, first * depth + k * width), element(from, first + k * along), terms, along, width);
    }
  }
}

@inline function packStrips(to: usize, from: usize, count: i32, depth: i32, across: i32, along: i32, width: i32): void {
  if (across == 1) copyStrips(to, from, count, depth, along, width);
  for (let first: i32 = across == 1 ? count / width * width : 0; first < count; first += width) {
    const present = min(width, count - first);
    const source = element(from, first * across), target = element(to, first * depth);
    if (present < width) gatherStrip(target, source, depth, across, along, present, width);
    else if (along == 1) {
      let i: i32 = 0;
      for (; i + 4 <= width; i += 4) transposeFour(element(target, i), element(source, i * across), depth, across, width);
      if (width & 2) { transposeTwo(element(target, i), element(source, i * across), depth, across, width); i += 2; }
      if (width & 1) gatherRow(element(target, i), element(source, i * across), depth, width);
    } else gatherStrip(target, source, depth, across, along, width, width);
  }
}

/** One row that lies along k in memory. */
@inline function gatherRow(to: usize, from: usize, depth: i32, width: i32): void {
  for (let k: i32 = 0; k < depth; ++k) {
    f32.store(to, f32.load(from));
    from += 4;
    to += (<usize>width) << 2;
  }
}

export function packA(to: usize, from: usize, rows: i32, depth: i32, across: i32, along: i32): void {
  packStrips(to, from, rows, depth, across, along, ROWS);
}

export function packB(to: usize, from: usize, columns: i32, depth: i32, across: i32, along: i32): void {
  packStrips(to, from, columns, depth, across, along, COLUMNS);
}
