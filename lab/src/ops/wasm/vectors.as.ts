/**
 * @file Functions on four floats at a time.
 *
 * Their constants are read from a table in memory: V8 builds a vector constant anew in every turn of a loop.
 */
import { multiplyAdd } from '../matmul/tile.as';

let table: usize = 0;

export const CONSTANT_BYTES: i32 = 192;

@inline function constant(index: i32): v128 { return v128.load32_splat(table + ((<usize>index) << 2)); }
@inline function setConstant(index: i32, value: f32): void { f32.store(table + ((<usize>index) << 2), value); }

const LOG2E: i32 = 0, ROUND: i32 = 1, LN2_LOW: i32 = 2, LN2_HIGH: i32 = 3, EXP_SERIES: i32 = 4;
const ONE: i32 = 10, LOWEST: i32 = 11, HIGHEST: i32 = 12, TWO: i32 = 13, TANH_SERIES: i32 = 14, TANH_SMALL: i32 = 19;
const LEAST: i32 = 20, MOST: i32 = 21, GELU_LINEAR: i32 = 22, GELU_CUBIC: i32 = 23, GELU_SLOPE: i32 = 24;

/** Fills this thread's table of constants. */
export function useConstants(start: usize): void {
  table = start;
  setConstant(LOG2E, 1.44269504);
  setConstant(ROUND, 12582912.0); // 1.5 · 2^23: adding it rounds to an integer, which then stands in the low bits
  setConstant(LN2_LOW, 2.12194440e-4);
  setConstant(LN2_HIGH, -0.693359375);
  // exp(r) = 1 + r + r² (…) on |r| ≤ ln 2 / 2, coefficients of Cephes expf (Moshier 1992)
  setConstant(EXP_SERIES, 1.9875691500e-4);
  setConstant(EXP_SERIES + 1, 1.3981999507e-3);
  setConstant(EXP_SERIES + 2, 8.3334519073e-3);
  setConstant(EXP_SERIES + 3, 4.1665795894e-2);
  setConstant(EXP_SERIES + 4, 1.6666665459e-1);
  setConstant(EXP_SERIES + 5, 5.0000001201e-1);
  setConstant(ONE, 1);
  setConstant(LOWEST, -104); // below the smallest number: exp is 0
  setConstant(HIGHEST, 89); // above the largest number: exp is infinite
  setConstant(TWO, 2);
  // tanh(x) = x + x³ (…) on |x| ≤ 0.625, coefficients of Cephes tanhf
  setConstant(TANH_SERIES, -5.70498872745e-3);
  setConstant(TANH_SERIES + 1, 2.06390887954e-2);
  setConstant(TANH_SERIES + 2, -5.37397155531e-2);
  setConstant(TANH_SERIES + 3, 1.33314422036e-1);
  setConstant(TANH_SERIES + 4, -3.33332819422e-1);
  setConstant(TANH_SMALL, 0.625);
  setConstant(LEAST, -87);
  setConstant(MOST, 88);
  setConstant(GELU_LINEAR, 1.5957691216057308); // 2 √(2/π)
  setConstant(GELU_CUBIC, 0.07135481282553393); // 0.044715 of it
  setConstant(GELU_SLOPE, 0.2140644384766018); // three times that
}

/** 1 + r + r² (…): e^r for |r| ≤ ln 2 / 2 */
@inline function expSeries(r: v128): v128 {
  let p = multiplyAdd(constant(EXP_SERIES), r, constant(EXP_SERIES + 1));
  p = multiplyAdd(p, r, constant(EXP_SERIES + 2));
  p = multiplyAdd(p, r, constant(EXP_SERIES + 3));
  p = multiplyAdd(p, r, constant(EXP_SERIES + 4));
  p = multiplyAdd(p, r, constant(EXP_SERIES + 5));
  return multiplyAdd(p, f32x4.mul(r, r), f32x4.add(r, constant(ONE)));
}

/** e^x for x held within −87 … 88: it becomes neither 0 nor infinite, and costs a third less. NaN stays NaN. */
@inline export function boundedExp(x0: v128): v128 {
  const x = f32x4.pmin(f32x4.pmax(x0, constant(LEAST)), constant(MOST));
  const rounded = multiplyAdd(x, constant(LOG2E), constant(ROUND));
  const n = f32x4.sub(rounded, constant(ROUND));
  const r = multiplyAdd(n, constant(LN2_LOW), multiplyAdd(n, constant(LN2_HIGH), x));
  // Times 2^n: n stands in the low bits of `rounded` and is added to the exponent.
  return i32x4.add(expSeries(r), i32x4.shl(rounded, 23));
}

