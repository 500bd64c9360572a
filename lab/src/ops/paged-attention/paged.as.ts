/**
 * @file Attention over blocks, on wasm: every row goes over the blocks of its own table where they lie, with a running maximum
 * and a running sum. Kwon et al. 2023, section 4.1. What a row gets depends on nothing but its query, its blocks and its
 * length.
 *
 * Shapes: N rows, H heads, K key/value heads, C slots, S head size.
 */
import { multiplyKeys, sumValues } from '../attention/decode.as';
import { finishRow, rowState, weighRowFully } from '../attention/forward.as';
import { SPLIT_KEYS } from '../attention/shared';
import { scores } from '../attention/tiles.as';
import { element } from '../matmul/pack.as';
import { address, argument } from '../wasm/parallel.as';

/**
 * One row's queries of the heads that share one key/value head.
 *
 * 0 q [N, H, S], 1 room for keys, 2 room for values, 3 output [N, H, S], 4 log-sum-exp [N, H], 5 H, 6 K, 8 C, 9 S, 10 scale
 * 11 of each row: how many keys it sees, and where its blocks begin in 12, the tables; 13 tokens of a block: it divides
 * SPLIT_KEYS 20 … 30 what is asked besides: scores.as.ts
 */
export function attendPaged(chunk: i32): void {
  const H = argument(5), K = argument(6), S = argument(9), size = argument(13);
  const n = chunk / K, keyHead = chunk - n * K, group = H / K, firstRow = n * H + keyHead * group;
  const entry = element(address(11), 2 * n), U = i32.load(entry), table = element(address(12), i32.load(entry, 4));
  const q = element(address(0), firstRow * S), o = element(address(3), firstRow * S), head = keyHead * argument(8);
  memory.fill(o, 0, <usize>(group * S) << 2);
  for (let row: i32 = 0; row < group; ++row) {
    f32.store(rowState(row), -Infinity);
    f32.store(rowState(row), 0, 4);
  }
  for (let start: i32 = 0; start < U; start += SPLIT_KEYS) {
    const count = min(SPLIT_KEYS, U - start), blocks = element(table, start / size);
    for (let from: i32 = 0; from < count; from += size) {
      // The keys are counted from the start of the split, of which this block lies somewhere else.
      const at = (head + i32.load(element(blocks, from / size)) * size - from) * S;
      multiplyKeys(q, element(address(1), at), group, S, from, min(from + size, count));
    }
    for (let row: i32 = 0; row < group; ++row) {
      weighRowFully(row, element(scores(), row * SPLIT_KEYS), element(o, row * S), 0, count, count, 0, 0, 0, 0);
    }
    for (let from: i32 = 0; from < count; from += size) {
      const at = (head + i32.load(element(blocks, from / size)) * size - from) * S;
      sumValues(element(address(2), at), group, S, from, min(from + size, count), o, S);
    }
  }
  for (let row: i32 = 0; row < group; ++row) finishRow(row, element(o, row * S), element(address(4), firstRow + row));
}

/**
 * Some rows of k and v [N, K, S], into the rooms [K, C, S].
 *
 * 0 k, 1 v, 2 room for keys, 3 room for values, 4 slots [N], below 0: not written; 5 N, 6 K, 7 S, 8 C, 9 rows in a chunk
 */
export function scatterRows(chunk: i32): void {
  const K = argument(6), S = argument(7), C = argument(8), bytes = (<usize>S) << 2;
  const first = chunk * argument(9), last = min(argument(5), first + argument(9));
  for (let n = first; n < last; ++n) {
    const slot = i32.load(element(address(4), n));
    if (slot < 0) continue;
    for (let head: i32 = 0; head < K; ++head) {
      const from = (n * K + head) * S, to = (head * C + slot) * S;
      memory.copy(element(address(2), to), element(address(0), from), bytes);
      memory.copy(element(address(3), to), element(address(1), from), bytes);
    }
  }
}
