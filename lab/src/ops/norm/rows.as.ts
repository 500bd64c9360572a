/**
 * @file Layer norm and RMS norm, forward and backward, in one pass over the rows each. RMS norm is layer norm without the mean.
 *
 * n = (x − mean) · r with r = 1/√(variance + ε); backward, with g = dy · gain: dx = (g − mean(g) − n · mean(g · n)) · r.
 */
import { element } from '../matmul/pack.as';
import { multiplyAdd } from '../matmul/tile.as';
import { address, argument, number } from '../wasm/parallel.as';
import { sumOf } from '../wasm/vectors.as';

@inline function rowMean(x: usize, n: i32): f32 {
  let s0 = f32x4.splat(0), s1 = s0, i: i32 = 0;
  for (; i + 8 <= n; i += 8) {
    s0 = f32x4.add(s0, v128.load(element(x, i)));
    s1 = f32x4.add(s1, v128.load(element(x, i), 16));
  }
  let sum = sumOf(f32x4.add(s0, s1));
  for (; i < n; ++i) sum += f32.load(element(x, i));
  return sum / <f32>n;
}

/** The mean of (x − mean)². */
@inline function rowVariance(x: usize, mean: f32, n: i32): f32 {
  const middle = f32x4.splat(mean);
  let s0 = f32x4.splat(0), s1 = s0, i: i32 = 0;
  for (; i + 8 <= n; i += 8) {
    const d0 = f32x4.sub(v128.load(element(x, i)), middle), d1 = f32x4.sub(v128.load(element(x, i), 16), middle);
    s0 = multiplyAdd(d0, d0, s0);
    s1 = multiplyAdd(d1, d1, s1);
  }
  let sum = sumOf(f32x4.add(s0, s1));
  for (; i < n; ++i) {
    const d = f32.load(element(x, i)) - mean;
    sum += d * d;
  }
  return sum / <f32>n;
}

/**
 * y = n · gain + bias of some rows, and of each row its mean and its r.
 *
 * 0 x, 1 gain, 2 bias or 0, 3 y, 4 mean and r [rows, 2], 5 rows, 6 width, 7 rows in a chunk, 8 ε, 9 whether to take off the mean
 */
export function normalize(chunk: i32): void {
  const gain = address(1), bias = address(2), n = argument(6), centered = argument(9) != 0;
  const first = chunk * argument(7), last = min(argument(5), first + argument(7));
  for (let row = first; row < last; ++row) {
    const x = element(address(0), row * n), y = element(address(3), row * n);
    const mean = centered ? rowMean(x, n) : 0;
    const r: f32 = 1 / sqrt<f32>(rowVariance(x, mean, n) + number(8));
    f32.store(element(address(4), 2 * row), mean);
    f32.store(element(address(4), 2 * row), r, 4);
    const middle = f32x4.splat(mean), scale = f32x4.splat(r);
    let i: i32 = 0;
    for (; i + 8 <= n; i += 8) {
      const from = element(x, i), g = element(gain, i);
      let y0 = f32x4.mul(f32x4.mul(f32x4.sub(v128.load(from), middle), scale), v128.load(g));
      let y1 = f32x4.mul(f32x4.mul(f32x4.sub(v128.load(from, 16), middle), scale), v128.load(g, 16));
      if (bias != 0) {
        y0 = f32x4.add(y0, v128.load(element(bias, i)));
        y1 = f32x4.add(y1, v128.load(element(bias, i), 16));
      }
      v128.store(element(y, i), y0);
      v128.store(element(y, i), y1, 16);
    }
    for (; i < n; ++i) {
      const value = (f32.load(element(x, i)) - mean) * r * f32.load(element(gain, i));
      f32.store(element(y, i), bias != 0 ? value + f32.load(element(bias, i)) : value);
    }
  }
}

