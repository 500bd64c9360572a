/**
 * @file Many rows times quantized weights: a panel of them becomes floats, is packed like any other B, and then the register
 * tile of gemm.as.ts runs at its own speed. A panel is decoded once, however many rows it meets.
 */
import { finishBlock } from '../matmul/finish.as';
import { DEPTH, MOST_ROWS, multiplyPacked, spaceForA, spaceForB } from '../matmul/gemm.as';
import { element, packA, packB } from '../matmul/pack.as';
import { COLUMNS } from '../matmul/tile.as';
import { address, argument } from '../wasm/parallel.as';
import { decodePlaces } from './decode.as';

/** Terms `start` … `start + depth` of the panel's columns as floats, packed. A's space is free until then. */
function packPanel(ofOutputs: bool, firstColumn: i32, columns: i32, start: i32, depth: i32): void {
  const plain = spaceForA(), words = address(1);
  if (ofOutputs) {
    for (let j: i32 = 0; j < columns; ++j) decodePlaces(element(plain, j * depth), words, firstColumn + j, start, depth);
    packB(spaceForB(), plain, columns, depth, depth, 1);
  } else {
    for (let k: i32 = 0; k < depth; ++k) decodePlaces(element(plain, k * columns), words, start + k, firstColumn, columns);
    packB(spaceForB(), plain, columns, depth, 1, columns);
  }
}

/**
 * Some columns of C [m, n] = A [m, k] B, B the weights [outputs, places] or their transpose.
 *
 *  0 a, 1 words, 2 c, 3 m, 4 n, 5 k
 *  6 … 10, 13 as in decode.as.ts
 * 11 columns in a chunk, at most 128: a panel of 512 terms then fits into A's space
 * 12 1: C's columns are outputs (the product); 0: they are places (its gradient), and columns in a chunk are whole runs
 * 18, 19, 20 what finishes C (finish.as.ts)
 */
export function multiplyQuantized(chunk: i32): void {
  const m = argument(3), n = argument(4), k = argument(5);
  const firstColumn = chunk * argument(11), columns = min(argument(11), n - firstColumn);
  for (let start: i32 = 0; start < k; start += DEPTH) {
    const depth = min(DEPTH, k - start);
    packPanel(argument(12) != 0, firstColumn, columns, start, depth);
    for (let row: i32 = 0; row < m; row += MOST_ROWS) {
      const rows = min(MOST_ROWS, m - row);
      packA(spaceForA(), element(address(0), row * k + start), rows, depth, k, 1);
      const c = element(address(2), row * n + firstColumn);
      multiplyPacked(spaceForB(), (<usize>(depth * COLUMNS)) << 2, c, n, rows, columns, depth, start > 0);
    }
  }
  finishBlock(0, firstColumn, m, columns);
}
