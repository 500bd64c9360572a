/**
 * @file The tile arithmetic that the three large attention shaders are made of, in WGSL.
 *
 * A workgroup owns TILE rows (queries, or keys in the pass over queries) and walks over TILE columns at a time. Its 64 threads
 * stand in a square of 8 × 8: thread (x, y) computes the scores of rows 4y … 4y + 3 with columns x, x + 8, x + 16, x + 24, so
 * that it reads eight vectors from the workgroup's memory for sixteen dot products, and neighbours read from different memory
 * banks. Head vectors pass through that memory in chunks of at most 64 numbers, which makes its size independent of the head's.
 */
import { quarters, THREADS, type ShaderFeatures } from './wgsl.ts';

/** Rows and columns of a tile. Two buffers of 32 vectors leave room for the weights in the 32 KiB that GPUs of today have. */
export const TILE = 32;

/** Threads along each side of the square. */
export const SIDE = Math.sqrt(THREADS);

/** Quarters of a head vector in workgroup memory at a time: 64 numbers. */
const MOST_QUARTERS = 16;

export interface Chunks {
  /** Quarters of a head vector, in all. */
  readonly all: number;
  /** Chunks that a head vector is cut into. */
  readonly count: number;
  /** Quarters in a chunk. */
  readonly width: number;
  /** From one vector to the next in workgroup memory; odd, so that columns lie in different banks. */
  readonly stride: number;
  /** Quarters of each chunk for which a thread holds sums: x, x + 8. */
  readonly owned: number;
}

export function chunksOf({ headSize }: ShaderFeatures): Chunks {
  const all = quarters(headSize);
  const width = Math.min(all, MOST_QUARTERS);
  return { all, count: Math.ceil(all / width), width, stride: width | 1, owned: Math.ceil(width / SIDE) };
}

/** The text for 0 … n − 1: loops that are written out, so that what they index can live in registers. */
export const each = (n: number, text: (i: number) => string): string => Array.from({ length: n }, (_, i) => text(i)).join('\n');

/** The same for every row of a thread. */
export const eachRow = (text: (row: number) => string): string => each(4, text);

/** Bytes of workgroup memory in the shader that takes the most: A, B and two tiles of weights. */
export const WORKGROUP_BYTES = 16 * (2 * TILE * (MOST_QUARTERS + 1) + 2 * TILE * SIDE);

/** A holds rows, B columns, each tile of weights four columns in one vec4: x, x + 8, x + 16, x + 24. */
export function tileMemory(chunks: Chunks, ...weights: readonly string[]): string {
  const tile = TILE * chunks.stride;
  return [
    `var<workgroup> A: array<vec4<f32>, ${tile}>;`,
    `var<workgroup> B: array<vec4<f32>, ${tile}>;`,
    ...weights.map((name) => `var<workgroup> ${name}: array<vec4<f32>, ${TILE * SIDE}>;`),
  ].join('\n');
}

/**
 * A function that fills A or B from slow memory with the vectors `first` …; beyond `end` the last one again, whose weights are 0
 * there because no range reaches so far. Beyond the end of the head there are zeros.
 */
export function fillFunction(target: 'A' | 'B', source: string, { all, width, stride }: Chunks): string {
  return `fn fill_${target}_${source}(first: i32, end: i32, chunk: i32, lane: i32) {
    for (var i = lane; i < ${TILE * width}; i += ${THREADS}) {
      let row = min(first + i / ${width}, end - 1);
      let d = chunk * ${width} + i % ${width};
      let place = i / ${width} * ${stride} + i % ${width};
      ${target}[place] = select(vec4<f32>(0.0), load_${source}(row, d), d < ${all});
    }
  }`;
}

/** NAME0 … NAME3 += rows of A · columns of B, for the chunk that is there. A vector times a matrix is four dot products. */
export function multiplyTiles(name: string, { width, stride }: Chunks): string {
  const column = (j: number): string => `B[(x + ${j * SIDE}) * ${stride} + d]`;
  return `for (var d = 0; d < ${width}; d++) {
      let columns = mat4x4<f32>(${[0, 1, 2, 3].map(column).join(', ')});
      ${eachRow((i) => `${name}${i} += A[(4 * y + ${i}) * ${stride} + d] * columns;`)}
    }`;
}

/** Declares the sums of a thread: NAME_chunk_owned_row. */
export function declareSums(name: string, { count, owned }: Chunks): string {
  return each(count, (chunk) => each(owned, (n) => eachRow((i) => `var ${name}_${chunk}_${n}_${i} = vec4<f32>(0.0);`)));
}

/** NAME += WEIGHTS · B, for the chunk that is there. A matrix times a vector is a sum of four weighted columns. */
export function accumulate(name: string, weights: string, chunk: number, { width, stride, owned }: Chunks): string {
  return `for (var c = 0; c < ${SIDE}; c++) {
      ${eachRow((i) => `let w${i} = ${weights}[(4 * y + ${i}) * ${SIDE} + c];`)}
      ${each(owned, (n) => {
        const vector = (j: number): string => `B[(c + ${j * SIDE}) * ${stride} + min(x + ${n * SIDE}, ${width - 1})]`;
        return `let vectors${n} = mat4x4<f32>(${[0, 1, 2, 3].map(vector).join(', ')});
      ${eachRow((i) => `${name}_${chunk}_${n}_${i} += vectors${n} * w${i};`)}`;
      })}
    }`;
}

/** Stores the sums of the rows below `end`, each times FACTOR(row). */
export function storeSums(
  name: string,
  target: string,
  first: string,
  end: string,
  chunks: Chunks,
  factor: (row: number) => string,
): string {
  const { count, owned, width, all } = chunks;
  const one = (chunk: number, n: number, i: number): string => {
    const quarter = `x + ${chunk * width + n * SIDE}`;
    const mine = `x + ${n * SIDE} < ${width} && ${quarter} < ${all}`;
    const value = `${name}_${chunk}_${n}_${i} * ${factor(i)}`;
    return `if (${first} + ${i} < ${end} && ${mine}) { store_${target}(${first} + ${i}, ${quarter}, ${value}); }`;
  };
  return each(count, (chunk) => each(owned, (n) => eachRow((i) => one(chunk, n, i))));
}
