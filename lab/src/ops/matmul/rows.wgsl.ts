/**
 * @file A few rows times a matrix, in WGSL: what decoding one token at a time consists of. Each number of the matrix is used
 * only once for every row, so that its way from memory is all that counts: no tiles, neighbouring threads read neighbouring
 * numbers, and k is shared out over threads so that there is enough work in flight.
 */
import {
  declareProduct,
  each,
  operandFunction,
  OWN_GROUP,
  PARAMETERS,
  putFunction,
  type ProductFeatures,
} from './product.wgsl.ts';

const THREADS = 64;
/** Threads that share the k of a column, without subgroups: 16 fours are 256 bytes of a row, two cache lines of NVIDIA's. */
const USUAL_LANES = 16;
/** Fours of columns in a workgroup, for a matrix stored by rows: 64 bytes at a time, and k shared by the 16 threads of each. */
const FOURS = 4;

/** More rows than this are worth a tile. */
export const MOST_ROWS = 4;

export interface RowsFeatures extends ProductFeatures {
  /** m, at most MOST_ROWS; A must be stored by rows. */
  readonly rows: number;
  /** Threads that add up among themselves by a shuffle, from `lanesOf`; 0 to add up in the workgroup's memory. */
  readonly shuffled: number;
}

/** How many threads may share a column when subgroups have at least so many: a power of two, at least MOST_ROWS; or 0. */
export function lanesOf(smallestSubgroup: number): number {
  return smallestSubgroup < MOST_ROWS ? 0 : Math.min(USUAL_LANES, 2 ** Math.floor(Math.log2(smallestSubgroup)));
}

/** Columns that a workgroup computes. */
export function columnsOf({ transposeB, shuffled }: RowsFeatures): number {
  return transposeB ? THREADS / (shuffled || USUAL_LANES) : 4 * FOURS;
}

export function rowsShader(features: RowsFeatures): string {
  const { operand, transposeB, shuffled } = features;
  return `${transposeB && shuffled > 0 ? 'enable subgroups;' : ''}
${declareProduct(features)}
${operandFunction(operand)}
${putFunction(features, transposeB ? 1 : 4)}
${transposeB ? dotProducts(features) : weightedRows(features)}`;
}

const head = (features: RowsFeatures): string => `
@compute @workgroup_size(${THREADS})
fn main(${PARAMETERS}) {
  ${OWN_GROUP}
  let firstColumn = group % product.across * ${columnsOf(features)};
  let batch = group / product.across;
  let startA = startOfA(batch);
  let startB = startOfB(batch);
  let start = batch * product.m * product.n;`;

/** B is stored by columns: a number of C is the dot product of two stored rows. */
function dotProducts(features: RowsFeatures): string {
  const { rows, shuffled, wholeA } = features;
  const lanes = shuffled || USUAL_LANES;
  // Beyond the end of the row lies the next one.
  const beforeEnd = 'k + vec4<i32>(0, 1, 2, 3) < vec4<i32>(product.k)';
  const inside = (x: string): string => (wholeA ? x : `select(vec4<f32>(0.0), ${x}, ${beforeEnd})`);
  return `
${shuffled ? '' : `var<workgroup> sums: array<f32, ${rows * THREADS}>;`}
${head(features)}
  let own = lane % ${lanes};
  let column = firstColumn + lane / ${lanes};
  ${each(rows, (i) => `var C${i} = 0.0;`)}
  for (var k = 4 * own; k < product.k; k += ${4 * lanes}) {
    let b = operand(${inside('load_b(startB + column * product.widthB + k)')});
    ${each(rows, (i) => `C${i} += dot(operand(${inside(`load_a(startA + ${i} * product.widthA + k)`)}), b);`)}
  }
  ${shuffled ? addByShuffle(rows, lanes) : addInMemory(rows, lanes)}
}`;
}

function addByShuffle(rows: number, lanes: number): string {
  const masks = Array.from({ length: Math.log2(lanes) }, (_, i) => 2 ** i);
  return each(rows, (i) => `${masks.map((mask) => `C${i} += subgroupShuffleXor(C${i}, ${mask}u);`).join('\n  ')}
  if (own == ${i} && column < product.n) { put(start, ${i}, column, C${i}); }`);
}

function addInMemory(rows: number, lanes: number): string {
  const columns = THREADS / lanes;
  return `${each(rows, (i) => `sums[${i * THREADS} + lane] = C${i};`)}
  workgroupBarrier();
  let mine = firstColumn + lane % ${columns};
  if (lane >= ${rows * columns} || mine >= product.n) { return; }
  let row = lane / ${columns};
  var sum = 0.0;
  for (var i = 0; i < ${lanes}; i++) { sum += sums[row * ${THREADS} + lane % ${columns} * ${lanes} + i]; }
  put(start, row, mine, sum);`;
}

/** B is stored by rows: a row of C is a sum of B's rows, weighted by the numbers of A. */
function weightedRows(features: RowsFeatures): string {
  const { rows } = features;
  const slices = THREADS / FOURS;
  return `
var<workgroup> sums: array<vec4<f32>, ${rows * THREADS}>;
${head(features)}
  let column = firstColumn + 4 * (lane % ${FOURS});
  ${each(rows, (i) => `var C${i} = vec4<f32>(0.0);`)}
  for (var k = lane / ${FOURS}; k < product.k; k += ${slices}) {
    let b = operand(load_b(startB + k * product.widthB + column));
    ${each(rows, (i) => `C${i} += operand(vec4<f32>(a[startA + ${i} * product.widthA + k])) * b;`)}
  }
  ${each(rows, (i) => `sums[${i * THREADS} + lane] = C${i};`)}
  workgroupBarrier();
  if (lane >= ${FOURS * rows} || column >= product.n) { return; }
  let row = lane / ${FOURS};
  var sum = vec4<f32>(0.0);
  for (var i = lane % ${FOURS}; i < ${THREADS}; i += ${FOURS}) { sum += sums[row * ${THREADS} + i]; }
  put(start, row, column, sum);
}`;
}
