/**
 * @file FlashAttention on wasm, backward: Dao 2023, algorithm 2. The weights are computed again from the scores and L, tile
 * by tile. The row blocks of all query heads that share a key/value head are dealt out to one or several parts; each has sums
 * of dK and dV to itself, and they are added in their order, so that the result does not depend on which thread did what.
 *
 * P = exp(S − L), dS = P ∘ (dO Vᵀ − D) with D = rowsum(dO ∘ O); dV = Pᵀ dO, dQ = dS K · scale, dK = dSᵀ Q · scale.
 */
import { spaceForA, spaceForB } from '../matmul/gemm.as';
import { element, packA, packB } from '../matmul/pack.as';
import { COLUMNS } from '../matmul/tile.as';
import { address, argument } from '../wasm/parallel.as';
import { differentiateBlock, scoreGradients } from './differentiate.as';
import { PACKED } from './shared';
import { addSeen, addTransposed, scores, seenFrom, seenTo } from './tiles.as';

@inline function keySpace(): usize { return spaceForB(); }
@inline function valueSpace(): usize { return element(spaceForB(), PACKED + 512); }
@inline function keyRowsSpace(): usize { return element(spaceForB(), 2 * PACKED + 1024); }
@inline function blockSpace(): usize { return element(spaceForB(), 3 * PACKED + 2048); }

/** One row block of one query head against the packed tile of keys, whose gradients begin at dk and dv. */
function addBlock(head: i32, firstQuery: i32, rows: i32, ranges: usize, dk: usize, dv: usize, start: i32, count: i32): void {
  const T = argument(7), U = argument(8), S = argument(9), tile = argument(15), at = (head * T + firstQuery) * S;
  const width = (min(tile, U) + COLUMNS - 1) / COLUMNS * COLUMNS;
  const used = seenTo(ranges, rows - 1, start, count);
  if (used <= seenFrom(ranges, 0, start, count)) return;
  const q = element(address(0), at), dO = element(address(16), at);
  differentiateBlock(head, firstQuery, rows, ranges, keySpace(), valueSpace(), width, start, count, false);
  packB(blockSpace(), dO, S, rows, 1, S);
  packA(spaceForA(), scores(), used, rows, 1, width);
  addTransposed(spaceForA(), used, blockSpace(), dv, rows, S, ranges, start, count);
  packB(blockSpace(), q, S, rows, 1, S);
  packA(spaceForA(), scoreGradients(), used, rows, 1, width);
  addTransposed(spaceForA(), used, blockSpace(), dk, rows, S, ranges, start, count);
  packA(spaceForA(), scoreGradients(), rows, used, width, 1);
  addSeen(spaceForA(), used, keyRowsSpace(), element(address(17), at), rows, S, ranges, start, count);
}

/**
 * One part of one key/value head: every so many-th of the row blocks of the query heads that share it.
 *
 * 0 … 12 as in forward.as.ts, 13 queries in a block, 14 blocks, 15 keys in a tile, 16 gradient of the output, 17 dq, 18 dk, 19 dv
 * 20 … 30 what is asked besides: scores.as.ts
 * 31 parts, 32, 33 where dk and dv of the second and later parts go, 34 elements of each: B · K · U · S
 */
export function attendGradient(chunk: i32): void {
  const H = argument(5), K = argument(6), T = argument(7), U = argument(8), S = argument(9), tile = argument(15);
  const parts = argument(31), keyHead = chunk / parts, part = chunk - keyHead * parts;
  const group = H / K, batch = keyHead / K, firstHead = keyHead * group, items = group * argument(14);
  const ranges = address(11) + <usize>(argument(12) != 0 ? 12 * batch * T : 0);
  let dk = address(18), dv = address(19);
  if (part > 0) {
    const all = (part - 1) * argument(34);
    dk = element(address(32), all);
    dv = element(address(33), all);
  }
  dk = element(dk, keyHead * U * S);
  dv = element(dv, keyHead * U * S);
  memory.fill(dk, 0, <usize>(U * S) << 2);
  memory.fill(dv, 0, <usize>(U * S) << 2);
  for (let item = part; item < items; item += parts) {
    const query = item / group * argument(13), head = firstHead + item % group;
    memory.fill(element(address(17), (head * T + query) * S), 0, <usize>(min(argument(13), T - query) * S) << 2);
  }
  for (let start: i32 = 0; start < U; start += tile) {
    const count = min(tile, U - start), at = start * S, keyAt = keyHead * U * S + at;
    packB(keySpace(), element(address(1), keyAt), count, S, S, 1);
    packB(valueSpace(), element(address(2), keyAt), count, S, S, 1);
    packB(keyRowsSpace(), element(address(1), keyAt), S, count, 1, S);
    for (let item = part; item < items; item += parts) {
      const query = item / group * argument(13), head = firstHead + item % group, rows = min(argument(13), T - query);
      addBlock(head, query, rows, ranges + <usize>(12 * query), element(dk, at), element(dv, at), start, count);
    }
  }
}
