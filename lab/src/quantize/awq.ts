/**
 * @file Activation-aware weight quantization: weights that meet large inputs matter most, so they are multiplied by s > 1 before
 * they are rounded, and their inputs by 1/s. Lin et al. 2023 (AWQ), section 3.2: s = |x|^r, the power by a search over a grid.
 *
 * The search looks at the error of the layers' outputs, X(Q − W)ᵀ, which the Hessian knows, where the authors' code looks at the
 * output of a whole attention or MLP.
 *
 * Shapes: O outputs, I inputs, G groups of a row, M inputs in a group.
 */
import { tf, type Tensor, type Tensor2D } from '../backend/index.ts';
import { decodeWeight, encodeWeight, fitGrid, type GridOptions, type WeightGrid } from './grid.ts';
import { outputEnergy } from './hessian.ts';
import { decodeMatrix, encodeMatrix, fitGrids, groupLength, type MatrixShape, type QuantizedMatrix } from './matrix.ts';
import { checkFinite, roundToNearest } from './rtn.ts';

export interface AWQOptions extends GridOptions {
  /** Weights of a row that share a grid; all unless told. */
  readonly groupSize?: 'row' | number;
  /** Powers r that are tried: 0, 1/n, … (n − 1)/n (default 20 of them). */
  readonly powers?: number;
}

/** One of the layers that read the same inputs. */
export interface AWQLayer extends MatrixShape {
  /** [O, I] */
  readonly weights: Float32Array;
  /** Search for a narrower range of each group, too; the authors leave queries and keys out. */
  readonly clip: boolean;
}

/** What is known of the inputs. */
export interface AWQInputs {
  /** [I, I] */
  readonly hessian: Float32Array;
  /** The mean size |x| of each, [I]. */
  readonly meanSizes: Float32Array;
}

export interface AWQResult {
  /** r */
  readonly power: number;
  /** s, [I] */
  readonly scales: Float32Array;
  /** The weights times s, quantized, layer by layer. */
  readonly matrices: readonly QuantizedMatrix[];
}

/** Shares of the range that the clipping tries: 1 − i/20 for i < 10. */
const [SHARES, TRIED] = [20, 10];
const SMALLEST_SIZE = 1e-4;

/** @throws RangeError for weights that are not finite, bits that there are not or groups that do not divide the inputs. */
export async function awq(layers: readonly AWQLayer[], inputs: AWQInputs, options: AWQOptions): Promise<AWQResult> {
  const { powers = 20 } = options;
  for (const layer of layers) checkFinite('awq', layer.weights, layer);
  const size = inputs.meanSizes.length;
  const hessian = tf.tensor2d(inputs.hessian, [size, size]);
  try {
    let best: Omit<AWQResult, 'matrices'> & { readonly error: number } = { power: 0, scales: new Float32Array(size), error: Infinity };
    for (let i = 0; i < powers; i++) {
      const power = i / powers;
      const scales = scalesOf(inputs.meanSizes, power);
      let error = 0;
      for (const layer of layers) error += await scaledError(layer, scales, hessian, options);
      if (error < best.error) best = { power, scales, error };
    }
    const { power, scales } = best;
    const matrices: QuantizedMatrix[] = [];
    for (const layer of layers) matrices.push(await scaledMatrix(layer, scales, hessian, options));
    return { power, scales, matrices };
  } finally {
    hessian.dispose();
  }
}

/** |x|^r, divided by √(max · min), so that the weights on the whole neither grow nor shrink. */
function scalesOf(meanSizes: Float32Array, power: number): Float32Array {
  const scales = meanSizes.map((size) => Math.max(SMALLEST_SIZE, size ** power));
  const [least, most] = scales.reduce(([low, high], scale) => [Math.min(low, scale), Math.max(high, scale)], [Infinity, 0]);
  return scales.map((scale) => scale / Math.sqrt(least * most));
}

/** Every column times its factor. */
function scaled(weights: Float32Array, factors: Float32Array): Float32Array {
  return weights.map((weight, i) => weight * factors[i % factors.length]!);
}

