/**
 * @file GPTQ: columns are rounded one after the other, for all rows at once, and the columns that are left make up for the error.
 * Frantar et al. 2022, algorithm 1; as the authors' code does it (IST-DASLab/gptq), but for groups smaller than a block: their
 * grids are fitted to the weights as they are by then, not as they were when the block began.
 *
 * Shapes: O outputs (rows), I inputs (columns), C columns of a block, G groups.
 */
import { invariant } from '../base/index.ts';
import type { Numbers } from './arithmetic.ts';
import { columnStep, type ColumnBlock, type ColumnStep } from './column-step.ts';
import { decodeWeight, encodeWeight, fitGrid, quantizeValue, type WeightGrid, type GridOptions } from './grid.ts';
import { fitGrids, gridArrays, groupLength, type MatrixShape, type QuantizedMatrix } from './matrix.ts';
import { prepareHessian, type HessianOptions, type PreparedHessian } from './prepare-hessian.ts';
import { checkFinite } from './rtn.ts';

export interface SweepOptions extends GridOptions {
  /** Weights of a row that share a grid; all unless told. */
  readonly groupSize?: 'row' | number;
  /** Fit the grids of all groups to the original weights; with act-order groups then stay runs of neighbours. */
  readonly staticGroups?: boolean;
  /** Columns that are done before those behind them are brought up to date (default 128). */
  readonly blockSize?: number;
  /** What is done to a column; GPTQ's own step unless told. */
  readonly columnStep?: ColumnStep;
}

export interface GPTQOptions extends SweepOptions, HessianOptions {}

export interface GPTQResult {
  readonly matrix: QuantizedMatrix;
  /** By how much each input's rounding raised the (damped) squared error of the layer: Σ over rows of (w − q)²/U²/2, [I]. */
  readonly columnLosses: Float64Array;
  /** The share of diag(H)'s mean that was added to make the Hessian's factor. */
  readonly damping: number;
}

/**
 * @param weights [O, I]
 * @param hessian [I, I] (`HessianAverage`), or what `prepareHessian` made of it
 * @throws RangeError for weights that are not finite, bits that there are not or groups that do not divide the inputs; LabError
 *   for a Hessian that cannot be used.
 */
export async function gptq(
  weights: Float32Array,
  shape: MatrixShape,
  hessian: Numbers | PreparedHessian,
  options: GPTQOptions,
): Promise<GPTQResult> {
  checkFinite('gptq', weights, shape);
  const prepared = 'factor' in hessian ? hessian : await prepareHessian(hessian, options);
  invariant(
    prepared.inputs === shape.inputs,
    () => `gptq: the weights have ${shape.inputs} inputs, the Hessian ${prepared.inputs}`,
  );
  return new Sweep(weights, shape, prepared, options).run();
}

class Sweep {
  readonly #shape: MatrixShape;
  readonly #hessian: PreparedHessian;
  readonly #options: SweepOptions;
  readonly #groupSize: number;
  /** [I, O] in the order of the sweep: the weights that are left, later the debts that were settled. */
  readonly #left: Float64Array;
  /** [O · G]; the dynamic ones are fitted as the sweep comes to them. */
  readonly #grids: WeightGrid[];
  readonly #isStatic: boolean;
  readonly #codes: Uint8Array;
  readonly #columnLosses: Float64Array;

  constructor(weights: Float32Array, shape: MatrixShape, hessian: PreparedHessian, options: SweepOptions) {
    const { outputs, inputs } = shape;
    const { groupSize = 'row', staticGroups = false } = options;
    this.#shape = shape;
    this.#hessian = hessian;
    this.#options = options;
    this.#groupSize = groupLength(groupSize, inputs);
    this.#isStatic = staticGroups || this.#groupSize === inputs;
    this.#grids = this.#isStatic ? fitGrids(weights, shape, { ...options, groupSize }) : [];
    this.#left = new Float64Array(weights.length);
    const dead = new Set(hessian.dead);
    for (let step = 0; step < inputs; step++) {
      const input = this.#inputOf(step);
      if (dead.has(input)) continue;
      for (let row = 0; row < outputs; row++) this.#left[step * outputs + row] = weights[row * inputs + input]!;
    }
    this.#codes = new Uint8Array(weights.length);
    this.#columnLosses = new Float64Array(inputs);
  }

