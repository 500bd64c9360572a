/**
 * @file Matrix multiplication C = A B in the layers of Goto and van de Geijn 2008 ("Anatomy of High-Performance Matrix
 * Multiplication") and BLIS (Van Zee and van de Geijn 2015): a register tile at the bottom, packed strips that feed it from the
 * caches, blocks around them. Transposition is only another pair of strides, dealt with while packing.
 *
 * m rows of A and C, n columns of B and C, k terms in each sum.
 */
import { address, argument, currentSequence } from '../wasm/parallel.as';
import { finishBlock } from './finish.as';
import { element, packA, packB } from './pack.as';
import { COLUMNS, ROWS, tileAdd, tileSet } from './tile.as';

/** Floats of packed B: 512 KiB, half of an ordinary core's second-level cache. */
const PACKED_B: i32 = 128 * 1024;
/** k is walked in steps of this many terms: a strip of B (512 · 8 floats, 16 KiB) then stays in the first-level cache. */
export const DEPTH: i32 = 512;
/** Rows of A that are packed at once; 132 is a multiple of the tile's 6 rows and holds a head's 128 queries whole. */
export const MOST_ROWS: i32 = 132;
/** The last strip may be cut short but is always packed whole. */
const SLACK: i32 = 2048;

let packedA: usize = 0;
let packedB: usize = 0;
/** A tile that hangs over the edge of C is computed here and copied in part. */
let edgeTile: usize = 0;
/** What is packed in `packedB`, so that the next row block need not pack it again. */
let packedFor: i32 = -1;
let packedBlock: i32 = -1;

export function packingSpace(): i32 {
  return (PACKED_B + SLACK + MOST_ROWS * DEPTH + SLACK + ROWS * COLUMNS) << 2;
}

export function usePackingSpace(start: usize): void {
  packedB = start;
  packedA = element(packedB, PACKED_B + SLACK);
  edgeTile = element(packedA, MOST_ROWS * DEPTH + SLACK);
}

/** For other operations that pack strips of their own: what `multiply` packed is lost, and it packs again in its next run. */
export function spaceForA(): usize { return packedA; }
export function spaceForB(): usize { return packedB; }

/** C += A B for a tile of which only some rows and columns are there. */
export function addEdge(a: usize, b: usize, depth: i32, c: usize, rowStride: i32, rows: i32, columns: i32): void {
  tileSet(a, b, depth, edgeTile, COLUMNS << 2);
  copyEdge(c, rowStride, rows, columns, true);
}

/** Adds (or sets) the part of the edge tile that lies inside C. */
function copyEdge(c: usize, rowStride: i32, rows: i32, columns: i32, add: bool): void {
  for (let i: i32 = 0; i < rows; ++i) {
    for (let j: i32 = 0; j < columns; ++j) {
      const target = element(c, i * rowStride + j);
      const value = f32.load(element(edgeTile, i * COLUMNS + j));
      f32.store(target, add ? f32.load(target) + value : value);
    }
  }
}

/** The two innermost loops of BLIS: every strip of A (packed in `spaceForA`) meets every strip of B in a register tile. */
export function multiplyPacked(b: usize, stripBytes: usize, c: usize, rowStride: i32, rows: i32, columns: i32, depth: i32, add: bool): void {
  const rowBytes = (<usize>rowStride) << 2;
  for (let j: i32 = 0; j < columns; j += COLUMNS) {
    const present = min(COLUMNS, columns - j);
    const stripB = b + (<usize>(j / COLUMNS)) * stripBytes;
    for (let i: i32 = 0; i < rows; i += ROWS) {
      const stripA = element(packedA, i * depth);
      const target = element(c, i * rowStride + j);
      if (rows - i >= ROWS && present == COLUMNS) {
        if (add) tileAdd(stripA, stripB, depth, target, rowBytes);
        else tileSet(stripA, stripB, depth, target, rowBytes);
      } else {
        tileSet(stripA, stripB, depth, edgeTile, COLUMNS << 2);
        copyEdge(target, rowStride, min(ROWS, rows - i), present, add);
      }
    }
  }
}

/**
 * One block of C, of one matrix of the batch, over one part of k. Row blocks follow each other fastest, so that a thread
 * that goes on to the next one finds its B packed already.
 *
 *  0 a, 1 b, 2 c   where the matrices are
 *  3 m, 4 n, 5 k
 *  6, 7            strides of A from row to row, from k to k
 *  8, 9            strides of B from k to k, from column to column
 * 10, 11           rows in a block, number of row blocks
 * 12, 13           columns in a block, number of column blocks
 * 14, 15           terms of k in a part, number of parts
 * 16               where the sums of the second and later parts go, each [m, n]
 * 17               offsets in bytes of A and of B for each matrix of the batch, in pairs; 0 for a batch of one
 * 18, 19, 20       what finishes C (finish.as.ts); only for k in one part and a batch of one
 * 21, 22           where the sums of the rows of A go, [m], and those of the second and later parts; 0 for nowhere
 * 23               1: C and the sums of A's rows are added to what stands there, 0: they take its place
 */
