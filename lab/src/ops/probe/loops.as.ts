/**
 * @file Loops that keep one part of the machine busy and leave the rest idle. A chunk is the whole work of one thread.
 */
import { multiplyAddTurns } from '../matmul/tile.as';
import { address, argument } from '../wasm/parallel.as';

/** The sums of a chunk, on a cache line of their own. */
const SUMS: usize = 512;

/**
 * Reads a stretch of memory over and over. Integers are added, which takes one cycle whatever the bits are.
 *
 * 0 start, 1 bytes of a chunk (a multiple of 128), 2 how often, 3 where the sums go (512 bytes a chunk)
 */
export function readRepeatedly(chunk: i32): void {
  const bytes = argument(1), start = address(0) + <usize>chunk * <usize>bytes, end = start + <usize>bytes;
  let s0 = i32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  for (let turn = argument(2); turn > 0; --turn) {
    for (let at = start; at < end; at += 128) {
      s0 = i32x4.add(s0, v128.load(at));
      s1 = i32x4.add(s1, v128.load(at, 16));
      s2 = i32x4.add(s2, v128.load(at, 32));
      s3 = i32x4.add(s3, v128.load(at, 48));
      s4 = i32x4.add(s4, v128.load(at, 64));
      s5 = i32x4.add(s5, v128.load(at, 80));
      s6 = i32x4.add(s6, v128.load(at, 96));
      s7 = i32x4.add(s7, v128.load(at, 112));
    }
  }
  const to = address(3) + <usize>chunk * SUMS;
  v128.store(to, s0);
  v128.store(to, s1, 16);
  v128.store(to, s2, 32);
  v128.store(to, s3, 48);
  v128.store(to, s4, 64);
  v128.store(to, s5, 80);
  v128.store(to, s6, 96);
  v128.store(to, s7, 112);
}

/**
 * Multiply-adds between registers, one for each number of the register tile in every turn.
 *
 * 0 turns, 1 where the sums go (512 bytes a chunk)
 */
export function multiplyAddRepeatedly(chunk: i32): void {
  multiplyAddTurns(argument(0), address(1) + <usize>chunk * SUMS);
}
