/**
 * @file Cross-entropy from logits, a row at a time: log Σ exp(x − top) − (x[target] − top) with top the largest logit, and its
 * gradient exp((x − top) − log Σ exp(x − top)) − onehot. What is far from zero is taken off first, lest digits be lost.
 */
import { element } from '../matmul/pack.as';
import { address, argument } from '../wasm/parallel.as';
import { largest } from '../wasm/rows.as';
import { boundedExp, loadPart, log, storePart, sumOf } from '../wasm/vectors.as';

/**
 * 0 logits [rows, V], 1 targets [rows], 2 losses [rows], 3 top and log Σ exp(x − top) [rows, 2], 4 rows, 5 V, 6 rows in a chunk.
 * A target outside of 0 … V − 1 has the loss NaN.
 */
export function crossEntropy(chunk: i32): void {
  const n = argument(5), first = chunk * argument(6), last = min(argument(4), first + argument(6));
  for (let row = first; row < last; ++row) {
    const x = element(address(0), row * n), target = i32.load(element(address(1), row));
    const top = largest(x, n), tops = f32x4.splat(top);
    let s0 = f32x4.splat(0), s1 = s0, i: i32 = 0;
    for (; i + 8 <= n; i += 8) {
      const e0 = boundedExp(f32x4.sub(v128.load(element(x, i)), tops)), e1 = boundedExp(f32x4.sub(v128.load(element(x, i), 16), tops));
      s0 = f32x4.add(s0, e0);
      s1 = f32x4.add(s1, e1);
    }
    let sum = sumOf(f32x4.add(s0, s1));
    for (; i < n; ++i) sum += f32x4.extract_lane(boundedExp(f32x4.sub(v128.load32_splat(element(x, i)), tops)), 0);
    const logSum = log(sum);
    f32.store(element(address(2), row), <u32>target < <u32>n ? logSum - (f32.load(element(x, target)) - top) : NaN);
    f32.store(element(address(3), 2 * row), top);
    f32.store(element(address(3), 2 * row), logSum, 4);
  }
}

/** 0 logits, 1 targets, 2 gradients of the losses [rows], 3 … 6 as above, 7 gradient [rows, V] */
export function crossEntropyGradient(chunk: i32): void {
  const n = argument(5), first = chunk * argument(6), last = min(argument(4), first + argument(6));
  for (let row = first; row < last; ++row) {
    const x = element(address(0), row * n), to = element(address(7), row * n), target = i32.load(element(address(1), row));
    const dy = f32.load(element(address(2), row)), factor = f32x4.splat(dy);
    const top = v128.load32_splat(element(address(3), 2 * row)), logSum = v128.load32_splat(element(address(3), 2 * row), 4);
    let i: i32 = 0;
    for (; i + 8 <= n; i += 8) {
      const from = element(x, i);
      const g0 = f32x4.mul(boundedExp(f32x4.sub(f32x4.sub(v128.load(from), top), logSum)), factor);
      const g1 = f32x4.mul(boundedExp(f32x4.sub(f32x4.sub(v128.load(from, 16), top), logSum)), factor);
      v128.store(element(to, i), g0);
      v128.store(element(to, i), g1, 16);
    }
    for (; i < n; i += 4) {
      const count = min(4, n - i);
      const values = count == 4 ? v128.load(element(x, i)) : loadPart(element(x, i), count);
      const g = f32x4.mul(boundedExp(f32x4.sub(f32x4.sub(values, top), logSum)), factor);
      if (count == 4) v128.store(element(to, i), g);
      else storePart(element(to, i), g, count);
    }
    if (<u32>target < <u32>n) f32.store(element(to, target), f32.load(element(to, target)) - dy);
  }
}
