/**
 * @file Reference answers of chapter 00, welcome: the shape that two shapes broadcast to, a gradient by finite differences, a
 * matrix product by loops.
 */

// #region 0.1 broadcasting
/**
 * The shape of `a + b` for tensors of these shapes. Aligned at the last axis, two sizes fit when they are equal or one of them
 * is 1; a missing axis counts as 1.
 *
 * @throws Error when the shapes do not fit
 */
export function broadcastShape(a: number[], b: number[]): number[] {
  const axes = Math.max(a.length, b.length);
  return Array.from({ length: axes }, (_, axis) => {
    const sizeOfA = a[a.length - axes + axis] ?? 1;
    const sizeOfB = b[b.length - axes + axis] ?? 1;
    if (sizeOfA !== sizeOfB && sizeOfA !== 1 && sizeOfB !== 1) throw new Error(`[${a}] and [${b}] do not broadcast`);
    return sizeOfA === 1 ? sizeOfB : sizeOfA;
  });
}
// #endregion

// #region 0.2 finite differences
/**
 * The gradient of f at x by central differences: (f(x + h eᵢ) − f(x − h eᵢ)) / 2h for every coordinate i.
 *
 * @param x the point; it is left as it was
 * @param h the step
 */
export function numericalGradient(f: (x: Float64Array) => number, x: Float64Array, h: number): Float64Array {
  return x.map((_, i) => {
    const [right, left] = [Float64Array.from(x), Float64Array.from(x)];
    right[i]! += h;
    left[i]! -= h;
    return (f(right) - f(left)) / (2 * h);
  });
}
// #endregion

// #region 0.3 matrix product
/**
 * The product of two matrices that lie in memory row after row.
 *
 * @param a [M, K]: row i, column k is a[i * K + k]
 * @param b [K, N]
 * @returns [M, N], row after row
 */
export function matmul(a: Float32Array, b: Float32Array, M: number, K: number, N: number): Float32Array {
  const c = new Float32Array(M * N);
  for (let i = 0; i < M; i++) {
    for (let j = 0; j < N; j++) {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += a[i * K + k]! * b[k * N + j]!;
      c[i * N + j] = sum;
    }
  }
  return c;
}
// #endregion
