/**
 * @file The matrix product in WGSL, for any sizes: a workgroup owns a square tile of C and walks along k. Its 64 threads bring
 * a strip of A and one of B into the workgroup's memory, a block of 4 × 4 each, and multiply from there: thread (x, y) holds
 * the sums of rows 4y … and columns 4x …, 4 × 4 or 8 × 8 of them, so that what it loads serves 4 or 8 times.
 *
 * The variant with operands in float16 has never run on a GPU that has them: Dawn accepts its text, and with float32 in the
 * place of float16 its results are right.
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

/** Threads along each side of a workgroup. */
const SIDE = 8;
const THREADS = SIDE * SIDE;

/** Rows and columns of C in a tile. */
export type TileSize = 32 | 64;

/** Terms in a strip: as many as give each thread one block of 16 numbers to bring. */
export const depthOf = (size: TileSize): number => (16 * THREADS) / size;

/**
 * Fours from one term to the next in the workgroup's memory: one more than there are. When a block is turned over, eight
 * neighbouring threads, which write at once, then meet eight different banks.
 */
const strideOf = (size: TileSize): number => size / 4 + 1;

export function tileShader(features: ProductFeatures, size: TileSize): string {
  const { transposeA, transposeB, operand, rowSums } = features;
  const depth = depthOf(size);
  const element = `vec4<${elementOf(operand)}>`;
  const fours = size / 4;
  const stride = strideOf(size);
  const perThread = size / SIDE;
  const quads = perThread / 4;
  const sums = (text: (row: number, quad: number) => string): string =>
    each(perThread, (row) => each(quads, (quad) => text(row, quad)));
  return `${enableFor(operand)}
${declareProduct(features)}
${operandFunction(operand)}
${putFunction(features, 4)}
var<workgroup> A: array<${element}, ${depth * stride}>; // A[k][four of rows]
var<workgroup> B: array<${element}, ${depth * stride}>; // B[k][four of columns]
${bringFunction('A', 'a', !transposeA, size)}
${bringFunction('B', 'b', transposeB, size)}
${rowSums ? `var<workgroup> sumsOfA: array<f32, ${4 * THREADS}>;\n${sumRowsFunction(THREADS, fours, 'sumsOfA')}` : ''}

@compute @workgroup_size(${THREADS})
fn main(${PARAMETERS}) {
  ${OWN_GROUP}
  let x = lane % ${SIDE};
  let y = lane / ${SIDE};
  let firstColumn = group % product.across * ${size};
  let firstRow = group / product.across % product.down * ${size};
  let matrix = group / (product.across * product.down); // of the batch, or the part of k
  let batch = matrix / product.parts;
  let firstTerm = matrix % product.parts * product.terms;
  let endTerm = min(firstTerm + product.terms, product.k);
  let startA = startOfA(batch);
  let startB = startOfB(batch);

  ${sums((i, j) => `var C${i}_${j} = vec4<f32>(0.0);`)}
  ${rowSums ? 'var sum = vec4<f32>(0.0);' : ''}
  for (var k0 = firstTerm; k0 < endTerm; k0 += ${depth}) {
    workgroupBarrier();
    ${rowSums ? 'sum += ' : ''}bring_A(startA, firstRow, k0, endTerm, lane);
    bring_B(startB, firstColumn, k0, endTerm, lane);
    workgroupBarrier();
    for (var k = 0; k < ${depth}; k++) {
      ${each(quads, (p) => `let a${p} = vec4<f32>(A[k * ${stride} + y + ${p * SIDE}]);`)}
      ${each(quads, (q) => `let b${q} = vec4<f32>(B[k * ${stride} + x + ${q * SIDE}]);`)}
      ${sums((i, j) => `C${i}_${j} += a${i >> 2}[${i & 3}] * b${j};`)}
    }
  }

  let start = matrix * product.m * product.n;
  ${each(perThread, (i) => {
    const row = `firstRow + 4 * y + ${4 * SIDE * (i >> 2) + (i & 3)}`;
    return each(quads, (j) => {
      const column = `firstColumn + 4 * (x + ${j * SIDE})`;
      return `if (${row} < product.m && ${column} < product.n) { put(start, ${row}, ${column}, C${i}_${j}); }`;
    });
  })}
  ${rowSums ? 'if (firstColumn == 0) { sumRows(sum, firstRow, matrix, lane); }' : ''}
}`;
}

/**
 * Fills A or B with the strip that begins at row or column `first` and term k0: each thread one block of 4 × 4. Stored rows
 * that run along k are turned over on the way. Terms from `end` on count as zeros, in A and in B: what lies there may be NaN.
 * Rows and columns beyond the end hold whatever comes, and end in sums that nobody stores.
 *
 * @returns in WGSL: the sum of the block along k, if it was stored across it
 */
function bringFunction(target: 'A' | 'B', source: 'a' | 'b', alongK: boolean, size: TileSize): string {
  const fours = size / 4;
  const stride = strideOf(size);
  const width = `product.width${target}`;
  const signature = `fn bring_${target}(start: i32, first: i32, k0: i32, end: i32, lane: i32)`;
  if (alongK) {
    const pairs = depthOf(size) / 8;
    return `${signature} {
    // Eight neighbouring threads bring 2 × 4 blocks: 32 bytes of each of 16 stored rows, the least that slow memory gives.
    let term = k0 + 4 * (lane % 2 + lane / 8 % ${pairs} * 2);
    let four = lane / 2 % 4 + lane / ${8 * pairs} * 4;
    let at = start + (first + 4 * four) * ${width} + term;
    let inside = term + vec4<i32>(0, 1, 2, 3) < vec4<i32>(end);
    let block = transpose(mat4x4<f32>(
      ${[0, 1, 2, 3].map((i) => `select(vec4<f32>(0.0), load_${source}(at + ${i} * ${width}), inside)`).join(',\n      ')}));
    ${each(4, (i) => `${target}[(term - k0 + ${i}) * ${stride} + four] = operand(block[${i}]);`)}
  }`;
  }
  return `${signature}${target === 'A' ? ' -> vec4<f32>' : ''} {
    let four = lane % ${fours};
    let term = k0 + 4 * (lane / ${fours});
    let at = start + term * ${width} + first + 4 * four;
    ${each(4, (i) => `let row${i} = select(vec4<f32>(0.0), load_${source}(at + ${i} * ${width}), term + ${i} < end);`)}
    ${each(4, (i) => `${target}[(term - k0 + ${i}) * ${stride} + four] = operand(row${i});`)}
    ${target === 'A' ? 'return row0 + row1 + row2 + row3;' : ''}
  }`;
}

/**
 * `sumRows(sum, firstRow, matrix, lane)`: adds up what the threads summed of the rows of A, lane by lane in `fours` fours, and
 * stores it. Only for A stored transposed, where thread i brings numbers of the four i mod `fours` alone.
 *
 * @param memory an array of the workgroup's, four numbers for each thread
 */
export function sumRowsFunction(threads: number, fours: number, memory: string): string {
  return `fn sumRows(sum: vec4<f32>, firstRow: i32, matrix: i32, lane: i32) {
    workgroupBarrier();
    for (var i = 0; i < 4; i++) { ${memory}[4 * lane + i] = sum[i]; }
    workgroupBarrier();
    for (var i = lane; i < min(${4 * fours}, product.m - firstRow); i += ${threads}) {
      var all = 0.0;
      for (var j = i; j < ${4 * threads}; j += ${4 * fours}) { all += ${memory}[j]; }
      rowSums[matrix * product.m + firstRow + i] = all;
    }
  }`;
}
