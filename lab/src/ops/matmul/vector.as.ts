/**
 * @file The product of a few rows with a matrix, as in generating one token at a time: every element of B is used only once or
 * twice, so packing it would cost more than it saves. B is read where it lies, in the direction in which it is stored.
 */
import { address, argument } from '../wasm/parallel.as';
import { sumOf } from '../wasm/vectors.as';
import { element } from './pack.as';
import { multiplyAdd } from './tile.as';

/** B stored row by row: c[j..j+16] = Σ_k a[k] b[k, j..j+16], sixteen sums at a time. */
function alongRows(a: usize, stepA: usize, b: usize, stepB: usize, c: usize, columns: i32, k: i32): void {
  let j: i32 = 0;
  for (; j + 16 <= columns; j += 16) {
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, from = element(b, j), factor = a;
    for (let i: i32 = 0; i < k; ++i) {
      const spread = v128.load32_splat(factor);
      s0 = multiplyAdd(spread, v128.load(from), s0);
      s1 = multiplyAdd(spread, v128.load(from, 16), s1);
      s2 = multiplyAdd(spread, v128.load(from, 32), s2);
      s3 = multiplyAdd(spread, v128.load(from, 48), s3);
      from += stepB;
      factor += stepA;
    }
    const to = element(c, j);
    v128.store(to, s0);
    v128.store(to, s1, 16);
    v128.store(to, s2, 32);
    v128.store(to, s3, 48);
  }
  for (; j < columns; ++j) {
    let sum: f32 = 0, from = element(b, j), factor = a;
    for (let i: i32 = 0; i < k; ++i) {
      sum += f32.load(factor) * f32.load(from);
      from += stepB;
      factor += stepA;
    }
    f32.store(element(c, j), sum);
  }
}

/** B stored column by column, a contiguous: c[j] = Σ_k a[k] b[k, j], eight terms at a time. */
function alongColumns(a: usize, b: usize, stepB: usize, c: usize, columns: i32, k: i32): void {
  for (let j: i32 = 0; j < columns; ++j) {
    let s0 = f32x4.splat(0), s1 = s0, i: i32 = 0;
    for (; i + 8 <= k; i += 8) {
      s0 = multiplyAdd(v128.load(element(a, i)), v128.load(element(b, i)), s0);
      s1 = multiplyAdd(v128.load(element(a, i), 16), v128.load(element(b, i), 16), s1);
    }
    let sum = sumOf(f32x4.add(s0, s1));
    for (; i < k; ++i) sum += f32.load(element(a, i)) * f32.load(element(b, i));
    f32.store(element(c, j), sum);
    b += stepB;
  }
}

/**
 * Some columns of C = A B for one matrix of the batch. Either B lies row by row, or A and B both lie along k.
 *
 *  0 a, 1 b, 2 c, 3 m, 4 n, 5 k
 *  6, 7   strides of A from row to row, from k to k;  8, 9  of B from k to k, from column to column
 * 10, 11  columns in a chunk, number of such chunks
 * 12      offsets in bytes of A and of B for each matrix of the batch, in pairs; 0 for a batch of one
 */
export function multiplyRows(chunk: i32): void {
  const m = argument(3), n = argument(4), k = argument(5), chunks = argument(11);
  const batch = chunk / chunks, first = (chunk - batch * chunks) * argument(10), columns = min(argument(10), n - first);
  let a = address(0), b = element(address(1), first * argument(9)), c = element(address(2), batch * m * n + first);
  const offsets = address(12);
  if (offsets != 0) {
    a += <usize>i32.load(offsets + ((<usize>batch) << 3));
    b += <usize>i32.load(offsets + ((<usize>batch) << 3), 4);
  }
  for (let row: i32 = 0; row < m; ++row) {
    if (argument(9) == 1) alongRows(a, (<usize>argument(7)) << 2, b, (<usize>argument(8)) << 2, c, columns, k);
    else alongColumns(a, b, (<usize>argument(9)) << 2, c, columns, k);
    a = element(a, argument(6));
    c = element(c, n);
  }
}
