/** @file Rotary positions on wasm: rows are turned as they are copied, and a row may be copied onto itself. */
import { element } from '../matmul/pack.as';
import { address, argument, number } from '../wasm/parallel.as';
import { loadPart, storePart } from '../wasm/vectors.as';

/**
 * Row `to` = row `from` turned by the angles at `angles`, S/2 cosines and behind them S/2 sines.
 *
 * @param direction 1 turns forwards, −1 back
 */
@inline export function turnRow(from: usize, to: usize, angles: usize, headSize: i32, direction: v128): void {
  const half = headSize >> 1, second = (<usize>half) << 2;
  let i: i32 = 0;
  for (; i + 4 <= half; i += 4) {
    const at = element(from, i), x = v128.load(at), y = v128.load(at + second);
    const cosine = v128.load(element(angles, i)), sine = f32x4.mul(v128.load(element(angles, i) + second), direction);
    v128.store(element(to, i), f32x4.sub(f32x4.mul(x, cosine), f32x4.mul(y, sine)));
    v128.store(element(to, i) + second, f32x4.add(f32x4.mul(y, cosine), f32x4.mul(x, sine)));
  }
  if (i < half) {
    const at = element(from, i), count = half - i, x = loadPart(at, count), y = loadPart(at + second, count);
    const cosine = loadPart(element(angles, i), count);
    const sine = f32x4.mul(loadPart(element(angles, i) + second, count), direction);
    storePart(element(to, i), f32x4.sub(f32x4.mul(x, cosine), f32x4.mul(y, sine)), count);
    storePart(element(to, i) + second, f32x4.add(f32x4.mul(y, cosine), f32x4.mul(x, sine)), count);
  }
}

/**
 * Some rows of [B, H, T, S].
 *
 * 0 x, 1 output (or x again), 2 angles of the T positions [T, S], 3 rows, 4 T, 5 S, 6 rows in a chunk, 7 direction
 */
export function turn(chunk: i32): void {
  const T = argument(4), S = argument(5), first = chunk * argument(6), last = min(argument(3), first + argument(6));
  const direction = f32x4.splat(number(7));
  for (let row = first; row < last; ++row) {
    turnRow(element(address(0), row * S), element(address(1), row * S), element(address(2), row % T * S), S, direction);
  }
}
