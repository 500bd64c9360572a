/**
 * @file Chapter 08, GPTQ: its exercises, the library's functions in their place, and how the reader's column step becomes the
 * one that quantizes a whole model.
 */
import { tf, type Tensor2D } from '../../backend/index.ts';
import {
  cholesky,
  columnStep,
  compensate,
  damageSaliencies,
  eliminate,
  roundingCost,
  surgeonSaliency,
  type ColumnStep,
  type Quantize,
} from '../../quantize/index.ts';
import type { Answer, Assembly, Chapter } from '../exercise.ts';

/** Row after row in one array, as the library has its matrices. */
const flat = (rows: readonly (readonly number[])[]): Float64Array => Float64Array.from(rows.flat());

function rowsOf(matrix: ArrayLike<number>, n: number): number[][] {
  return Array.from({ length: n }, (_, i) => Array.from({ length: n }, (__, j) => matrix[i * n + j]!));
}

function damage(weights: number[], hessian: number[][]): number[] {
  const curvature = hessian.map((row, q) => row[q]!);
  return Array.from(damageSaliencies(weights, curvature));
}

function surgery(weights: number[], inverse: number[][], q: number): { weights: number[]; loss: number } {
  const matrix = flat(inverse);
  const moved = Float64Array.from(weights);
  const loss = surgeonSaliency(moved[q]!, matrix, q, moved.length);
  compensate(moved, matrix, q, -moved[q]!);
  moved[q] = 0;
  return { weights: Array.from(moved), loss };
}

function withoutWeight(inverse: number[][], q: number): number[][] {
  const matrix = flat(inverse);
  eliminate(matrix, q, inverse.length);
  return rowsOf(matrix, inverse.length);
}

/** The library's own takes the weights greedily or as they come; an order of the caller's is what this chapter adds. */
function quantizeRow(
  weights: number[],
  inverse: number[][],
  quantize: Quantize,
  order?: number[],
): { weights: number[]; order: number[] } {
  const [row, matrix, n] = [Float64Array.from(weights), flat(inverse), weights.length];
  const cost = (q: number): number => roundingCost(row[q]!, quantize(row[q]!, q), matrix, q, n);
  const left = new Set(row.keys());
  const taken: number[] = [];
  while (left.size > 0) {
    const q = order ? order[taken.length]! : [...left].reduce((best, other) => (cost(other) < cost(best) ? other : best));
    const rounded = quantize(row[q]!, q);
    compensate(row, matrix, q, rounded - row[q]!);
    row[q] = rounded;
    eliminate(matrix, q, n);
    left.delete(q);
    taken.push(q);
  }
  return { weights: Array.from(row), order: taken };
}

function addInputs(
  average: { readonly hessian: Tensor2D; readonly tokens: number },
  x: Tensor2D,
): { hessian: Tensor2D; tokens: number } {
  const tokens = average.tokens + x.shape[0];
  const hessian = tf.tidy(() => {
    const product = tf.matMul<Tensor2D>(x, x, true, false);
    return tf.add<Tensor2D>(tf.mul(average.hessian, average.tokens / tokens), tf.mul(product, 2 / tokens));
  });
  return { hessian, tokens };
}

/** Of H⁻¹ itself, where `prepareHessian` finds U from H. A lower factor L is at hand, and U = Lᵀ. */
function upperFactor(inverse: number[][]): number[][] {
  const lower = rowsOf(cholesky(flat(inverse)), inverse.length);
  return lower.map((_, i) => lower.map((row) => row[i]!));
}

function actOrder(diagonal: number[], groupSize: number): { order: number[]; groupIndex: number[] } {
  const order = Array.from(diagonal.keys()).sort((a, b) => diagonal[b]! - diagonal[a]! || a - b);
  return { order, groupIndex: undoOrder(Array.from(order.keys(), (step) => Math.floor(step / groupSize)), order) };
}

function undoOrder(swept: number[], order: number[]): number[] {
  const values = new Array<number>(swept.length);
  for (const [step, input] of order.entries()) values[input] = swept[step]!;
  return values;
}

export const chapter: Chapter = {
  number: 8,
  slug: '08-gptq',
  title: 'GPTQ',
  exercises: [
    { id: '8.1', title: 'the Hessian of a layer', names: ['addInputs'], difficulty: 2, minutes: 10, library: { addInputs } },
    { id: '8.2', title: 'brain damage', names: ['damage'], difficulty: 1, minutes: 10, library: { damage } },
    { id: '8.3', title: "the surgeon's cut", names: ['surgery'], difficulty: 2, minutes: 15, library: { surgery } },
    {
      id: '8.4',
      title: 'one weight less',
      names: ['eliminate'],
      difficulty: 2,
      minutes: 10,
      library: { eliminate: withoutWeight },
    },
    { id: '8.5', title: 'OBQ', names: ['quantizeRow'], difficulty: 3, minutes: 25, library: { quantizeRow } },
    { id: '8.6', title: 'all inverses at once', names: ['upperFactor'], difficulty: 3, minutes: 20, library: { upperFactor } },
    {
      id: '8.7',
      title: "GPTQ's step",
      names: ['gptqStep'],
      difficulty: 3,
      minutes: 20,
      library: { gptqStep: columnStep },
      room: "GPTQ's column step",
      plug: ({ gptqStep }: Answer, assembly: Assembly) => {
        assembly.quantize = { ...assembly.quantize, columnStep: gptqStep as ColumnStep };
      },
    },
    {
      id: '8.8',
      title: 'act-order',
      names: ['actOrder', 'undoOrder'],
      difficulty: 2,
      minutes: 15,
      library: { actOrder, undoOrder },
    },
  ],
};
