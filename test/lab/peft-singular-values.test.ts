/** @file Singular values, against matrices whose own are known by how they were made. */
import { Random, singularValues } from 'lab';
import { describe, expect, it } from 'vitest';

type Rows = number[][];

const normals = (seed: number, rows: number, columns: number): Rows => {
  const random = new Random(seed);
  return Array.from({ length: rows }, () => Array.from(random.normals(columns)));
};
const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

/** Rows at right angles, of length 1: Gram and Schmidt. */
function orthonormal(seed: number, rows: number, columns: number): Rows {
  const made: Rows = [];
  for (let row of normals(seed, rows, columns)) {
    for (const other of made) {
      const along = dot(row, other);
      row = row.map((x, i) => x - along * other[i]!);
    }
    made.push(row.map((x) => x / Math.hypot(...row)));
  }
  return made;
}

/** Σ s_k u_k v_kᵀ */
function withValues(values: readonly number[], m: number, n: number): number[] {
  const [u, v] = [orthonormal(3, values.length, m), orthonormal(4, values.length, n)];
  return Array.from({ length: m * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n];
    return values.reduce((sum, s, k) => sum + s * u[k]![i]! * v[k]![j]!, 0);
  });
}

function expectNear(found: Float64Array, expected: readonly number[]): void {
  expect(found).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) expect(found[i]).toBeCloseTo(value, 10);
}

describe('singular values', () => {
  it.each([
    [4, 7],
    [7, 4],
    [5, 5],
  ])('of a matrix [%i, %i] that was made of them, the largest first', (m, n) => {
    const values = [9, 2.5, 0.3, 1e-3];
    const all = [...values, ...new Array<number>(Math.min(m, n) - values.length).fill(0)];
    expectNear(singularValues(withValues(values, m, n), [m, n]), all);
  });

  it('are as many as the rank, and zeros', () => {
    expectNear(singularValues(withValues([4, 4, 1], 6, 9), [6, 9]), [4, 4, 1, 0, 0, 0]);
  });

  it('of a single number, a row, and zeros', () => {
    expectNear(singularValues([-3], [1, 1]), [3]);
    expectNear(singularValues([3, 4], [1, 2]), [5]);
    expectNear(singularValues([3, 4], [2, 1]), [5]);
    expectNear(singularValues(new Float32Array(6), [2, 3]), [0, 0]);
  });

  it('have the sum of squares of the matrix, and the product of its determinant', () => {
    const matrix = normals(8, 3, 3);
    const [[a, b, c], [d, e, f], [g, h, i]] = matrix as [number[], number[], number[]] as [
      [number, number, number],
      [number, number, number],
      [number, number, number],
    ];
    const determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
    const found = singularValues(matrix.flat(), [3, 3]);
    expect(found.reduce((x, y) => x * y)).toBeCloseTo(Math.abs(determinant), 10);
    expect(found.reduce((sum, x) => sum + x * x, 0)).toBeCloseTo(dot(matrix.flat(), matrix.flat()), 10);
  });

  it('refuses numbers that are no such matrix', () => {
    expect(() => singularValues([1, 2, 3], [2, 2])).toThrow('3 numbers are no matrix [2, 2]');
  });
});
