/**
 * @file Packed codes to floats, scale · (code − zero), in the order of the places. The layout is described in layout.ts.
 *
 * Arguments that all operations on quantized weights have in common:
 *  6 bits, 7 groups in a row, 8 scales, 9 zeros or 0, 10 words in a row, 13 places of a group
 */
import { element } from '../matmul/pack.as';
import { address, argument } from '../wasm/parallel.as';

/** Places in a run, and its bytes. */
@inline export function placesInRun(bits: i32): i32 { return bits == 3 ? 128 : 128 / bits; }
@inline export function bytesOfRun(bits: i32): usize { return bits == 3 ? 48 : 16; }

@inline export function zeroOf(bits: i32, zeros: usize, group: i32): f32 {
  return zeros == 0 ? <f32>(1 << (bits - 1)) : f32.load(element(zeros, group));
}

@inline function storeWeights(to: usize, codes: v128, zero: v128, scale: v128): void {
  v128.store(to, f32x4.mul(f32x4.sub(f32x4.convert_i32x4_u(codes), zero), scale));
}

/** Places 4 k … 4 k + 15 of a run, by shifts that the compiler knows. */
@inline function decodeFour(bits: i32, k: i32, to: usize, words: v128, mask: v128, zero: v128, scale: v128): void {
  const at = to + ((<usize>k) << 4);
  storeWeights(at, v128.and(i32x4.shr_u(words, k * bits), mask), zero, scale);
  storeWeights(at + 16, v128.and(i32x4.shr_u(words, (k + 1) * bits), mask), zero, scale);
  storeWeights(at + 32, v128.and(i32x4.shr_u(words, (k + 2) * bits), mask), zero, scale);
  storeWeights(at + 48, v128.and(i32x4.shr_u(words, (k + 3) * bits), mask), zero, scale);
}

/** One run of 2, 4 or 8 bits. */
@inline function decodeRun(bits: i32, to: usize, from: usize, zero: v128, scale: v128): void {
  const words = v128.load(from), mask = i32x4.splat((1 << bits) - 1);
  decodeFour(bits, 0, to, words, mask, zero, scale);
  if (bits <= 4) decodeFour(bits, 4, to, words, mask, zero, scale);
  if (bits <= 2) {
    decodeFour(bits, 8, to, words, mask, zero, scale);
    decodeFour(bits, 12, to, words, mask, zero, scale);
  }
}

/** One run of 3 bits: two runs of low bits and their high bits. */
function decodeThreeBits(to: usize, from: usize, zero: v128, scale: v128): void {
  const high = v128.load(from, 32), two = i32x4.splat(3), four = i32x4.splat(4);
  for (let half: i32 = 0; half < 2; ++half) {
    const low = v128.load(from + ((<usize>half) << 4));
    for (let k: i32 = 0; k < 16; ++k) {
      // The high bit of place 4 (16 half + k) becomes bit 2.
      const top = v128.and(i32x4.shl(i32x4.shr_u(high, 16 * half + k), 2), four);
      storeWeights(to, v128.or(v128.and(i32x4.shr_u(low, 2 * k), two), top), zero, scale);
      to += 16;
    }
  }
}

/** The four codes at step k of a run of 3 bits. */
@inline function threeBitCodes(from: usize, k: i32): v128 {
  const low = v128.load(from + ((<usize>(k >> 4)) << 4));
  const top = v128.and(i32x4.shl(i32x4.shr_u(v128.load(from, 32), k), 2), i32x4.splat(4));
  return v128.or(v128.and(i32x4.shr_u(low, 2 * (k & 15)), i32x4.splat(3)), top);
}

/**
 * Runs that several groups share, 16 places at a time. What follows the last group has its scale and zero: x is 0 there, but a
 * number must be found that is one.
 */
@inline function decodeShared(bits: i32, to: usize, row: usize, scales: usize, zeros: usize, first: i32, count: i32): void {
  const step = placesInRun(bits), inGroup = argument(13), lastGroup = argument(7) - 1, mask = i32x4.splat((1 << bits) - 1);
  for (let place = first; place < first + count; place += 16) {
    const group = min(place / inGroup, lastGroup), from = row + (<usize>(place / step)) * bytesOfRun(bits);
    const zero = f32x4.splat(zeroOf(bits, zeros, group)), scale = v128.load32_splat(element(scales, group));
    const k = (place % step) >> 2;
    for (let i: i32 = 0; i < 4; ++i) {
      const codes = bits == 3 ? threeBitCodes(from, k + i) : v128.and(i32x4.shr_u(v128.load(from), (k + i) * bits), mask);
      storeWeights(to, codes, zero, scale);
      to += 16;
    }
  }
}

@inline function decodeRuns(bits: i32, to: usize, row: usize, scales: usize, zeros: usize, first: i32, count: i32): void {
  if (argument(13) < placesInRun(bits)) return decodeShared(bits, to, row, scales, zeros, first, count);
  const step = placesInRun(bits), inGroup = argument(13);
  for (let place = first; place < first + count; place += step) {
    const group = place / inGroup, from = row + (<usize>(place / step)) * bytesOfRun(bits);
    const zero = f32x4.splat(zeroOf(bits, zeros, group)), scale = v128.load32_splat(element(scales, group));
    if (bits == 3) decodeThreeBits(to, from, zero, scale);
    else decodeRun(bits, to, from, zero, scale);
    to = element(to, step);
  }
}

/** The weights of `output` from place `first` on; `first` and `count` are multiples of the places in a run. */
export function decodePlaces(to: usize, words: usize, output: i32, first: i32, count: i32): void {
  const groups = argument(7), row = element(words, output * argument(10)), scales = element(address(8), output * groups);
  const zeros = address(9) == 0 ? 0 : element(address(9), output * groups);
  switch (argument(6)) {
    case 2: decodeRuns(2, to, row, scales, zeros, first, count); break;
    case 3: decodeRuns(3, to, row, scales, zeros, first, count); break;
    case 4: decodeRuns(4, to, row, scales, zeros, first, count); break;
    default: decodeRuns(8, to, row, scales, zeros, first, count);
  }
}

/** All weights of some outputs. 0 words, 1 to [outputs, places], 2 outputs, 3 outputs in a chunk, 4 places; 6 … 13 as above */
export function dequantize(chunk: i32): void {
  const first = chunk * argument(3), last = min(argument(2), first + argument(3)), places = argument(4);
  for (let output = first; output < last; ++output) {
    decodePlaces(element(address(1), output * places), address(0), output, 0, places);
  }
}
