/**
 * @file GELU and SwiGLU on wasm, eight numbers at a time, forward and backward in one pass each. The rest at the end is done as
 * if it were four numbers, of which only those that are there are stored.
 */
import { element } from '../matmul/pack.as';
import { GELU_GRADIENT, GELU_VALUES, SWIGLU_GRADIENT, SWIGLU_VALUES } from '../wasm/operations';
import { address, argument } from '../wasm/parallel.as';
import { boundedExp, geluShare, geluSlope, loadPart, storePart } from '../wasm/vectors.as';

@inline function geluOf(x: v128): v128 { return f32x4.mul(x, geluShare(x, f32x4.mul(x, x))); }

@inline function geluSlopeOf(x: v128): v128 {
  const square = f32x4.mul(x, x);
  return geluSlope(x, square, geluShare(x, square));
}

@inline function one(): v128 { return f32x4.splat(1); }

@inline function sigmoidOf(x: v128): v128 { return f32x4.div(one(), f32x4.add(one(), boundedExp(f32x4.neg(x)))); }

/** d silu/dx = s · (1 + x · (1 − s)) */
@inline function siluSlope(x: v128, s: v128): v128 {
  return f32x4.mul(s, f32x4.add(f32x4.mul(x, f32x4.sub(one(), s)), one()));
}

@inline function load(from: usize, count: i32): v128 { return count == 4 ? v128.load(from) : loadPart(from, count); }

@inline function store(to: usize, x: v128, count: i32): void {
  if (count == 4) v128.store(to, x);
  else storePart(to, x, count);
}

/** y = gelu(x), or its gradient dy · gelu′(x). */
@inline function gelu(gradient: bool, first: i32, last: i32): void {
  let x = element(address(0), first), dy = element(address(2), first), to = element(address(3), first), i = first;
  for (; i + 8 <= last; i += 8) {
    let r0: v128, r1: v128;
    if (gradient) {
      r0 = f32x4.mul(geluSlopeOf(v128.load(x)), v128.load(dy));
      r1 = f32x4.mul(geluSlopeOf(v128.load(x, 16)), v128.load(dy, 16));
      dy += 32;
    } else {
      r0 = geluOf(v128.load(x));
      r1 = geluOf(v128.load(x, 16));
    }
    v128.store(to, r0);
    v128.store(to, r1, 16);
    x += 32; to += 32;
  }
  for (; i < last; i += 4) {
    const count = min(4, last - i), values = load(x, count);
    store(to, gradient ? f32x4.mul(geluSlopeOf(values), load(dy, count)) : geluOf(values), count);
    x += 16; dy += 16; to += 16;
  }
}

/** y = silu(gate) · up */
@inline function swiglu(first: i32, last: i32): void {
  let gate = element(address(0), first), up = element(address(1), first), to = element(address(3), first), i = first;
  for (; i + 8 <= last; i += 8) {
    const g0 = v128.load(gate), g1 = v128.load(gate, 16);
    const r0 = f32x4.mul(f32x4.mul(g0, sigmoidOf(g0)), v128.load(up));
    const r1 = f32x4.mul(f32x4.mul(g1, sigmoidOf(g1)), v128.load(up, 16));
    v128.store(to, r0);
    v128.store(to, r1, 16);
    gate += 32; up += 32; to += 32;
  }
  for (; i < last; i += 4) {
    const count = min(4, last - i), g = load(gate, count);
    store(to, f32x4.mul(f32x4.mul(g, sigmoidOf(g)), load(up, count)), count);
    gate += 16; up += 16; to += 16;
  }
}

/** dgate = dy · up · silu′(gate), dup = dy · silu(gate) */
@inline function swigluGradient(first: i32, last: i32): void {
  let gate = element(address(0), first), up = element(address(1), first), dy = element(address(2), first);
  let dGate = element(address(3), first), dUp = element(address(4), first);
  for (let i = first; i < last; i += 4) {
    const count = min(4, last - i), g = load(gate, count), d = load(dy, count), s = sigmoidOf(g);
    store(dGate, f32x4.mul(f32x4.mul(d, load(up, count)), siluSlope(g, s)), count);
    store(dUp, f32x4.mul(d, f32x4.mul(g, s)), count);
    gate += 16; up += 16; dy += 16; dGate += 16; dUp += 16;
  }
}

/** 0 x or gate, 1 up, 2 dy, 3 output, 4 second output, 5 elements, 6 elements in a chunk, 7 what is computed */
export function activate(chunk: i32): void {
  const first = chunk * argument(6), last = min(argument(5), first + argument(6));
  switch (argument(7)) {
    case GELU_VALUES: gelu(false, first, last); break;
    case GELU_GRADIENT: gelu(true, first, last); break;
    case SWIGLU_VALUES: swiglu(first, last); break;
    case SWIGLU_GRADIENT: swigluGradient(first, last); break;
  }
}