/** Adds a row's dy · n and dy to the sums for gain and bias; leaves mean(g) and mean(g · n) in the first two lanes. */
@inline function gradientSums(x: usize, dy: usize, gain: usize, mean: f32, r: f32, dGain: usize, dBias: usize, n: i32): v128 {
  const middle = f32x4.splat(mean), scale = f32x4.splat(r);
  let sums = f32x4.splat(0), products = sums, i: i32 = 0;
  for (; i + 4 <= n; i += 4) {
    const normal = f32x4.mul(f32x4.sub(v128.load(element(x, i)), middle), scale), d = v128.load(element(dy, i));
    const g = f32x4.mul(d, v128.load(element(gain, i)));
    sums = f32x4.add(sums, g);
    products = multiplyAdd(g, normal, products);
    v128.store(element(dGain, i), multiplyAdd(d, normal, v128.load(element(dGain, i))));
    v128.store(element(dBias, i), f32x4.add(d, v128.load(element(dBias, i))));
  }
  let sum = sumOf(sums), product = sumOf(products);
  for (; i < n; ++i) {
    const normal = (f32.load(element(x, i)) - mean) * r, d = f32.load(element(dy, i)), g = d * f32.load(element(gain, i));
    sum += g;
    product += g * normal;
    f32.store(element(dGain, i), f32.load(element(dGain, i)) + d * normal);
    f32.store(element(dBias, i), f32.load(element(dBias, i)) + d);
  }
  return f32x4.replace_lane(f32x4.splat(sum / <f32>n), 1, product / <f32>n);
}

/**
 * The gradient of x for some rows, and the sums over these rows that the gradients of gain and bias are made of.
 *
 * 0 x, 1 gain, 2 dy, 3 dx, 4 mean and r [rows, 2], 5 rows, 6 width, 7 rows in a chunk, 8 sums for the gain [chunks, width],
 * 9 whether the mean was taken off, 10 sums for the bias [chunks, width]
 */
export function normalizeGradient(chunk: i32): void {
  const gain = address(1), n = argument(6), centered = argument(9) != 0;
  const dGain = element(address(8), chunk * n), dBias = element(address(10), chunk * n);
  const first = chunk * argument(7), last = min(argument(5), first + argument(7));
  memory.fill(dGain, 0, (<usize>n) << 2);
  memory.fill(dBias, 0, (<usize>n) << 2);
  for (let row = first; row < last; ++row) {
    const x = element(address(0), row * n), dy = element(address(2), row * n), dx = element(address(3), row * n);
    const mean = f32.load(element(address(4), 2 * row)), r = f32.load(element(address(4), 2 * row), 4);
    const means = gradientSums(x, dy, gain, mean, r, dGain, dBias, n);
    const meanOfG: f32 = centered ? f32x4.extract_lane(means, 0) : 0, meanOfProduct = f32x4.extract_lane(means, 1);
    const middle = f32x4.splat(mean), scale = f32x4.splat(r), a = f32x4.splat(meanOfG), b = f32x4.splat(meanOfProduct);
    let i: i32 = 0;
    for (; i + 8 <= n; i += 8) {
      const n0 = f32x4.mul(f32x4.sub(v128.load(element(x, i)), middle), scale);
      const n1 = f32x4.mul(f32x4.sub(v128.load(element(x, i), 16), middle), scale);
      const g0 = f32x4.mul(v128.load(element(dy, i)), v128.load(element(gain, i)));
      const g1 = f32x4.mul(v128.load(element(dy, i), 16), v128.load(element(gain, i), 16));
      const d0 = f32x4.mul(f32x4.sub(f32x4.sub(g0, a), f32x4.mul(n0, b)), scale);
      const d1 = f32x4.mul(f32x4.sub(f32x4.sub(g1, a), f32x4.mul(n1, b)), scale);
      v128.store(element(dx, i), d0);
      v128.store(element(dx, i), d1, 16);
    }
    for (; i < n; ++i) {
      const normal = (f32.load(element(x, i)) - mean) * r, g = f32.load(element(dy, i)) * f32.load(element(gain, i));
      f32.store(element(dx, i), (g - meanOfG - normal * meanOfProduct) * r);
    }
  }
}