async function scaledError(layer: AWQLayer, scales: Float32Array, hessian: Tensor2D, options: AWQOptions): Promise<number> {
  const matrix = roundToNearest(scaled(layer.weights, scales), layer, options);
  const inverses = scales.map((scale) => 1 / scale);
  const quantized = scaled(decodeMatrix(matrix), inverses);
  return outputEnergy(
    quantized.map((value, i) => value - layer.weights[i]!),
    hessian,
  );
}

async function scaledMatrix(
  layer: AWQLayer,
  scales: Float32Array,
  hessian: Tensor2D,
  options: AWQOptions,
): Promise<QuantizedMatrix> {
  const weights = scaled(layer.weights, scales);
  if (!layer.clip) return roundToNearest(weights, layer, options);
  const grids = await clippedGrids(weights, layer, scales, hessian, options);
  return encodeMatrix(weights, layer, grids);
}

/**
 * For every group of every row the grid over a share of its range that leaves the least error of what this group alone adds to the
 * output: δ H_g δᵀ, H_g the group's block on the diagonal of the (scaled) Hessian.
 */
async function clippedGrids(
  weights: Float32Array,
  { outputs, inputs }: MatrixShape,
  scales: Float32Array,
  hessian: Tensor2D,
  options: AWQOptions,
): Promise<WeightGrid[]> {
  const length = groupLength(options.groupSize ?? 'row', inputs);
  const blocks = tf.tidy(() => diagonalBlocks(tf.div(hessian, outer(scales)), length)); // [G, M, M]
  try {
    let best = fitGrids(weights, { outputs, inputs }, options);
    let least = new Float32Array(best.length).fill(Infinity);
    for (let i = 0; i < TRIED; i++) {
      const grids = i === 0 ? best : shrunkGrids(weights, length, 1 - i / SHARES, options);
      const changes = weights.map((weight, at) => {
        const grid = grids[Math.floor(at / length)]!;
        return decodeWeight(encodeWeight(weight, grid), grid) - weight;
      });
      const errors = await groupErrors(changes, outputs, blocks);
      best = best.map((grid, group) => (errors[group]! < least[group]! ? grids[group]! : grid));
      least = least.map((error, group) => Math.min(error, errors[group]!));
    }
    return best;
  } finally {
    blocks.dispose();
  }
}

/** The grids over the weights of each group, cut off at a share of its largest. */
function shrunkGrids(weights: Float32Array, length: number, share: number, options: GridOptions): WeightGrid[] {
  return Array.from({ length: weights.length / length }, (_, group) => {
    const members = weights.subarray(group * length, (group + 1) * length);
    const most = share * members.reduce((largest, weight) => Math.max(largest, Math.abs(weight)), 0);
    return fitGrid(
      members.map((weight) => Math.max(-most, Math.min(most, weight))),
      options,
    );
  });
}

/** s sᵀ, [I, I] */
function outer(scales: Float32Array): Tensor2D {
  const column = tf.tensor2d(scales, [scales.length, 1]);
  return tf.matMul(column, column, false, true);
}

/** [I, I] → [G, M, M] */
function diagonalBlocks(matrix: Tensor, length: number): Tensor {
  const groups = matrix.shape[0]! / length;
  const at = Array.from({ length: groups }, (_, group) => group * length);
  return tf.stack(at.map((start) => tf.slice(matrix, [start, start], [length, length])));
}

/** δ H_g δᵀ for every group of every row: changes [O, G, M], blocks [G, M, M] → [O, G] */
async function groupErrors(changes: Float32Array, outputs: number, blocks: Tensor): Promise<Float32Array> {
  const [groups, length] = blocks.shape as [number, number, number];
  const errors = tf.tidy(() => {
    const byGroup = tf.transpose(tf.tensor3d(changes, [outputs, groups, length]), [1, 0, 2]); // [G, O, M]
    return tf.transpose(tf.sum(tf.mul(tf.matMul(byGroup, blocks), byGroup), -1)); // [O, G]
  });
  const values = (await errors.data<'float32'>()).slice();
  errors.dispose();
  return values;
}
