/**
 * @file What a linear layer does to a product once its sums are complete, while they are still in the cache: add the bias,
 * bend by GELU, or multiply by a derivative kept from the forward pass.
 */
import { AS_IT_IS, GELU, TIMES } from '../wasm/operations';
import { address, argument } from '../wasm/parallel.as';
import { geluShare, geluSlope, loadPart, storePart } from '../wasm/vectors.as';
import { element } from './pack.as';

/** c += other, c *= other: two vectors a turn, neighbours stored together, which V8 widens to 256 bits. */
@inline function combineRow(add: bool, c: usize, other: usize, n: i32): void {
  let i: i32 = 0;
  for (; i + 8 <= n; i += 8) {
    const x0 = v128.load(c), x1 = v128.load(c, 16), y0 = v128.load(other), y1 = v128.load(other, 16);
    const r0 = add ? f32x4.add(x0, y0) : f32x4.mul(x0, y0), r1 = add ? f32x4.add(x1, y1) : f32x4.mul(x1, y1);
    v128.store(c, r0);
    v128.store(c, r1, 16);
    c += 32; other += 32;
  }
  for (; i < n; ++i) {
    f32.store(c, add ? f32.load(c) + f32.load(other) : f32.load(c) * f32.load(other));
    c += 4; other += 4;
  }
}

/** c = gelu(c), and with `keep` its derivative in `slope`. */
@inline function geluRow(keep: bool, c: usize, slope: usize, n: i32): void {
  let i: i32 = 0;
  for (; i + 8 <= n; i += 8) {
    const x0 = v128.load(c), x1 = v128.load(c, 16);
    const square0 = f32x4.mul(x0, x0), square1 = f32x4.mul(x1, x1);
    const share0 = geluShare(x0, square0), share1 = geluShare(x1, square1);
    const y0 = f32x4.mul(x0, share0), y1 = f32x4.mul(x1, share1);
    v128.store(c, y0);
    v128.store(c, y1, 16);
    if (keep) {
      const d0 = geluSlope(x0, square0, share0), d1 = geluSlope(x1, square1, share1);
      v128.store(slope, d0);
      v128.store(slope, d1, 16);
      slope += 32;
    }
    c += 32;
  }
  for (; i < n; i += 4) {
    const count = min(4, n - i);
    const x = count == 4 ? v128.load(c) : loadPart(c, count), square = f32x4.mul(x, x), share = geluShare(x, square);
    if (count == 4) v128.store(c, f32x4.mul(x, share));
    else storePart(c, f32x4.mul(x, share), count);
    if (keep) {
      if (count == 4) v128.store(slope, geluSlope(x, square, share));
      else storePart(slope, geluSlope(x, square, share), count);
      slope += 16;
    }
    c += 16;
  }
}

/**
 * Finishes a block of C whose first element is c[firstRow, firstColumn].
 *
 * 2 c, 4 n, 18 how, 19 bias [n] or 0, 20 the derivative to write (GELU, 0 for none) or the factor to read (TIMES), [m, n]
 */
export function finishBlock(firstRow: i32, firstColumn: i32, rows: i32, columns: i32): void {
  const n = argument(4), how = argument(18), bias = address(19), beside = address(20);
  if (how == AS_IT_IS) return;
  for (let row = firstRow; row < firstRow + rows; ++row) {
    const at = row * n + firstColumn, c = element(address(2), at), other = element(beside, at);
    if (how == TIMES) combineRow(false, c, other, columns);
    else if (bias != 0) combineRow(true, c, element(bias, firstColumn), columns);
    if (how != GELU) continue;
    if (beside != 0) geluRow(true, c, other, columns);
    else geluRow(false, c, 0, columns);
  }
}

/** The same for a product that was not finished block by block. 3 m, 10 rows in a chunk, the rest as above */
export function finish(chunk: i32): void {
  const first = chunk * argument(10);
  finishBlock(first, 0, min(argument(10), argument(3) - first), argument(4));
}
