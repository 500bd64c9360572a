/**
 * @file The matrix product on a GPU's matrix units (NVIDIA's tensor cores, Apple's simdgroup matrices), in WGSL with Dawn's
 * extension `chromium_experimental_subgroup_matrix`. A workgroup owns a tile of 64 × 64 of C; each of its subgroups multiplies
 * 4 × 2 small matrices at a time, so that what it loads serves 2 or 4 times. Edges, bias and the like are done by the threads,
 * while C passes through the workgroup's memory, a quarter of the tile at a time.
 *
 * This has never run on a GPU that has such units: Dawn accepts its text, and with loops in the place of the units its results
 * are right.
 */
import {
  declareProduct,
  each,
  elementOf,
  enableFor,
  operandFunction,
  OWN_GROUP,
  PARAMETERS,
  putFunction,
  type ProductFeatures,
} from './product.wgsl.ts';
import { sumRowsFunction } from './tile.wgsl.ts';

/** Small matrices that the device multiplies: [M, K] by [K, N]. As in `GPUAdapterInfo.subgroupMatrixConfigs`. */
export interface SubgroupMatrix {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

export interface MatricesFeatures extends ProductFeatures {
  readonly matrix: SubgroupMatrix;
  /** Threads in a subgroup. */
  readonly lanes: number;
}

/** Rows and columns of C in a tile. */
export const MATRICES_TILE = 64;
/** Numbers left free after each row in the workgroup's memory, so that rows begin in different banks; 16 bytes of float16. */
const PAD = 8;
/** Small matrices of a subgroup, down and across. */
const DOWN = 4;
const ACROSS = 2;

const FOURS = MATRICES_TILE / 4;
/** Rows of C that pass through the workgroup's memory at a time: one of the DOWN matrices of each subgroup. */
const BAND = MATRICES_TILE / DOWN;
/** Threads at most: the sums of A's rows pass through the memory of a band, four numbers for each thread. */
const MOST_THREADS = (BAND * MATRICES_TILE) / 4;
/** Bytes of the workgroup's memory at most: the strips of A and B with 16 terms of 4 bytes, and a band. */
export const MATRICES_BYTES = 4 * (2 * MATRICES_TILE * (16 + PAD) + BAND * MATRICES_TILE);

/** Terms brought at a time: with numbers of 4 bytes half as many fit. */
const depthFor = (operand: ProductFeatures['operand']): number => (operand === 'half' ? 32 : 16);

/** Threads that a workgroup has with subgroups of so many lanes, or 0 if such matrices and subgroups make no tile. */
export function threadsOf({ M, N }: SubgroupMatrix, lanes: number): number {
  const threads = (MATRICES_TILE / (DOWN * M)) * (MATRICES_TILE / (ACROSS * N)) * lanes;
  const whole = MATRICES_TILE % (DOWN * M) === 0 && MATRICES_TILE % (ACROSS * N) === 0 && threads % FOURS === 0;
  return whole && threads <= MOST_THREADS ? threads : 0;
}

/** Whether the terms brought at a time are whole matrices. */
export function depthFits({ K }: SubgroupMatrix, operand: ProductFeatures['operand']): boolean {
  return depthFor(operand) % K === 0;
}

/** Where numbers lie in the workgroup's memory: as in slow memory, stored rows along k or across it. */
function strip(alongK: boolean, depth: number): { lines: number; width: number; stride: number } {
  const [lines, width] = alongK ? [MATRICES_TILE, depth] : [depth, MATRICES_TILE];
  return { lines, width, stride: width + PAD };
}

export function matricesShader(features: MatricesFeatures): string {
  const { transposeA, transposeB, operand, rowSums, matrix, lanes } = features;
  const { M, N, K } = matrix;
  const element = elementOf(operand);
  const depth = depthFor(operand);
  const threads = threadsOf(matrix, lanes);
  const [ofA, ofB] = [strip(!transposeA, depth), strip(transposeB, depth)];
  const subgroupsAcross = MATRICES_TILE / (ACROSS * N);
  const sums = (text: (i: number, j: number) => string): string => each(DOWN, (i) => each(ACROSS, (j) => text(i, j)));
  const rowOf = (i: number): string => `ownRow + ${i * M}`;
  const columnOf = (j: number): string => `ownColumn + ${j * N}`;
  const left = (i: number): string =>
    transposeA
      ? `subgroupMatrixLoad<Left, col_major>(&A, u32(k * ${ofA.stride} + ${rowOf(i)}), ${ofA.stride}u)`
      : `subgroupMatrixLoad<Left, row_major>(&A, u32((${rowOf(i)}) * ${ofA.stride} + k), ${ofA.stride}u)`;
  const right = (j: number): string =>
    transposeB
      ? `subgroupMatrixLoad<Right, col_major>(&B, u32((${columnOf(j)}) * ${ofB.stride} + k), ${ofB.stride}u)`
      : `subgroupMatrixLoad<Right, row_major>(&B, u32(k * ${ofB.stride} + ${columnOf(j)}), ${ofB.stride}u)`;
  return `${enableFor(operand)}
enable chromium_experimental_subgroup_matrix;
diagnostic(off, chromium.subgroup_matrix_uniformity);
alias Left = subgroup_matrix_left<${element}, ${K}, ${M}>;
alias Right = subgroup_matrix_right<${element}, ${N}, ${K}>;
alias Result = subgroup_matrix_result<f32, ${N}, ${M}>;
${declareProduct(features)}
${operandFunction(operand)}
${putFunction(features, 4)}
var<workgroup> A: array<${element}, ${ofA.lines * ofA.stride}>;
var<workgroup> B: array<${element}, ${ofB.lines * ofB.stride}>;
var<workgroup> C: array<f32, ${BAND * MATRICES_TILE}>; // a band of the tile
${bringFunction('A', 'a', !transposeA, depth, threads)}
${bringFunction('B', 'b', transposeB, depth, threads)}
// Finishes and stores what is in C: rows first …, then ${DOWN * M} further down, and so on.
fn putBand(start: i32, first: i32, firstColumn: i32, lane: i32) {
  for (var i = lane; i < ${BAND * FOURS}; i += ${threads}) {
    let row = first + i / ${M * FOURS} * ${DOWN * M} + i / ${FOURS} % ${M};
    let column = firstColumn + i % ${FOURS} * 4;
    if (row < product.m && column < product.n) {
      put(start, row, column, vec4<f32>(C[4 * i], C[4 * i + 1], C[4 * i + 2], C[4 * i + 3]));
    }
  }
}
${rowSums ? sumRowsFunction(threads, FOURS, 'C') : ''}

@compute @workgroup_size(${threads})
fn main(${PARAMETERS}) {
  ${OWN_GROUP}
  let subgroup = lane / ${lanes};
  let ownRow = subgroup / ${subgroupsAcross} * ${DOWN * M};
  let ownColumn = subgroup % ${subgroupsAcross} * ${ACROSS * N};
  let firstColumn = group % product.across * ${MATRICES_TILE};
  let firstRow = group / product.across % product.down * ${MATRICES_TILE};
  let matrix = group / (product.across * product.down); // of the batch, or the part of k
  let batch = matrix / product.parts;
  let firstTerm = matrix % product.parts * product.terms;
  let endTerm = min(firstTerm + product.terms, product.k);
  let startA = startOfA(batch);
  let startB = startOfB(batch);

  ${sums((i, j) => `var C${i}_${j} = Result();`)}
  ${rowSums ? 'var sum = vec4<f32>(0.0);' : ''}
  for (var k0 = firstTerm; k0 < endTerm; k0 += ${depth}) {
    workgroupBarrier();
    ${rowSums ? 'sum += ' : ''}bring_A(startA, firstRow, k0, endTerm, lane);
    bring_B(startB, firstColumn, k0, endTerm, lane);
    workgroupBarrier();
    for (var k = 0; k < ${depth}; k += ${K}) {
      ${each(ACROSS, (j) => `let right${j} = ${right(j)};`)}
      ${each(DOWN, (i) => `let left${i} = ${left(i)};`)}
      ${sums((i, j) => `C${i}_${j} = subgroupMatrixMultiplyAccumulate(left${i}, right${j}, C${i}_${j});`)}
    }
  }

  let start = matrix * product.m * product.n;
  ${each(DOWN, (i) => {
    const place = (j: number): string => `u32(subgroup / ${subgroupsAcross} * ${M * MATRICES_TILE} + ${columnOf(j)})`;
    return `workgroupBarrier();
  ${each(ACROSS, (j) => `subgroupMatrixStore<row_major>(&C, ${place(j)}, C${i}_${j}, ${MATRICES_TILE}u);`)}
  workgroupBarrier();
  putBand(start, firstRow + ${i * M}, firstColumn, lane);`;
  })}
  ${rowSums ? 'if (firstColumn == 0) { sumRows(sum, firstRow, matrix, lane); }' : ''}
}`;
}

/**
 * Fills A or B with the strip that begins at row or column `first` and term k0, as it is stored. Terms from `end` on count as
 * zeros, in A and in B; rows and columns beyond the end hold whatever comes.
 *
 * @returns in WGSL: the sum along k of what the thread brought, if it was stored across k
 */
function bringFunction(target: 'A' | 'B', source: 'a' | 'b', alongK: boolean, depth: number, threads: number): string {
  const { lines, width, stride } = strip(alongK, depth);
  const fours = width / 4;
  const summed = !alongK && target === 'A';
  const [term, other] = alongK ? ['column', 'line'] : ['line', 'column'];
  const inside = alongK ? `k0 + column + vec4<i32>(0, 1, 2, 3) < vec4<i32>(end)` : `k0 + line < end`;
  const [row, place] = alongK ? [`first + ${other}`, `k0 + ${term}`] : [`k0 + ${term}`, `first + ${other}`];
  return `fn bring_${target}(start: i32, first: i32, k0: i32, end: i32, lane: i32)${summed ? ' -> vec4<f32>' : ''} {
    ${summed ? 'var sum = vec4<f32>(0.0);' : ''}
    for (var i = lane; i < ${lines * fours}; i += ${threads}) {
      let line = i / ${fours};
      let column = i % ${fours} * 4;
      let four = select(vec4<f32>(0.0), load_${source}(start + (${row}) * product.width${target} + ${place}), ${inside});
      let rounded = operand(four);
      ${each(4, (i) => `${target}[line * ${stride} + column + ${i}] = rounded[${i}];`)}
      ${summed ? 'sum += four;' : ''}
    }
    ${summed ? 'return sum;' : ''}
  }`;
}
