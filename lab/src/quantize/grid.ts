/**
 * @file Grids: the few values that a weight of b bits may have, scale · (code − zero) for the codes 0 … 2ᵇ − 1, and how a grid
 * is laid over some weights. In single precision and to the bit as the authors of GPTQ do it (IST-DASLab/gptq, quant.py), but
 * for one thing: a symmetric grid is symmetric for weights that are all positive, too.
 */
import { invariant, roundHalfToEven } from '../base/index.ts';
import { fromFloat32, toFloat32 } from '../files/index.ts';
import { BIT_WIDTHS, type BitWidth } from '../ops/index.ts';

export interface GridOptions {
  readonly bits: BitWidth;
  /** The same reach on both sides of zero, whose code is 2ᵇ⁻¹; default false: from the smallest to the largest weight. */
  readonly symmetric?: boolean;
  /**
   * 'range' (default): no weight is cut off. 'mse': the share of the range, from 1 down to 0.21, that leaves the least
   * Σ|error|^2.4, as a few outliers are cheaper to cut off than to reach. Or a way of your own to fit a grid.
   */
  readonly search?: 'range' | 'mse' | GridSearch;
  /**
   * 'float32' (default), or only scales that float16 has, as GPTQ checkpoints store them: then the file holds the very weights.
   */
  readonly scales?: 'float32' | 'float16';
}

/** Fits a grid to the weights that share it. */
export type GridSearch = (weights: ArrayLike<number>, options: GridOptions) => WeightGrid;

/** Code c stands for scale · (c − zero). */
export interface WeightGrid {
  readonly bits: BitWidth;
  readonly scale: number;
  /** A code, or close to one: a whole number from 0 to 2ᵇ − 1. */
  readonly zero: number;
}

/** Shares of the range that the search tries: 1 − i/100 for i < 80. */
const [SHARES, TRIED] = [100, 80];
/** The power of the errors that the search adds up. */
const NORM = 2.4;

/**
 * The grid over some weights; it always holds 0.
 *
 * @throws RangeError for a number of bits that there is not.
 */
export function fitGrid(weights: ArrayLike<number>, options: GridOptions): WeightGrid {
  const { bits, search = 'range' } = options;
  invariant(BIT_WIDTHS.includes(bits), () => `fitGrid: bits must be one of ${BIT_WIDTHS.join(', ')}, got ${bits}`);
  if (typeof search === 'function') {
    const own = search(weights, options);
    return options.scales === 'float16' ? { ...own, scale: nearestHalf(own.scale) || own.scale } : own;
  }
  const [low, high] = rangeOf(weights, options.symmetric ?? false);
  const whole = gridOf(low, high, options);
  if (search === 'range') return whole;
  let [best, least] = [whole, Infinity];
  for (let i = 0; i < TRIED; i++) {
    const share = 1 - i / SHARES;
    const grid = gridOf(Math.fround(share * low), Math.fround(share * high), options);
    const error = errorOn(weights, grid);
    if (error < least) [best, least] = [grid, error];
  }
  return best;
}

/** The code of the grid's value nearest to x. */
export function encodeWeight(x: number, { bits, scale, zero }: WeightGrid): number {
  const code = roundHalfToEven(Math.fround(x / scale)) + zero;
  const most = 2 ** bits - 1;
  return code < 0 ? 0 : code > most ? most : code;
}

/** The value of a code. */
export function decodeWeight(code: number, { scale, zero }: WeightGrid): number {
  return Math.fround(scale * (code - zero));
}

/** The grid's value nearest to x. */
export function quantizeValue(x: number, grid: WeightGrid): number {
  return decodeWeight(encodeWeight(x, grid), grid);
}

function rangeOf(weights: ArrayLike<number>, symmetric: boolean): [low: number, high: number] {
  let [low, high] = [0, 0];
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i]!;
    if (weight < low) low = weight;
    if (weight > high) high = weight;
  }
  if (!symmetric) return [low, high];
  const reach = Math.max(-low, high);
  return [-reach, reach];
}

function gridOf(low: number, high: number, options: GridOptions): WeightGrid {
  const { bits, symmetric = false, scales = 'float32' } = options;
  const most = 2 ** bits - 1;
  const exact = Math.fround(Math.fround(high - low) / most);
  const scale = scales === 'float16' ? nearestHalf(exact) : exact;
  // Weights that are all zero, or too small for a step, lie on any grid that is wide enough.
  if (scale === 0) return gridOf(-1, 1, options);
  return { bits, scale, zero: symmetric ? 2 ** (bits - 1) : Math.min(most, roundHalfToEven(Math.fround(-low / scale))) };
}

/** The nearest number that float16 has. */
function nearestHalf(x: number): number {
  return toFloat32({ dtype: 'F16', shape: [1], data: fromFloat32(Float32Array.of(x), 'F16') })[0]!;
}

function errorOn(weights: ArrayLike<number>, grid: WeightGrid): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) sum += Math.abs(quantizeValue(weights[i]!, grid) - weights[i]!) ** NORM;
  return sum;
}
