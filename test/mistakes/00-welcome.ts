/** @file Chapter 00, welcome: wrong answers with the hint that each must get, and right ones that are written differently. */
import type { ChapterMistakes } from 'lab';

/** The size of an axis counted from the last. */
const fromTheEnd = (shape: number[], i: number): number => shape[shape.length - 1 - i] ?? 1;

function fit(m: number, n: number): number {
  if (m !== n && m !== 1 && n !== 1) throw new Error(`${m} and ${n} do not fit`);
  return m === 1 ? n : m;
}

type Curve = (x: Float64Array) => number;

/** f with coordinate i of x moved, in a copy. */
const moved = (f: Curve, x: Float64Array, i: number, step: number): number => f(x.with(i, x[i]! + step));

/** A matrix product whose reading of a and b, and whose place for the result, are given. */
type Index = (row: number, column: number) => number;
function product(M: number, K: number, N: number, a: Index, b: Index, place: Index = (i, j) => i * N + j): Float32Array {
  const c = new Float32Array(M * N);
  for (let i = 0; i < M; i++) {
    for (let j = 0; j < N; j++) {
      for (let k = 0; k < K; k++) c[place(i, j)]! += a(i, k) * b(k, j);
    }
  }
  return c;
}

type Matmul = (a: Float32Array, b: Float32Array, M: number, K: number, N: number) => Float32Array;
const withoutSum: Matmul = (a, b, M, K, N) => {
  const c = new Float32Array(M * N);
  for (let i = 0; i < M; i++) {
    for (let k = 0; k < K; k++) for (let j = 0; j < N; j++) c[i * N + j] = a[i * K + k]! * b[k * N + j]!;
  }
  return c;
};

