/**
 * @file The gradient of the bias, on wasm: dS, summed over the axes along which the bias was broadcast. Each chunk has
 * entries of the bias to itself and goes over all scores that they entered, tile by tile in a fixed order; no matrix larger
 * than the bias is ever there.
 */
import { spaceForB } from '../matmul/gemm.as';
import { element, packB } from '../matmul/pack.as';
import { COLUMNS } from '../matmul/tile.as';
import { address, argument } from '../wasm/parallel.as';
import { differentiateBlock, scoreGradients } from './differentiate.as';
import { PACKED } from './shared';
import { seenFrom, seenTo } from './tiles.as';

@inline function keySpace(): usize { return spaceForB(); }
@inline function valueSpace(): usize { return element(spaceForB(), PACKED + 512); }

/** to += the row, entry by entry, or all of it in one number */
function addRow(to: usize, row: usize, n: i32, apart: bool): void {
  if (apart) {
    for (let j: i32 = 0; j < n; ++j) f32.store(element(to, j), f32.load(element(to, j)) + f32.load(element(row, j)));
  } else {
    let sum: f32 = 0;
    for (let j: i32 = 0; j < n; ++j) sum += f32.load(element(row, j));
    f32.store(to, f32.load(to) + sum);
  }
}

/** dBias += dS of one row block against the packed tile of keys. */
function addBlock(head: i32, firstQuery: i32, rows: i32, ranges: usize, to: usize, start: i32, count: i32): void {
  const width = (min(argument(15), argument(8)) + COLUMNS - 1) / COLUMNS * COLUMNS;
  const used = seenTo(ranges, rows - 1, start, count);
  if (used <= seenFrom(ranges, 0, start, count)) return;
  differentiateBlock(head, firstQuery, rows, ranges, keySpace(), valueSpace(), width, start, count, true);
  for (let row: i32 = 0; row < rows; ++row) {
    const place = element(to, (firstQuery + row) * argument(26) + start * argument(27));
    addRow(place, element(scoreGradients(), row * width), used, argument(27) != 0);
  }
}

/**
 * One piece of the bias: of one b and one h, or of all where it is broadcast; of one row block of queries if it has an axis of
 * queries, else of one tile of keys if it has an axis of keys, else everything.
 *
 * 0 … 16 and 20 … 30 as in backward.as.ts, 17 the gradient of the bias, filled with zeros, 31 B, 32 pieces for each b and h
 */
export function attendBiasGradient(chunk: i32): void {
  const H = argument(5), K = argument(6), T = argument(7), U = argument(8), S = argument(9);
  const block = argument(13), tile = argument(15);
  const group = H / K, ofHead = chunk / argument(32), piece = chunk - ofHead * argument(32), heads = argument(25) != 0 ? H : 1;
  const b = ofHead / heads, h = ofHead - b * heads;
  const byQueries = argument(26) != 0, byKeys = !byQueries && argument(27) != 0;
  const firstQuery = byQueries ? piece * block : 0, lastQuery = byQueries ? min(T, firstQuery + block) : T;
  const firstKey = byKeys ? piece * tile : 0, lastKey = byKeys ? min(U, firstKey + tile) : U;
  for (let batch = b; batch < (argument(24) != 0 ? b + 1 : argument(31)); ++batch) {
    const ranges = address(11) + <usize>(argument(12) != 0 ? 12 * batch * T : 0);
    for (let ofBatch = h; ofBatch < (argument(25) != 0 ? h + 1 : H); ++ofBatch) {
      const head = batch * H + ofBatch, keyHead = batch * K + ofBatch / group;
      const to = element(address(17), batch * argument(24) + ofBatch * argument(25));
      for (let start = firstKey; start < lastKey; start += tile) {
        const count = min(tile, U - start), keyAt = (keyHead * U + start) * S;
        packB(keySpace(), element(address(1), keyAt), count, S, S, 1);
        packB(valueSpace(), element(address(2), keyAt), count, S, S, 1);
        for (let query = firstQuery; query < lastQuery; query += block) {
          addBlock(head, query, min(block, T - query), ranges + <usize>(12 * query), to, start, count);
        }
      }
    }
  }
}
