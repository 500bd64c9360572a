/** @file Appending to a key/value cache on wasm, row by row. */
import { element } from '../matmul/pack.as';
import { turnRow } from '../rotary/turn.as';
import { address, argument } from '../wasm/parallel.as';

/**
 * Some rows of k and v [B, K, T, S], into room [B, K, C, S].
 *
 * 0 k, 1 v, 2 room for keys, 3 room for values, 4 angles of the T positions or 0, 5 rows, 6 T, 7 S, 8 C, 9 first place,
 * 10 rows in a chunk
 */
export function append(chunk: i32): void {
  const angles = address(4), T = argument(6), S = argument(7);
  const first = chunk * argument(10), last = min(argument(5), first + argument(10)), bytes = (<usize>S) << 2;
  for (let row = first; row < last; ++row) {
    const head = row / T, t = row - head * T, place = (head * argument(8) + argument(9) + t) * S;
    const k = element(address(0), row * S), to = element(address(2), place);
    if (angles != 0) turnRow(k, to, element(angles, t * S), S, f32x4.splat(1));
    else memory.copy(to, k, bytes);
    memory.copy(element(address(3), place), element(address(1), row * S), bytes);
  }
}
