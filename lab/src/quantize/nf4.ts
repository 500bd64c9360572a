/**
 * @file NF4: sixteen values that are equally likely for normally distributed weights, times the largest size in a block of 64;
 * and double quantization, which keeps those sizes in 8 bits. Dettmers et al. 2023 (QLoRA), section 3.
 */
import { invariant } from '../base/index.ts';
import type { MatrixShape } from './matrix.ts';
import { checkFinite } from './rtn.ts';

/** The values of NF4, ascending; 0 is one of them. */
export const NF4_VALUES: readonly number[] = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
].map(Math.fround);

/** Halfway between neighbours. */
const BORDERS = NF4_VALUES.slice(1).map((value, i) => (value + NF4_VALUES[i]!) / 2);

export interface NF4Options {
  /** Neighbours in a row that share a size (default 64). */
  readonly groupSize?: number;
  /** Keep the sizes in 8 bits (default true). */
  readonly double?: boolean;
  /** Sizes that share a scale, with double quantization (default 256). */
  readonly doubleGroupSize?: number;
}

/** Sizes of blocks in 8 bits: size = mean + scale of its group · code. */
export interface DoubleQuantized {
  readonly codes: Int8Array;
  /** Of all sizes. */
  readonly mean: number;
  /** One for each group of sizes. */
  readonly scales: Float32Array;
  readonly groupSize: number;
}

export interface NF4Matrix extends MatrixShape {
  readonly groupSize: number;
  /** [outputs, inputs], indices into NF4_VALUES */
  readonly codes: Uint8Array;
  /** The largest size in each block, [outputs, inputs / groupSize]. */
  readonly sizes: Float32Array | DoubleQuantized;
}

/**
 * @param weights [outputs, inputs]
 * @throws RangeError for weights that are not finite, and for blocks that do not divide the inputs.
 */
export function quantizeNF4(weights: Float32Array, shape: MatrixShape, options: NF4Options = {}): NF4Matrix {
  const { outputs, inputs } = shape;
  const { groupSize = 64, double = true, doubleGroupSize = 256 } = options;
  checkFinite('quantizeNF4', weights, shape);
  invariant(inputs % groupSize === 0, () => `quantizeNF4: blocks of ${groupSize} do not divide ${inputs} inputs`);
  const exact = Float32Array.from({ length: (outputs * inputs) / groupSize }, (_, block) => {
    const values = weights.subarray(block * groupSize, (block + 1) * groupSize);
    return values.reduce((largest, weight) => Math.max(largest, Math.abs(weight)), 0);
  });
  // The codes come from the sizes before they are rounded, as in the authors' code.
  const codes = Uint8Array.from(weights, (weight, i) => {
    const size = exact[Math.floor(i / groupSize)]!;
    return nearestNF4(size === 0 ? 0 : weight / size);
  });
  return { outputs, inputs, groupSize, codes, sizes: double ? quantizeSizes(exact, doubleGroupSize) : exact };
}

/** The floats that the codes stand for, [outputs, inputs]. */
export function decodeNF4({ codes, sizes, groupSize }: NF4Matrix): Float32Array {
  const floats = sizesOf(sizes);
  return Float32Array.from(codes, (code, i) => NF4_VALUES[code]! * floats[Math.floor(i / groupSize)]!);
}

/** The size of every block as a float. */
export function sizesOf(sizes: NF4Matrix['sizes']): Float32Array {
  if (sizes instanceof Float32Array) return sizes;
  const { codes, mean, scales, groupSize } = sizes;
  return Float32Array.from(codes, (code, i) => mean + scales[Math.floor(i / groupSize)]! * code);
}

/** The index of the nearest value; x in −1 … 1. */
export function nearestNF4(x: number): number {
  let code = 0;
  while (code < BORDERS.length && x > BORDERS[code]!) code++;
  return code;
}

function quantizeSizes(sizes: Float32Array, groupSize: number): DoubleQuantized {
  const mean = Math.fround(sizes.reduce((sum, size) => sum + size, 0) / sizes.length);
  const scales = Float32Array.from({ length: Math.ceil(sizes.length / groupSize) }, (_, group) => {
    const members = sizes.subarray(group * groupSize, (group + 1) * groupSize);
    return members.reduce((largest, size) => Math.max(largest, Math.abs(size - mean)), 0) / 127;
  });
  const codes = Int8Array.from(sizes, (size, i) => {
    const scale = scales[Math.floor(i / groupSize)]!;
    return scale === 0 ? 0 : Math.max(-127, Math.min(127, Math.round((size - mean) / scale)));
  });
  return { codes, mean, scales, groupSize };
}
