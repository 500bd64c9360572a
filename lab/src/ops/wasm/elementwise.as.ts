/**
 * @file Operations that take their elements one by one: f(x), and f(a, b) with broadcasting.
 */
import { element } from '../matmul/pack.as';
import {
  ADD, DIVIDE, EXP, MULTIPLY_ELEMENTS, NEGATE, RSQRT, SIGMOID, SQRT, SQUARE, SQUARED_DIFFERENCE, SUBTRACT, TANH,
} from './operations';
import { address, argument } from './parallel.as';
import { exp, loadPart, rsqrt, sigmoid, storePart, tanh } from './vectors.as';

@inline function applyBinary(kind: i32, a: v128, b: v128): v128 {
  if (kind == ADD) return f32x4.add(a, b);
  if (kind == SUBTRACT) return f32x4.sub(a, b);
  if (kind == MULTIPLY_ELEMENTS) return f32x4.mul(a, b);
  if (kind == DIVIDE) return f32x4.div(a, b);
  const difference = f32x4.sub(a, b);
  return f32x4.mul(difference, difference);
}

/** One row where both operands go along. Eight elements a turn, neighbours stored together: V8 widens that to 256 bits. */
@inline function rowBoth(kind: i32, a: usize, b: usize, out: usize, n: i32): void {
  let i: i32 = 0;
  for (; i + 8 <= n; i += 8) {
    const r0 = applyBinary(kind, v128.load(a), v128.load(b)), r1 = applyBinary(kind, v128.load(a, 16), v128.load(b, 16));
    v128.store(out, r0);
    v128.store(out, r1, 16);
    a += 32; b += 32; out += 32;
  }
  for (; i + 4 <= n; i += 4) {
    v128.store(out, applyBinary(kind, v128.load(a), v128.load(b)));
    a += 16; b += 16; out += 16;
  }
  if (i < n) storePart(out, applyBinary(kind, loadPart(a, n - i), loadPart(b, n - i)), n - i);
}

/** One row where `a` (or, swapped, `b`) is the same number throughout. */
@inline function rowOne(kind: i32, one: v128, many: usize, out: usize, n: i32, swapped: bool): void {
  let i: i32 = 0;
  for (; i + 8 <= n; i += 8) {
    const x0 = v128.load(many), x1 = v128.load(many, 16);
    const r0 = swapped ? applyBinary(kind, x0, one) : applyBinary(kind, one, x0);
    const r1 = swapped ? applyBinary(kind, x1, one) : applyBinary(kind, one, x1);
    v128.store(out, r0);
    v128.store(out, r1, 16);
    many += 32; out += 32;
  }
  for (; i < n; i += 4) {
    const left = min(4, n - i);
    const x = left == 4 ? v128.load(many) : loadPart(many, left);
    const r = swapped ? applyBinary(kind, x, one) : applyBinary(kind, one, x);
    if (left == 4) v128.store(out, r);
    else storePart(out, r, left);
    many += 16; out += 16;
  }
}

@inline function binaryRows(kind: i32, chunk: i32): void {
  const columns = argument(4), total = argument(7), alongA = argument(8), alongB = argument(9), axes = argument(10);
  const first = chunk * argument(5), last = min(argument(3), first + argument(5));
  for (let row = first; row < last; ++row) {
    // The row's place in the outer axes says where the operands' rows begin.
    let a = address(0), b = address(1), rest = row;
    for (let axis = axes - 1; axis >= 0; --axis) {
      const size = argument(11 + 3 * axis), outer = rest / size, at = rest - outer * size;
      a = element(a, at * argument(12 + 3 * axis));
      b = element(b, at * argument(13 + 3 * axis));
      rest = outer;
    }
    const n = min(columns, total - row * columns), out = element(address(2), row * columns);
    if (alongA != 0 && alongB != 0) rowBoth(kind, a, b, out, n);
    else if (alongA != 0) rowOne(kind, v128.load32_splat(b), a, out, n, true);
    else rowOne(kind, v128.load32_splat(a), b, out, n, false);
  }
}

/**
 * f(a, b) on some rows of the output.
 *
 * 0 a, 1 b, 2 output
 * 3 rows, 4 elements in a row, 5 rows in a chunk, 6 which function, 7 elements of the output
 * 8, 9 whether a, b go along within a row (1) or are one number there (0)
 * 10 number of outer axes; from 11 on, for each: its size and the steps of a and b from one place to the next
 */
export function binary(chunk: i32): void {
  switch (argument(6)) {
    case ADD: binaryRows(ADD, chunk); break;
    case SUBTRACT: binaryRows(SUBTRACT, chunk); break;
    case MULTIPLY_ELEMENTS: binaryRows(MULTIPLY_ELEMENTS, chunk); break;
    case DIVIDE: binaryRows(DIVIDE, chunk); break;
    case SQUARED_DIFFERENCE: binaryRows(SQUARED_DIFFERENCE, chunk); break;
  }
}

@inline function applyUnary(kind: i32, x: v128): v128 {
  if (kind == EXP) return exp(x);
  if (kind == TANH) return tanh(x);
  if (kind == SQRT) return f32x4.sqrt(x);
  if (kind == RSQRT) return rsqrt(x);
  if (kind == SQUARE) return f32x4.mul(x, x);
  if (kind == SIGMOID) return sigmoid(x);
  return f32x4.neg(x);
}

@inline function unaryRange(kind: i32, chunk: i32): void {
  const first = chunk * argument(3), last = min(argument(2), first + argument(3));
  let from = element(address(0), first), to = element(address(1), first), i = first;
  for (; i + 8 <= last; i += 8) {
    const r0 = applyUnary(kind, v128.load(from)), r1 = applyUnary(kind, v128.load(from, 16));
    v128.store(to, r0);
    v128.store(to, r1, 16);
    from += 32; to += 32;
  }
  for (; i < last; i += 4) {
    const left = min(4, last - i);
    const r = applyUnary(kind, left == 4 ? v128.load(from) : loadPart(from, left));
    if (left == 4) v128.store(to, r);
    else storePart(to, r, left);
    from += 16; to += 16;
  }
}

/** f(x). 0 x, 1 output, 2 elements, 3 elements in a chunk, 4 which function */
export function unary(chunk: i32): void {
  switch (argument(4)) {
    case EXP: unaryRange(EXP, chunk); break;
    case TANH: unaryRange(TANH, chunk); break;
    case SQRT: unaryRange(SQRT, chunk); break;
    case RSQRT: unaryRange(RSQRT, chunk); break;
    case SQUARE: unaryRange(SQUARE, chunk); break;
    case NEGATE: unaryRange(NEGATE, chunk); break;
    case SIGMOID: unaryRange(SIGMOID, chunk); break;
  }
}
