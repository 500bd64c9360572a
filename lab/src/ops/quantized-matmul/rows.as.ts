/**
 * @file A few rows times quantized weights of 2, 4 or 8 bits, as in generating one token at a time: every code is used once or
 * a few times, so it becomes a float in a register and is never written down.
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
import { placesInRun, zeroOf } from './decode.as';

/** Codes that are masked in one word before it is shifted. */
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
  const fields = fieldsInStep(bits);
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
@inline function addField(words: v128, mask: v128, x: v128, sum: v128): v128 {
  return multiplyAdd(f32x4.convert_i32x4_s(v128.and(words, mask)), x, sum);
}

/**
 * Σ scale · Σ code x over all groups of a row of `runs` runs each. Neighbouring sums meet neighbouring vectors of x and of the
 * masks, and are stored together at the end: so V8 can join them to 256 bits.
 */
@inline function scaledSum(
  bits: i32, words: usize, scales: usize, x: usize, groups: i32, runs: i32, masks: usize, totals: usize,
): f32 {
  const second: usize = bits == 8 ? 0 : 32;
  const m0 = v128.load(masks), m1 = v128.load(masks, 16), m2 = v128.load(masks + second), m3 = v128.load(masks + second, 16);
  let t0 = f32x4.splat(0), t1 = f32x4.splat(0), t2 = f32x4.splat(0), t3 = f32x4.splat(0);
  for (let group: i32 = 0; group < groups; ++group) {
    let s0 = f32x4.splat(0), s1 = f32x4.splat(0), s2 = f32x4.splat(0), s3 = f32x4.splat(0);
    for (let run: i32 = 0; run < runs; ++run) {
      let w = v128.load(words);
      words += 16;
      for (let shifted: i32 = 0; shifted < 32; shifted += 4 * bits) {
        s0 = addField(w, m0, v128.load(x), s0);
        s1 = addField(w, m1, v128.load(x, 16), s1);
        if (bits == 8) w = i32x4.shr_u(w, 16);
        s2 = addField(w, m2, v128.load(x, 32), s2);
        s3 = addField(w, m3, v128.load(x, 48), s3);
        if (bits != 8) w = i32x4.shr_u(w, 4 * bits);
        x += 64;
      }
    }
    const scale = v128.load32_splat(scales);
    t0 = multiplyAdd(s0, scale, t0);
    t1 = multiplyAdd(s1, scale, t1);
    t2 = multiplyAdd(s2, scale, t2);
    t3 = multiplyAdd(s3, scale, t3);
    scales += 4;
  }
  v128.store(totals, t0);
  v128.store(totals, t1, 16);
  v128.store(totals, t2, 32);
  v128.store(totals, t3, 48);
  const first = f32x4.add(v128.load(totals), v128.load(totals, 16));
  return sumOf(f32x4.add(first, f32x4.add(v128.load(totals, 32), v128.load(totals, 48))));
}

/** The same for codes of 2 and 4 bits where several groups make a run: `steps` of 16 codes each. */
@inline function sharedSum(bits: i32, words: usize, scales: usize, x: usize, groups: i32, steps: i32, masks: usize): f32 {
  const m0 = v128.load(masks), m1 = v128.load(masks, 16), m2 = v128.load(masks, 32), m3 = v128.load(masks, 48);
  let total = f32x4.splat(0), w = f32x4.splat(0), shifted: i32 = 32;
  for (let group: i32 = 0; group < groups; ++group) {
    let s0 = f32x4.splat(0), s1 = f32x4.splat(0);
    for (let step: i32 = 0; step < steps; ++step) {
      if (shifted == 32) {
        w = v128.load(words);
        words += 16;
        shifted = 0;
      }
      s0 = addField(w, m0, v128.load(x), s0);
      s1 = addField(w, m1, v128.load(x, 16), s1);
      s0 = addField(w, m2, v128.load(x, 32), s0);
      s1 = addField(w, m3, v128.load(x, 48), s1);
      w = i32x4.shr_u(w, 4 * bits);
      shifted += 4 * bits;
      x += 64;
    }
    total = multiplyAdd(f32x4.add(s0, s1), v128.load32_splat(element(scales, group)), total);
  }
  return sumOf(total);
}

/** Σ scale · zero · Σ x over all groups. */
@inline function offsetSum(bits: i32, scales: usize, zeros: usize, sums: usize, groups: i32): f32 {
  let four = f32x4.splat(0), group: i32 = 0;
  const middle = f32x4.splat(<f32>(1 << (bits - 1)));
  for (; group + 4 <= groups; group += 4) {
    const zero = zeros == 0 ? middle : v128.load(element(zeros, group));
    four = multiplyAdd(f32x4.mul(v128.load(element(scales, group)), zero), v128.load(element(sums, group)), four);
  }
  let sum = sumOf(four);
  for (; group < groups; ++group) {
    sum += f32.load(element(scales, group)) * zeroOf(bits, zeros, group) * f32.load(element(sums, group));
  }
  return sum;
}

function rowOfTwo(words: usize, scales: usize, x: usize, groups: i32, runs: i32): f32 {
  if (runs == 0) return sharedSum(2, words, scales, x, groups, argument(13) >> 4, address(15));
  return scaledSum(2, words, scales, x, groups, runs, address(15), spaceForA());
}
function rowOfFour(words: usize, scales: usize, x: usize, groups: i32, runs: i32): f32 {
  if (runs == 0) return sharedSum(4, words, scales, x, groups, argument(13) >> 4, address(15));
  return scaledSum(4, words, scales, x, groups, runs, address(15), spaceForA());
}
function rowOfEight(words: usize, scales: usize, x: usize, groups: i32, runs: i32): f32 {
  return scaledSum(8, words, scales, x, groups, runs, address(15), spaceForA());
}

/**
 * Some outputs for all rows.
 *
 *  0 words, 1 prepared x [m, places], 2 its sums [m, groups], 3 m, 4 y [m, outputs], 5 outputs
 *  6 … 10, 13 as in decode.as.ts
 * 11 outputs in a chunk, 12 places, 14 bias [outputs] or 0, 15 the masks of four neighbouring fields, a vector each
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
      const y = bits == 4 ? rowOfFour(words, scales, x, groups, runs)
        : bits == 8 ? rowOfEight(words, scales, x, groups, runs)
        : rowOfTwo(words, scales, x, groups, runs);
      f32.store(element(address(4), row * outputs + output), y - offsetSum(bits, scales, zeros, sums, groups) + bias);
    }
  }
}
