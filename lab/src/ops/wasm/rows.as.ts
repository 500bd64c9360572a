/**
 * @file Operations along the rows or down the columns of a matrix: softmax, sums, means, maxima.
 */
import { element } from '../matmul/pack.as';
import { ROW_MAX, ROW_MEAN } from './operations';
import { address, argument } from './parallel.as';
import { exp, largestOf, loadPart, storePart, sumOf } from './vectors.as';

/** The largest of n ≥ 1 numbers. A NaN may be passed over here: whoever subtracts the result meets it again. */
@inline export function largest(from: usize, n: i32): f32 {
  if (n < 4) {
    let m = f32.load(from);
    for (let i: i32 = 1; i < n; ++i) m = max(m, f32.load(element(from, i)));
    return m;
  }
  let m = v128.load(from);
  for (let i: i32 = 4; i + 4 <= n; i += 4) m = f32x4.pmax(m, v128.load(element(from, i)));
  // The last four, some of them perhaps for the second time.
  return largestOf(f32x4.pmax(m, v128.load(element(from, n - 4))));
}

/** softmax(x) = exp(x - max) / Σ exp(x - max) of some rows. 0 x, 1 output, 2 rows, 3 columns, 4 rows in a chunk */
export function softmax(chunk: i32): void {
  const columns = argument(3), first = chunk * argument(4), last = min(argument(2), first + argument(4));
  for (let row = first; row < last; ++row) {
    const from = element(address(0), row * columns), to = element(address(1), row * columns);
    const top = f32x4.splat(largest(from, columns));
    let sums = f32x4.splat(0), i: i32 = 0;
    for (; i + 4 <= columns; i += 4) {
      const e = exp(f32x4.sub(v128.load(element(from, i)), top));
      v128.store(element(to, i), e);
      sums = f32x4.add(sums, e);
    }
    let sum = sumOf(sums);
    if (i < columns) {
      const e = exp(f32x4.sub(loadPart(element(from, i), columns - i), top));
      storePart(element(to, i), e, columns - i);
      sum += sumOf(loadPart(element(to, i), columns - i));
    }
    const share = f32x4.splat(1 / sum);
    for (i = 0; i + 4 <= columns; i += 4) v128.store(element(to, i), f32x4.mul(v128.load(element(to, i)), share));
    for (; i < columns; ++i) f32.store(element(to, i), f32.load(element(to, i)) * f32x4.extract_lane(share, 0));
  }
}

@inline function rowSum(from: usize, n: i32): f32 {
  let s0 = f32x4.splat(0), s1 = s0, i: i32 = 0;
  for (; i + 8 <= n; i += 8) {
    s0 = f32x4.add(s0, v128.load(element(from, i)));
    s1 = f32x4.add(s1, v128.load(element(from, i), 16));
  }
  let sum = sumOf(f32x4.add(s0, s1));
  for (; i < n; ++i) sum += f32.load(element(from, i));
  return sum;
}

/** The largest number, or NaN if there is one. */
@inline function rowMax(from: usize, n: i32): f32 {
  let m = f32x4.splat(-Infinity), i: i32 = 0;
  for (; i + 4 <= n; i += 4) m = f32x4.max(m, v128.load(element(from, i)));
  let top = largestOf(m);
  for (; i < n; ++i) top = max(top, f32.load(element(from, i)));
  return top;
}

/** One number for each row. 0 x, 1 output, 2 rows, 3 columns, 4 rows in a chunk, 5 which */
export function reduceRows(chunk: i32): void {
  const columns = argument(3), first = chunk * argument(4), last = min(argument(2), first + argument(4));
  const kind = argument(5);
  for (let row = first; row < last; ++row) {
    const from = element(address(0), row * columns);
    const value = kind == ROW_MAX ? rowMax(from, columns) : rowSum(from, columns);
    f32.store(element(address(1), row), kind == ROW_MEAN ? value / <f32>columns : value);
  }
}

/**
 * Sums over the middle axis of x [outer, rows, columns], a part of the rows at a time: parts are [outer, parts, columns].
 *
 * 0 x, 1 output, 2 outer, 3 rows, 4 columns, 5 rows in a part, 6 parts, 7 columns in a chunk, 8 chunks of columns
 */
export function sumColumns(chunk: i32): void {
  const rows = argument(3), columns = argument(4), parts = argument(6), columnChunks = argument(8);
  const partOfAll = chunk / columnChunks, columnChunk = chunk - partOfAll * columnChunks;
  const outer = partOfAll / parts, part = partOfAll - outer * parts;
  const firstRow = part * argument(5), count = min(argument(5), rows - firstRow);
  const firstColumn = columnChunk * argument(7), lastColumn = min(columns, firstColumn + argument(7));
  const from = element(address(0), (outer * rows + firstRow) * columns);
  const to = element(address(1), partOfAll * columns);
  const step = (<usize>columns) << 2;
  let j = firstColumn;
  for (; j + 16 <= lastColumn; j += 16) {
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, at = element(from, j);
    for (let i: i32 = 0; i < count; ++i) {
      s0 = f32x4.add(s0, v128.load(at));
      s1 = f32x4.add(s1, v128.load(at, 16));
      s2 = f32x4.add(s2, v128.load(at, 32));
      s3 = f32x4.add(s3, v128.load(at, 48));
      at += step;
    }
    const target = element(to, j);
    v128.store(target, s0);
    v128.store(target, s1, 16);
    v128.store(target, s2, 32);
    v128.store(target, s3, 48);
  }
  for (; j < lastColumn; ++j) {
    let sum: f32 = 0, at = element(from, j);
    for (let i: i32 = 0; i < count; ++i) {
      sum += f32.load(at);
      at += step;
    }
    f32.store(element(to, j), sum);
  }
}