export default {
  '0.1': {
    mistakes: {
      'aligned-left': {
        broadcastShape: (a: number[], b: number[]) =>
          Array.from({ length: Math.max(a.length, b.length) }, (_, i) => fit(a[i] ?? 1, b[i] ?? 1)),
      },
      'drops-leading-axes': {
        broadcastShape: (a: number[], b: number[]) =>
          Array.from({ length: Math.min(a.length, b.length) }, (_, i) => fit(fromTheEnd(a, i), fromTheEnd(b, i))).reverse(),
      },
      'needs-equal-ranks': {
        broadcastShape: (a: number[], b: number[]) => {
          if (a.length !== b.length) throw new Error('different numbers of axes');
          return a.map((size, i) => fit(size, b[i]!));
        },
      },
      'stretches-one-side': {
        broadcastShape: (a: number[], b: number[]) => {
          const axes = Math.max(a.length, b.length);
          const sizes = Array.from(
            { length: axes },
            (_, i) => [fromTheEnd(a, axes - 1 - i), fromTheEnd(b, axes - 1 - i)] as const,
          );
          if (sizes.some(([m, n]) => m !== n && m !== 1)) throw new Error('a does not stretch to b');
          return sizes.map(([, n]) => n);
        },
      },
      'never-refuses': {
        broadcastShape: (a: number[], b: number[]) => {
          const axes = Math.max(a.length, b.length);
          return Array.from({ length: axes }, (_, i) => Math.max(fromTheEnd(a, axes - 1 - i), fromTheEnd(b, axes - 1 - i)));
        },
      },
      'takes-the-larger': {
        broadcastShape: (a: number[], b: number[]) => {
          const axes = Math.max(a.length, b.length);
          return Array.from({ length: axes }, (_, i) => {
            const [m, n] = [fromTheEnd(a, axes - 1 - i), fromTheEnd(b, axes - 1 - i)];
            fit(m, n);
            return Math.max(m, n);
          });
        },
      },
      'changes-its-arguments': {
        broadcastShape: (a: number[], b: number[]) => {
          while (a.length < b.length) a.unshift(1);
          while (b.length < a.length) b.unshift(1);
          return a.map((size, i) => fit(size, b[i]!));
        },
      },
    },
    right: [
      {
        broadcastShape: (a: number[], b: number[]) => {
          const [longer, shorter] = a.length >= b.length ? [a, b] : [b, a];
          const missing = longer.length - shorter.length;
          return longer.map((size, i) => (i < missing ? size : fit(size, shorter[i - missing]!)));
        },
      },
      {
        broadcastShape: (a: number[], b: number[]): number[] => {
          if (a.length === 0) return [...b];
          if (b.length === 0) return [...a];
          const m = a[a.length - 1]!;
          const n = b[b.length - 1]!;
          if (m !== n && m !== 1 && n !== 1) throw new RangeError('no');
          const left = (shape: number[]) => shape.slice(0, -1);
          const rest = (x: number[], y: number[]): number[] =>
            x.length === 0 || y.length === 0
              ? [...x, ...y]
              : [...rest(left(x), left(y)), fit(x[x.length - 1]!, y[y.length - 1]!)];
          return [...rest(left(a), left(b)), m === 1 ? n : m];
        },
      },
    ],
  },
  '0.2': {
    mistakes: {
      'one-sided': {
        numericalGradient: (f: Curve, x: Float64Array, h: number) => x.map((_, i) => (moved(f, x, i, h) - f(x)) / h),
      },
      'divided-by-h': {
        numericalGradient: (f: Curve, x: Float64Array, h: number) =>
          x.map((_, i) => (moved(f, x, i, h) - moved(f, x, i, -h)) / h),
      },
      'wrong-sign': {
        numericalGradient: (f: Curve, x: Float64Array, h: number) =>
          x.map((_, i) => (moved(f, x, i, -h) - moved(f, x, i, h)) / (2 * h)),
      },
      'moves-all-coordinates': {
        numericalGradient: (f: Curve, x: Float64Array, h: number) =>
          x.map(() => (f(x.map((value) => value + h)) - f(x.map((value) => value - h))) / (2 * h)),
      },
      'moves-the-point': {
        numericalGradient: (f: Curve, x: Float64Array, h: number) => {
          const gradient = new Float64Array(x.length);
          for (let i = 0; i < x.length; i++) {
            x[i]! += h;
            const right = f(x);
            x[i]! -= 2 * h;
            gradient[i] = (right - f(x)) / (2 * h);
          }
          return gradient;
        },
      },
      'ignores-h': {
        numericalGradient: (f: Curve, x: Float64Array) => x.map((_, i) => (moved(f, x, i, 1e-5) - moved(f, x, i, -1e-5)) / 2e-5),
      },
    },
    right: [
      {
        numericalGradient: (f: Curve, x: Float64Array, h: number) => {
          const gradient = new Float64Array(x.length);
          for (let i = 0; i < x.length; i++) {
            x[i]! += h;
            const right = f(x);
            x[i]! -= 2 * h;
            gradient[i] = (right - f(x)) / (2 * h);
            x[i]! += h;
          }
          return gradient;
        },
      },
      {
        numericalGradient: (f: Curve, x: Float64Array, h: number) =>
          Array.from(x, (_, i) => 0.5 * ((moved(f, x, i, h) - f(x)) / h + (f(x) - moved(f, x, i, -h)) / h)),
      },
    ],
  },
  '0.3': {
    mistakes: {
      'keeps-the-last-product': { matmul: withoutSum },
      'b-by-columns': {
        matmul: ((a, b, M, K, N) =>
          product(
            M,
            K,
            N,
            (i, k) => a[i * K + k]!,
            (k, j) => b[j * K + k]!,
          )) satisfies Matmul,
      },
      'row-length-of-b': {
        matmul: ((a, b, M, K, N) =>
          product(
            M,
            K,
            N,
            (i, k) => a[i * K + k]!,
            (k, j) => b[k * K + j]!,
          )) satisfies Matmul,
      },
      'row-length-of-a': {
        matmul: ((a, b, M, K, N) =>
          product(
            M,
            K,
            N,
            (i, k) => a[i * M + k]!,
            (k, j) => b[k * N + j]!,
          )) satisfies Matmul,
      },
      'result-by-columns': {
        matmul: ((a, b, M, K, N) =>
          product(
            M,
            K,
            N,
            (i, k) => a[i * K + k]!,
            (k, j) => b[k * N + j]!,
            (i, j) => j * M + i,
          )) satisfies Matmul,
      },
    },
    right: [
      {
        matmul: ((a, b, M, K, N) =>
          product(
            M,
            K,
            N,
            (i, k) => a[i * K + k]!,
            (k, j) => b[k * N + j]!,
          )) satisfies Matmul,
      },
      {
        matmul: ((a, b, M, K, N) => {
          const columns = Array.from({ length: N }, (_, j) => Array.from({ length: K }, (__, k) => b[k * N + j]!));
          const rows = Array.from({ length: M }, (_, i) => a.subarray(i * K, (i + 1) * K));
          return Float32Array.from(
            rows.flatMap((row) => columns.map((column) => row.reduce((sum, x, k) => sum + x * column[k]!, 0))),
          );
        }) satisfies Matmul,
      },
    ],
  },
} satisfies ChapterMistakes;
