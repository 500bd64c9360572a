/**
 * @file AdamW on many tensors at once, in place. A table in memory says which pieces of which tensors belong together:
 * eight words each, as the constants below.
 */
import { element } from '../matmul/pack.as';
import { multiplyAdd } from '../matmul/tile.as';
import { address, number } from '../wasm/parallel.as';
import { loadPart, storePart, sumOf } from '../wasm/vectors.as';

const PIECE_BYTES: i32 = 32;
const VALUES: usize = 0, GRADIENTS: usize = 4, FIRST: usize = 8, SECOND: usize = 12, COUNT: usize = 16;
/** What the values shrink by; the learning rate over 1 − β₁ᵗ; 1/√(1 − β₂ᵗ) */
const DECAY: usize = 20, RATE: usize = 24, CORRECTION: usize = 28;

@inline function pieceAt(chunk: i32): usize { return address(0) + <usize>(chunk * PIECE_BYTES); }

/** The sum of the squares of a piece's gradients. 0 table, 1 sums [pieces] */
export function sumSquares(chunk: i32): void {
  const piece = pieceAt(chunk), from = <usize>i32.load(piece, GRADIENTS), n = i32.load(piece, COUNT);
  let s0 = f32x4.splat(0), s1 = s0, i: i32 = 0;
  for (; i + 8 <= n; i += 8) {
    const g0 = v128.load(element(from, i)), g1 = v128.load(element(from, i), 16);
    s0 = multiplyAdd(g0, g0, s0);
    s1 = multiplyAdd(g1, g1, s1);
  }
  let sum = sumOf(f32x4.add(s0, s1));
  for (; i < n; ++i) {
    const g = f32.load(element(from, i));
    sum += g * g;
  }
  f32.store(element(address(1), chunk), sum);
}

/** m = β₁ m + (1 − β₁) g */
@inline function firstMoment(m: v128, g: v128): v128 {
  return multiplyAdd(f32x4.splat(number(1)), m, f32x4.mul(f32x4.splat(number(3)), g));
}

/** v = β₂ v + (1 − β₂) g² */
@inline function secondMoment(v: v128, g: v128): v128 {
  return multiplyAdd(f32x4.splat(number(2)), v, f32x4.mul(f32x4.splat(number(4)), f32x4.mul(g, g)));
}

/** p · decay − rate · m / (√v · correction + ε) */
@inline function moved(p: v128, m: v128, v: v128, piece: usize): v128 {
  const scale = multiplyAdd(f32x4.sqrt(v), v128.load32_splat(piece, CORRECTION), f32x4.splat(number(5)));
  const change = f32x4.mul(v128.load32_splat(piece, RATE), f32x4.div(m, scale));
  return f32x4.sub(f32x4.mul(p, v128.load32_splat(piece, DECAY)), change);
}

/** One piece. 0 table, 1 β₁, 2 β₂, 3 1 − β₁, 4 1 − β₂, 5 ε, 6 what the gradients are multiplied by */
export function adamw(chunk: i32): void {
  const piece = pieceAt(chunk), n = i32.load(piece, COUNT), factor = f32x4.splat(number(6));
  let p = <usize>i32.load(piece, VALUES), g = <usize>i32.load(piece, GRADIENTS);
  let m = <usize>i32.load(piece, FIRST), v = <usize>i32.load(piece, SECOND), i: i32 = 0;
  for (; i + 8 <= n; i += 8) {
    const g0 = f32x4.mul(v128.load(g), factor), g1 = f32x4.mul(v128.load(g, 16), factor);
    const m0 = firstMoment(v128.load(m), g0), m1 = firstMoment(v128.load(m, 16), g1);
    const v0 = secondMoment(v128.load(v), g0), v1 = secondMoment(v128.load(v, 16), g1);
    const p0 = moved(v128.load(p), m0, v0, piece), p1 = moved(v128.load(p, 16), m1, v1, piece);
    v128.store(m, m0);
    v128.store(m, m1, 16);
    v128.store(v, v0);
    v128.store(v, v1, 16);
    v128.store(p, p0);
    v128.store(p, p1, 16);
    p += 32; g += 32; m += 32; v += 32;
  }
  for (; i < n; i += 4) {
    const count = min(4, n - i);
    if (count == 4) {
      const g0 = f32x4.mul(v128.load(g), factor), m0 = firstMoment(v128.load(m), g0), v0 = secondMoment(v128.load(v), g0);
      v128.store(m, m0);
      v128.store(v, v0);
      v128.store(p, moved(v128.load(p), m0, v0, piece));
    } else {
      const g0 = f32x4.mul(loadPart(g, count), factor);
      const m0 = firstMoment(loadPart(m, count), g0), v0 = secondMoment(loadPart(v, count), g0);
      storePart(m, m0, count);
      storePart(v, v0, count);
      storePart(p, moved(loadPart(p, count), m0, v0, piece), count);
    }
    p += 16; g += 16; m += 16; v += 16;
  }
}