  async run(): Promise<GPTQResult> {
    const { outputs, inputs } = this.#shape;
    for (let first = 0; first < inputs; ) {
      const columns = this.#blockAt(first);
      const block = this.#sweepBlock(first, columns);
      this.#store(block, first);
      const next = first + columns;
      if (next < inputs) {
        const strip = this.#factor(first, columns, next, inputs - next);
        const shape = { columns, later: inputs - next, rows: outputs };
        await this.#hessian.arithmetic.settle(this.#left.subarray(next * outputs), strip, block.errors, shape);
      }
      first = next;
    }
    const groups = inputs / this.#groupSize;
    const { order, damping } = this.#hessian;
    const dealt = order && !this.#isStatic && groups > 1;
    const groupIndex = dealt ? new Int32Array(inputs) : null;
    if (groupIndex) for (let step = 0; step < inputs; step++) groupIndex[this.#inputOf(step)] = this.#groupOf(step);
    const { bits } = this.#options;
    const sizes = { ...this.#shape, bits, groupSize: this.#groupSize };
    const matrix = { ...sizes, codes: this.#codes, ...gridArrays(this.#grids), groupIndex };
    return { matrix, columnLosses: this.#columnLosses, damping };
  }

  /** How many columns the block from `first` on has: it ends before a group that would reach beyond its end. */
  #blockAt(first: number): number {
    const { inputs } = this.#shape;
    const { blockSize = 128 } = this.#options;
    const end = Math.min(inputs, first + blockSize);
    if (this.#isStatic || end === inputs) return end - first;
    const groupStart = end - (end % this.#groupSize);
    return (groupStart > first ? groupStart : end) - first;
  }

  #sweepBlock(first: number, columns: number): ColumnBlock {
    const { outputs: rows } = this.#shape;
    const groups = this.#shape.inputs / this.#groupSize;
    const groupOf = Int32Array.from({ length: columns }, (_, column) => this.#groupOf(first + column));
    const grids = this.#grids;
    const block: ColumnBlock = {
      columns,
      rows,
      weights: this.#left.subarray(first * rows, (first + columns) * rows),
      quantized: new Float64Array(columns * rows),
      errors: new Float64Array(columns * rows),
      factor: Float64Array.from(this.#factor(first, columns, first, columns)),
      quantize: (value, column, row) => quantizeValue(value, grids[row * groups + groupOf[column]!]!),
    };
    const { columnStep: step = columnStep } = this.#options;
    for (let column = 0; column < columns; column++) {
      if (!this.#isStatic && (first + column) % this.#groupSize === 0) this.#fitGroup(first + column);
      step(block, column);
    }
    return block;
  }

  /** The grids of the group that begins at a step of the sweep, for all rows, to what is left of the weights. */
  #fitGroup(step: number): void {
    const { outputs: rows, inputs } = this.#shape;
    const groups = inputs / this.#groupSize;
    const members = new Float32Array(this.#groupSize);
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < members.length; i++) members[i] = this.#left[(step + i) * rows + row]!;
      this.#grids[row * groups + this.#groupOf(step)] = fitGrid(members, this.#options);
    }
  }

  /** Keeps the codes and the losses of a block. */
  #store({ columns, rows, quantized, errors }: ColumnBlock, first: number): void {
    const { inputs } = this.#shape;
    const groups = inputs / this.#groupSize;
    for (let column = 0; column < columns; column++) {
      const input = this.#inputOf(first + column);
      let loss = 0;
      for (let row = 0; row < rows; row++) {
        const at = column * rows + row;
        const grid = this.#grids[row * groups + this.#groupOf(first + column)]!;
        const code = encodeWeight(quantized[at]!, grid);
        const isOnGrid = Math.abs(decodeWeight(code, grid) - quantized[at]!) <= 1e-3 * grid.scale;
        invariant(
          isOnGrid,
          () => `gptq: the column step made ${quantized[at]} of row ${row}, column ${first + column}, which is not on its grid`,
        );
        this.#codes[row * inputs + input] = code;
        loss += errors[at]! ** 2 / 2;
      }
      this.#columnLosses[input] = loss;
    }
  }

  /** A part of U, row after row. */
  #factor(row: number, rows: number, column: number, columns: number): Numbers {
    const { factor, inputs } = this.#hessian;
    const part = factor instanceof Float64Array ? new Float64Array(rows * columns) : new Float32Array(rows * columns);
    for (let r = 0; r < rows; r++) {
      const from = (row + r) * inputs + column;
      part.set(factor.subarray(from, from + columns) as Float32Array, r * columns);
    }
    return part;
  }

  #inputOf(step: number): number {
    return this.#hessian.order ? this.#hessian.order[step]! : step;
  }

  #groupOf(step: number): number {
    return Math.floor((this.#isStatic ? this.#inputOf(step) : step) / this.#groupSize);
  }
}