/** The share of x that GELU lets pass: (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, a sigmoid. `square` is x². */
@inline export function geluShare(x: v128, square: v128): v128 {
  const z = f32x4.mul(x, multiplyAdd(square, constant(GELU_CUBIC), constant(GELU_LINEAR)));
  return f32x4.div(constant(ONE), f32x4.add(constant(ONE), boundedExp(f32x4.neg(z))));
}

/** The derivative of x · share: share + x share (1 − share) z′. */
@inline export function geluSlope(x: v128, square: v128, share: v128): v128 {
  const steepness = multiplyAdd(square, constant(GELU_SLOPE), constant(GELU_LINEAR));
  return multiplyAdd(f32x4.mul(f32x4.mul(x, share), f32x4.sub(constant(ONE), share)), steepness, share);
}

/** e^x, within 2 units in the last place; 0 and infinity at the ends, NaN stays NaN. */
@inline export function exp(x0: v128): v128 {
  // pmin and pmax in this order keep a NaN, and are one instruction each.
  const x = f32x4.pmin(f32x4.pmax(x0, constant(LOWEST)), constant(HIGHEST));
  // x = n ln 2 + r
  const rounded = multiplyAdd(x, constant(LOG2E), constant(ROUND));
  const n = f32x4.sub(rounded, constant(ROUND));
  const r = multiplyAdd(n, constant(LN2_LOW), multiplyAdd(n, constant(LN2_HIGH), x));
  const p = expSeries(r);
  // times 2^n in two steps, so that neither factor leaves the range of floats
  const bits = i32x4.sub(rounded, constant(ROUND));
  const half = i32x4.shr_s(bits, 1);
  const first = i32x4.add(i32x4.shl(half, 23), constant(ONE));
  const second = i32x4.add(i32x4.shl(i32x4.sub(bits, half), 23), constant(ONE));
  return f32x4.mul(f32x4.mul(p, first), second);
}

/** ln x of one number that is not negative. AssemblyScript's own brings a table of static data, for which there is no room. */
export function log(x: f32): f32 {
  const bits = reinterpret<u32>(x);
  if (bits - 0x00800000 >= 0x7f000000) return x == 0 ? -Infinity : x < f32.MIN_NORMAL_VALUE ? log(x * 8388608) - 15.942385 : x;
  // x = m 2^e with m near 1; ln m = 2 artanh(f) = 2 (f + f³/3 + f⁵/5 + …) with f = (m − 1)/(m + 1)
  let exponent = <i32>(bits >> 23) - 127;
  let m = <f64>reinterpret<f32>((bits & 0x007fffff) | 0x3f800000);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    exponent++;
  }
  const f = (m - 1) / (m + 1), s = f * f;
  const series = 1 + s * (1.0 / 3.0 + s * (1.0 / 5.0 + s * (1.0 / 7.0 + s * (1.0 / 9.0 + s / 11.0))));
  return <f32>(2 * f * series + <f64>exponent * 0.6931471805599453);
}

/** 1 / (1 + e^-x) */
@inline export function sigmoid(x: v128): v128 {
  return f32x4.div(constant(ONE), f32x4.add(constant(ONE), exp(f32x4.neg(x))));
}

/** 1 - 2 / (e^2x + 1), and near 0, where that loses digits, an odd series. */
@inline export function tanh(x: v128): v128 {
  const square = f32x4.mul(x, x);
  let p = multiplyAdd(constant(TANH_SERIES), square, constant(TANH_SERIES + 1));
  p = multiplyAdd(p, square, constant(TANH_SERIES + 2));
  p = multiplyAdd(p, square, constant(TANH_SERIES + 3));
  p = multiplyAdd(p, square, constant(TANH_SERIES + 4));
  const near = multiplyAdd(f32x4.mul(p, square), x, x);
  const far = f32x4.sub(constant(ONE), f32x4.div(constant(TWO), f32x4.add(exp(f32x4.add(x, x)), constant(ONE))));
  return v128.bitselect(near, far, f32x4.lt(f32x4.abs(x), constant(TANH_SMALL)));
}

@inline export function rsqrt(x: v128): v128 { return f32x4.div(constant(ONE), f32x4.sqrt(x)); }

@inline export function sumOf(v: v128): f32 {
  return (f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1)) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}

@inline export function largestOf(v: v128): f32 {
  return max(max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)), max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)));
}

/** The first `count` (1..3) floats at `from`, the other lanes 0: the end of a row whose length is no multiple of four. */
@inline export function loadPart(from: usize, count: i32): v128 {
  let v = v128.load32_zero(from);
  if (count > 1) v = v128.load32_lane(from, v, 1, 4);
  if (count > 2) v = v128.load32_lane(from, v, 2, 8);
  return v;
}

@inline export function storePart(to: usize, v: v128, count: i32): void {
  v128.store32_lane(to, v, 0);
  if (count > 1) v128.store32_lane(to, v, 1, 4);
  if (count > 2) v128.store32_lane(to, v, 2, 8);
}