export function multiply(chunk: i32): void {
  const m = argument(3), n = argument(4), k = argument(5);
  const rowBlocks = argument(11), columnBlocks = argument(13), parts = argument(15);
  const columnsOfAll = chunk / rowBlocks;
  const rowBlock = chunk - columnsOfAll * rowBlocks;
  const partsOfAll = columnsOfAll / columnBlocks, columnBlock = columnsOfAll - partsOfAll * columnBlocks;
  const batch = partsOfAll / parts, part = partsOfAll - batch * parts;

  let a = address(0), b = address(1), c = element(address(2), batch * m * n);
  const offsets = address(17);
  if (offsets != 0) {
    a += <usize>i32.load(offsets + ((<usize>batch) << 3));
    b += <usize>i32.load(offsets + ((<usize>batch) << 3), 4);
  }
  const firstRow = rowBlock * argument(10), rows = min(argument(10), m - firstRow);
  const firstColumn = columnBlock * argument(12), columns = min(argument(12), n - firstColumn);
  const firstTerm = part * argument(14), terms = min(argument(14), k - firstTerm);
  if (part > 0) c = element(address(16), (part - 1) * m * n);

  let sums: usize = 0;
  if (argument(21) != 0 && columnBlock == 0) {
    sums = part > 0 ? element(address(22), (part - 1) * m + firstRow) : element(address(21), firstRow);
  }
  multiplyBlock(
    element(a, firstRow * argument(6) + firstTerm * argument(7)),
    element(b, firstTerm * argument(8) + firstColumn * argument(9)),
    element(c, firstRow * n + firstColumn), rows, columns, terms, columnsOfAll, sums,
    part == 0 && argument(23) != 0);
  finishBlock(firstRow, firstColumn, rows, columns);
}

/** Adds (or sets) the sums over the terms of packed A, row by row. */
function sumRows(to: usize, rows: i32, depth: i32, add: bool): void {
  for (let row: i32 = 0; row < rows; row += ROWS) {
    // The first and the last four rows of the strip, of which some may be the same.
    let first = f32x4.splat(0), last = first, from = element(packedA, row * depth);
    for (let k: i32 = 0; k < depth; ++k) {
      first = f32x4.add(first, v128.load(from));
      last = f32x4.add(last, v128.load(element(from, ROWS - 4)));
      from += ROWS << 2;
    }
    v128.store(edgeTile, first);
    v128.store(element(edgeTile, ROWS - 4), last);
    for (let i: i32 = 0; i < min(ROWS, rows - row); ++i) {
      const target = element(to, row + i), value = f32.load(element(edgeTile, i));
      f32.store(target, add ? f32.load(target) + value : value);
    }
  }
}

/**
 * A [rows, terms] block of A times a [terms, columns] block of B; the sums of A's rows go to `sums` unless it is 0. With `onto`
 * both are added to what stands there.
 */
function multiplyBlock(
  a: usize, b: usize, c: usize, rows: i32, columns: i32, terms: i32, block: i32, sums: usize, onto: bool,
): void {
  const n = argument(4), acrossA = argument(6), alongA = argument(7), alongB = argument(8), acrossB = argument(9);
  const padded = (columns + COLUMNS - 1) / COLUMNS * COLUMNS;
  const panel = min(terms, PACKED_B / padded); // terms for which B fits into its space
  for (let start: i32 = 0; start < terms; start += panel) {
    const depth = min(panel, terms - start);
    if (panel < terms || packedFor != currentSequence() || packedBlock != block) {
      packB(packedB, element(b, start * alongB), columns, depth, acrossB, alongB);
      packedFor = currentSequence();
      packedBlock = panel < terms ? -1 : block;
    }
    for (let step: i32 = 0; step < depth; step += DEPTH) {
      const stepDepth = min(DEPTH, depth - step);
      packA(packedA, element(a, (start + step) * alongA), rows, stepDepth, acrossA, alongA);
      const add = onto || start + step > 0;
      if (sums != 0) sumRows(sums, rows, stepDepth, add);
      multiplyPacked(
        packedB + ((<usize>(step * COLUMNS)) << 2), (<usize>(depth * COLUMNS)) << 2,
        c, n, rows, columns, stepDepth, add);
    }
  }
}

/**
 * Adds the parts of a sum over k that were computed apart, in their order: c += part 1 + part 2 + …
 *
 * 0 c, 1 parts, 2 number of parts, 3 elements of c, 4 elements in a chunk
 */
export function addParts(chunk: i32): void {
  const size = argument(3), first = chunk * argument(4), last = min(size, first + argument(4));
  for (let part: i32 = 0; part < argument(2); ++part) {
    const from = element(address(1), part * size), to = address(0);
    let i = first;
    for (; i + 4 <= last; i += 4) v128.store(element(to, i), f32x4.add(v128.load(element(to, i)), v128.load(element(from, i))));
    for (; i < last; ++i) f32.store(element(to, i), f32.load(element(to, i)) + f32.load(element(from, i)));
  }
}
