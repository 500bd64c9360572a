/**
 * @file A few rows times quantized weights, as in generating one token at a time: every code is used once or a few times, so it
 * becomes a float in a register and is never written down.
 *
 *   Σ scale (code − zero) x = Σ over groups of scale · Σ code x − scale · zero · Σ x
 *
 * The sums Σ x are the same for all outputs and are taken once. A code need not be shifted to the right end of its word either:
 * a mask alone leaves code · 2^shift, and x is multiplied by 2^−shift beforehand, which is exact.
 */
import { spaceForA } from '../matmul/gemm.as';
import { element } from '../matmul/pack.as';
import { multiplyAdd } from '../matmul/tile.as';
import { address, argument } from '../wasm/parallel.as';
import { sumOf } from '../wasm/vectors.as';
import { decodePlaces, placesInRun, zeroOf } from './decode.as';

/** Codes that are masked in one word before it is shifted: their masks stay in registers. */
@inline function fieldsInStep(bits: i32): i32 { return bits == 8 ? 2 : 4; }

/**
 * Copies rows of x with their factors, and sums up their groups.
 *
 *  0 x [m, places], 1 to [m, places], 2 sums [m, groups], 3 places
 *  6, 7, 13 as in decode.as.ts
 */
export function prepareQuantized(row: i32): void {
  const places = argument(3), bits = argument(6), groups = argument(7), inGroup = argument(13);
  let from = element(address(0), row * places), to = element(address(1), row * places);
  const fields = bits == 3 ? 1 : fieldsInStep(bits);
  for (let group: i32 = 0; group < groups; ++group) {
    let sum = f32x4.splat(0), factor: f32 = 1;
    for (let place: i32 = 0; place < inGroup; place += 4) {
      const x = v128.load(from);
      if ((place >> 2) % fields == 0) factor = 1;
      v128.store(to, f32x4.mul(x, f32x4.splat(factor)));
      factor /= <f32>(1 << bits);
      sum = f32x4.add(sum, x);
      from += 16;
      to += 16;
    }
    f32.store(element(address(2), row * groups + group), sumOf(sum));
  }
}

/** sum + (code at that mask) · x */
@inline function addField(words: v128, mask: v128, x: usize, sum: v128): v128 {
  return multiplyAdd(f32x4.convert_i32x4_s(v128.and(words, mask)), v128.load(x), sum);
}

/** Σ scale · Σ code x over all groups of a row of `runs` runs each. */
@inline function scaledSum(bits: i32, words: usize, scales: usize, x: usize, groups: i32, runs: i32): f32 {
  const m0 = i32x4.splat((1 << bits) - 1), m1 = i32x4.shl(m0, bits), m2 = i32x4.shl(m0, 2 * bits), m3 = i32x4.shl(m0, 3 * bits);
  let total = f32x4.splat(0);
  for (let group: i32 = 0; group < groups; ++group) {
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
    for (let run: i32 = 0; run < runs; ++run) {
      let w = v128.load(words);
      words += 16;
      if (bits == 8) {
        s0 = addField(w, m0, x, s0);
        s1 = addField(w, m1, x + 16, s1);
        w = i32x4.shr_u(w, 16);
        s2 = addField(w, m0, x + 32, s2);
        s3 = addField(w, m1, x + 48, s3);
        x += 64;
        continue;
      }
      for (let shifted: i32 = 0; shifted < 32; shifted += 4 * bits) {
        s0 = addField(w, m0, x, s0);
        s1 = addField(w, m1, x + 16, s1);
        s2 = addField(w, m2, x + 32, s2);
        s3 = addField(w, m3, x + 48, s3);
        w = i32x4.shr_u(w, 4 * bits);
        x += 64;
      }
    }
    total = multiplyAdd(v128.load32_splat(scales), f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)), total);
    scales += 4;
  }
  return sumOf(total);
}

/** Σ scale · zero · Σ x over all groups. */
@inline function offsetSum(bits: i32, scales: usize, zeros: usize, sums: usize, groups: i32): f32 {
  let sum: f32 = 0;
  for (let group: i32 = 0; group < groups; ++group) {
    sum += f32.load(element(scales, group)) * zeroOf(bits, zeros, group) * f32.load(element(sums, group));
  }
  return sum;
}

function rowOfTwo(words: usize, scales: usize, x: usize, groups: i32, runs: i32): f32 { return scaledSum(2, words, scales, x, groups, runs); }
function rowOfFour(words: usize, scales: usize, x: usize, groups: i32, runs: i32): f32 { return scaledSum(4, words, scales, x, groups, runs); }
function rowOfEight(words: usize, scales: usize, x: usize, groups: i32, runs: i32): f32 { return scaledSum(8, words, scales, x, groups, runs); }

/** Places that are decoded at once for three bits: 4 KiB of floats. */
const DECODED: i32 = 1024;

/** Three bits lie in two words, so they are decoded first; scales and zeros are dealt with there. */
function rowOfThree(output: i32, plain: usize, x: usize, places: i32): f32 {
  let sum = f32x4.splat(0);
  for (let first: i32 = 0; first < places; first += DECODED) {
    const count = min(DECODED, places - first);
    decodePlaces(plain, address(0), output, first, count);
    for (let i: i32 = 0; i < count; i += 4) sum = multiplyAdd(v128.load(element(plain, i)), v128.load(element(x, first + i)), sum);
  }
  return sumOf(sum);
}

/**
 * Some outputs for all rows.
 *
 *  0 words, 1 prepared x [m, places], 2 its sums [m, groups], 3 m, 4 y [m, outputs], 5 outputs
 *  6 … 10, 13 as in decode.as.ts
 * 11 outputs in a chunk, 12 places, 14 bias [outputs] or 0
 */
export function multiplyQuantizedRows(chunk: i32): void {
  const m = argument(3), outputs = argument(5), bits = argument(6), groups = argument(7), places = argument(12);
  const runs = argument(13) / placesInRun(bits);
  const first = chunk * argument(11), last = min(outputs, first + argument(11));
  for (let output = first; output < last; ++output) {
    const words = element(address(0), output * argument(10)), scales = element(address(8), output * groups);
    const zeros = address(9) == 0 ? 0 : element(address(9), output * groups);
    const bias: f32 = address(14) == 0 ? 0 : f32.load(element(address(14), output));
    for (let row: i32 = 0; row < m; ++row) {
      const x = element(address(1), row * places), sums = element(address(2), row * groups);
      let y: f32 = 0;
      if (bits == 3) y = rowOfThree(output, spaceForA(), x, places);
      else {
        y = bits == 4 ? rowOfFour(words, scales, x, groups, runs)
          : bits == 8 ? rowOfEight(words, scales, x, groups, runs)
          : rowOfTwo(words, scales, x, groups, runs);
        y -= offsetSum(bits, scales, zeros, sums, groups);
      }
      f32.store(element(address(4), row * outputs + output), y + bias);
    }
  }
}
