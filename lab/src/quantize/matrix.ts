/**
 * @file A weight matrix as codes and the grids they are on: what every method with uniform grids gives, what is packed for the
 * device, and what a GPTQ checkpoint holds.
 *
 * Shapes: O outputs (rows), I inputs (columns), G groups of inputs.
 */
import { invariant } from '../base/index.ts';
import { packWeights, unpackWeights, type BitWidth, type PackedWeights } from '../ops/index.ts';
import { encodeWeight, fitGrid, type WeightGrid, type GridOptions } from './grid.ts';

/** Which weights share a grid: all of the matrix, those of a row, or so many neighbours in a row. */
export type GroupSize = 'tensor' | 'row' | number;

export interface MatrixShape {
  readonly outputs: number;
  readonly inputs: number;
}

/** Weight [o, i] is scales[o, g] · (codes[o, i] − zeros[o, g]), g the group of input i. */
export interface QuantizedMatrix extends MatrixShape {
  readonly bits: BitWidth;
  /** Inputs in a group. */
  readonly groupSize: number;
  /** [O, I], 0 … 2ᵇ − 1 */
  readonly codes: Uint8Array;
  /** [O, G] */
  readonly scales: Float32Array;
  /** [O, G], in the units of the codes */
  readonly zeros: Float32Array;
  /** The group of each input, [I], where they are not runs of neighbours; else null. */
  readonly groupIndex: Int32Array | null;
}

/**
 * How many neighbours share a grid.
 *
 * @throws RangeError when they do not divide the inputs.
 */
export function groupLength(groupSize: GroupSize, inputs: number): number {
  if (typeof groupSize === 'string') return inputs;
  invariant(
    Number.isInteger(groupSize) && groupSize > 0 && inputs % groupSize === 0,
    () => `groups of ${groupSize} do not divide ${inputs} inputs; 'row' makes one group of a row`,
  );
  return groupSize;
}

/** The grid of every group of every row, by runs of neighbours: [O · G]. */
export function fitGrids(
  weights: Float32Array,
  { outputs, inputs }: MatrixShape,
  { groupSize = 'row', ...options }: GridOptions & { readonly groupSize?: GroupSize },
): WeightGrid[] {
  const length = groupLength(groupSize, inputs);
  const count = (outputs * inputs) / length;
  if (groupSize === 'tensor') return new Array<WeightGrid>(count).fill(fitGrid(weights, options));
  return Array.from({ length: count }, (_, group) => fitGrid(weights.subarray(group * length, (group + 1) * length), options));
}

/** Every weight to its nearest code: the matrix on those grids, [O · G] in runs of neighbours. */
export function encodeMatrix(
  weights: Float32Array,
  { outputs, inputs }: MatrixShape,
  grids: readonly WeightGrid[],
): QuantizedMatrix {
  const groupSize = (outputs * inputs) / grids.length;
  const codes = new Uint8Array(weights.length);
  for (const [group, grid] of grids.entries()) {
    for (let i = group * groupSize; i < (group + 1) * groupSize; i++) codes[i] = encodeWeight(weights[i]!, grid);
  }
  return { outputs, inputs, bits: grids[0]!.bits, groupSize, codes, ...gridArrays(grids), groupIndex: null };
}

export function gridArrays(grids: readonly WeightGrid[]): Pick<QuantizedMatrix, 'scales' | 'zeros'> {
  return { scales: Float32Array.from(grids, ({ scale }) => scale), zeros: Float32Array.from(grids, ({ zero }) => zero) };
}

/** The floats that the codes stand for, [O, I]. */
export function decodeMatrix({ outputs, inputs, groupSize, codes, scales, zeros, groupIndex }: QuantizedMatrix): Float32Array {
  const groups = inputs / groupSize;
  const weights = new Float32Array(codes.length);
  for (let output = 0, at = 0; output < outputs; output++) {
    for (let input = 0; input < inputs; input++, at++) {
      const group = output * groups + (groupIndex ? groupIndex[input]! : Math.floor(input / groupSize));
      weights[at] = scales[group]! * (codes[at]! - zeros[group]!);
    }
  }
  return weights;
}

/** The matrix as `quantizedMatmul` takes it. */
export function packMatrix({ codes, zeros, ...rest }: QuantizedMatrix): PackedWeights {
  const middle = 2 ** (rest.bits - 1);
  return packWeights(codes, { ...rest, zeros: zeros.every((zero) => zero === middle) ? null : zeros });
}

/** The other way, exactly. */
export function unpackMatrix(packed: PackedWeights): QuantizedMatrix {
  const { outputs, inputs, bits, groupSize, order } = packed;
  const { groupIndex, ...arrays } = unpackWeights(packed);
  return { outputs, inputs, bits, groupSize, ...arrays, groupIndex: order && groupIndex };
}

/** Bits that a weight takes, its share of the grid's two floats (one where all zeros are the middle) and of g_idx included. */
export function bitsPerWeight({ words, scales, zeros, order, outputs, inputs }: PackedWeights): number {
  const bytes = [words, scales, zeros, order].reduce((sum, array) => sum + (array?.byteLength ?? 0), 0);
  return (8 * bytes) / (outputs * inputs);
}
