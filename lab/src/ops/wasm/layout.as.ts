/**
 * @file Operations that only move numbers: transposition, slices, rows of a table, and the sum of rows that share a label (the gradient of gather).
 */
import { element } from '../matmul/pack.as';
import { address, argument } from './parallel.as';

/** [down, across] at `from` with those steps → contiguous at `to`; four by four where one step is 1. */
@inline function transposeBlock(from: usize, to: usize, down: i32, across: i32, stepDown: i32, stepAcross: i32): void {
  for (let i: i32 = 0; i < down; i += 4) {
    const height = min(4, down - i);
    for (let j: i32 = 0; j < across; j += 4) {
      const width = min(4, across - j), source = element(from, i * stepDown + j * stepAcross), target = element(to, i * across + j);
      if (height == 4 && width == 4 && stepDown == 1) {
        const a = v128.load(source), b = v128.load(element(source, stepAcross));
        const c = v128.load(element(source, 2 * stepAcross)), d = v128.load(element(source, 3 * stepAcross));
        const ab01 = i32x4.shuffle(a, b, 0, 4, 1, 5), ab23 = i32x4.shuffle(a, b, 2, 6, 3, 7);
        const cd01 = i32x4.shuffle(c, d, 0, 4, 1, 5), cd23 = i32x4.shuffle(c, d, 2, 6, 3, 7);
        v128.store(target, i64x2.shuffle(ab01, cd01, 0, 2));
        v128.store(element(target, across), i64x2.shuffle(ab01, cd01, 1, 3));
        v128.store(element(target, 2 * across), i64x2.shuffle(ab23, cd23, 0, 2));
        v128.store(element(target, 3 * across), i64x2.shuffle(ab23, cd23, 1, 3));
      } else {
        for (let y: i32 = 0; y < height; ++y) {
          for (let x: i32 = 0; x < width; ++x) {
            i32.store(element(target, y * across + x), i32.load(element(source, y * stepDown + x * stepAcross)));
          }
        }
      }
    }
  }
}

@inline function copyRows(from: usize, to: usize, down: i32, across: i32, stepDown: i32): void {
  for (let i: i32 = 0; i < down; ++i) {
    let j: i32 = 0;
    for (; j + 4 <= across; j += 4) v128.store(element(to, j), v128.load(element(from, j)));
    for (; j < across; ++j) i32.store(element(to, j), i32.load(element(from, j)));
    from = element(from, stepDown);
    to = element(to, across);
  }
}

/**
 * Copies a strided view of x to a contiguous output, as [down, across] matrices; any elements of four bytes.
 *
 * 0 x, 1 output, 2 matrices, 3 matrices in a chunk, 4 down, 5 across, 6, 7 the steps of x along these
 * 8 number of outer axes; from 9 on, for each: its size and the step of x
 */
export function rearrange(chunk: i32): void {
  const down = argument(4), across = argument(5), stepDown = argument(6), stepAcross = argument(7), axes = argument(8);
  const first = chunk * argument(3), last = min(argument(2), first + argument(3));
  for (let matrix = first; matrix < last; ++matrix) {
    let from = address(0), rest = matrix;
    for (let axis = axes - 1; axis >= 0; --axis) {
      const size = argument(9 + 2 * axis), outer = rest / size;
      from = element(from, (rest - outer * size) * argument(10 + 2 * axis));
      rest = outer;
    }
    const to = element(address(1), matrix * down * across);
    if (stepAcross == 1) copyRows(from, to, down, across, stepDown);
    else transposeBlock(from, to, down, across, stepDown, stepAcross);
  }
}

/** output[i, :] = x[index[i], :]. 0 x, 1 indices, 2 output, 3 indices, 4 columns, 5 indices in a chunk */
export function gatherRows(chunk: i32): void {
  const columns = argument(4), first = chunk * argument(5), last = min(argument(3), first + argument(5));
  for (let i = first; i < last; ++i) {
    const index = i32.load(element(address(1), i));
    copyRows(element(address(0), index * columns), element(address(2), i * columns), 1, columns, 0);
  }
}

/**
 * output[label[i], :] += x[i, :], for some columns: every thread adds in the same order. Labels outside the output are skipped.
 *
 * 0 x [rows, columns], 1 labels [rows], 2 output [segments, columns], 3 rows, 4 columns, 5 segments, 6 columns in a chunk
 */
export function addSegments(chunk: i32): void {
  const rows = argument(3), columns = argument(4), segments = argument(5);
  const first = chunk * argument(6), last = min(columns, first + argument(6));
  for (let segment: i32 = 0; segment < segments; ++segment) {
    for (let j = first; j < last; ++j) f32.store(element(address(2), segment * columns + j), 0);
  }
  for (let i: i32 = 0; i < rows; ++i) {
    const label = i32.load(element(address(1), i));
    if (label < 0 || label >= segments) continue;
    const from = element(address(0), i * columns), to = element(address(2), label * columns);
    let j = first;
    for (; j + 4 <= last; j += 4) v128.store(element(to, j), f32x4.add(v128.load(element(to, j)), v128.load(element(from, j))));
    for (; j < last; ++j) f32.store(element(to, j), f32.load(element(to, j)) + f32.load(element(from, j)));
  }
}
