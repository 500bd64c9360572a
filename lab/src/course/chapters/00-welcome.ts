/** @file Chapter 00, welcome: the tools. Its answers are practice; none of them becomes a part of the model. */
import { tf } from '../../backend/index.ts';
import type { Chapter } from '../exercise.ts';

/** Central differences, coordinate by coordinate. */
function numericalGradient(f: (x: Float64Array) => number, x: Float64Array, h: number): Float64Array {
  const at = (i: number, step: number): number => f(x.map((value, j) => (j === i ? value + step : value)));
  return x.map((_, i) => (at(i, h) - at(i, -h)) / (2 * h));
}

/** a [M, K] times b [K, N], row by row of b, in the order in which it lies in memory. */
function matmul(a: Float32Array, b: Float32Array, M: number, K: number, N: number): Float32Array {
  const c = new Float32Array(M * N);
  for (let i = 0; i < M; i++) {
    for (let k = 0; k < K; k++) {
      const factor = a[i * K + k]!;
      for (let j = 0; j < N; j++) c[i * N + j]! += factor * b[k * N + j]!;
    }
  }
  return c;
}

export const chapter: Chapter = {
  number: 0,
  slug: '00-welcome',
  title: 'Welcome',
  exercises: [
    {
      id: '0.1',
      title: 'broadcasting',
      names: ['broadcastShape'],
      difficulty: 2,
      minutes: 15,
      library: { broadcastShape: (a: number[], b: number[]) => tf.backend_util.assertAndGetBroadcastShape(a, b) },
    },
    {
      id: '0.2',
      title: 'finite differences',
      names: ['numericalGradient'],
      difficulty: 1,
      minutes: 10,
      library: { numericalGradient },
    },
    { id: '0.3', title: 'matrix product', names: ['matmul'], difficulty: 2, minutes: 15, library: { matmul } },
  ],
};
