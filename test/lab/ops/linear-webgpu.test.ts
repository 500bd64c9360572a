/**
 * @file The linear layer and the MLP on webgpu, values and gradients, against double precision.
 *
 * Shapes: N rows, I inputs, O outputs.
 */
import {
  acceleratedOperations,
  geluMLP,
  linear,
  Random,
  tf,
  withMatmulPrecision,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
} from 'lab';
import { describe, expect, it } from 'vitest';
import { relativeError } from '../core-fixture.ts';
import { hasSoftwareGpu } from './software-gpu.ts';
import { onBackend } from '../on-backend.ts';

const random = new Random(3);
/** A matrix in double precision, row by row. */
class Matrix {
  readonly values: Float64Array;
  readonly rows: number;
  readonly columns: number;

  constructor(rows: number, columns: number, value: (i: number, j: number) => number) {
    [this.rows, this.columns] = [rows, columns];
    this.values = Float64Array.from({ length: rows * columns }, (_, at) => value(Math.floor(at / columns), at % columns));
  }

  static normal(rows: number, columns: number): Matrix {
    const values = random.normals(rows * columns);
    return new Matrix(rows, columns, (i, j) => values[i * columns + j]!);
  }

  at = (i: number, j: number): number => this.values[i * this.columns + j]!;
  transposed = (): Matrix => new Matrix(this.columns, this.rows, (i, j) => this.at(j, i));
  map = (f: (x: number) => number): Matrix => new Matrix(this.rows, this.columns, (i, j) => f(this.at(i, j)));
  times = (other: Matrix): Matrix => new Matrix(this.rows, this.columns, (i, j) => this.at(i, j) * other.at(i, j));
  plusRow = (row: Matrix): Matrix => new Matrix(this.rows, this.columns, (i, j) => this.at(i, j) + row.at(0, j));
  sumOfRows = (): Matrix => new Matrix(1, this.rows, () => 1).dot(this);
  dot = (other: Matrix): Matrix =>
    new Matrix(this.rows, other.columns, (i, j) => {
      let sum = 0;
      for (let k = 0; k < this.columns; k++) sum += this.at(i, k) * other.at(k, j);
      return sum;
    });
  tensor = <T extends Tensor>(): T => tf.tensor2d(Float32Array.from(this.values), [this.rows, this.columns]) as Tensor as T;
}

const probability = (x: number): number => 1 / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const gelu = (x: number): number => x * probability(x);
const geluSlope = (x: number): number => {
  const p = probability(x);
  return p + x * p * (1 - p) * 2 * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x);
};

/** All tensors of one layer, and its gradients for a given dy. */
interface Layer {
  readonly x: Matrix;
  readonly weight: Matrix;
  readonly bias: Matrix;
}
const forward = ({ x, weight, bias }: Layer): Matrix => x.dot(weight.transposed()).plusRow(bias);
const backward = ({ x, weight }: Layer, dy: Matrix): [Matrix, Matrix, Matrix] => {
  return [dy.dot(weight), dy.transposed().dot(x), dy.sumOfRows()];
};

const makeLayer = (x: Matrix, outputs: number): Layer => {
  return { x, weight: Matrix.normal(outputs, x.columns), bias: Matrix.normal(1, outputs) };
};
const biasOf = ({ bias }: Layer): Tensor1D => bias.tensor<Tensor2D>().flatten();

async function expectAll(received: readonly Tensor[], expected: readonly Matrix[], tolerance: number): Promise<void> {
  expect(received.length).toBe(expected.length);
  for (const [i, tensor] of received.entries()) {
    const { values } = expected[i]!;
    expect(tensor.size).toBe(values.length);
    // Sums of many terms of either sign may come out near zero; the terms are of the size of one.
    expect(relativeError(await tensor.data(), values, Math.sqrt(values.length)), `tensor ${i}`).toBeLessThan(tolerance);
  }
  tf.dispose(received as Tensor[]);
}

/** [rows, inputs, outputs]: few rows, whole fours and not, several tiles, sums that are cut: forward, in dx, in dW. */
const sizes = [
  [1, 1, 1],
  [1, 37, 65],
  [2, 8, 12],
  [3, 1100, 7],
  [4, 6, 10],
  [17, 33, 1],
  [33, 5, 3],
  [40, 64, 36],
  [65, 12, 127],
  [6, 1300, 20],
  [6, 1300, 21],
  [9, 20, 1300],
  [9, 7, 1301],
  [1500, 9, 13],
  [1100, 5, 150],
] as const;

describe.runIf(hasSoftwareGpu)('on webgpu', () => {
  onBackend({ backend: 'webgpu', softwareGpu: true });

  it('the linear layer has kernels of its own', () => {
    expect(acceleratedOperations()).toEqual(expect.arrayContaining(['BatchMatMul', 'lab.linear', 'lab.linearGradient']));
  });

  it.each(sizes)('linear: %i rows, %i → %i', async (rows, inputs, outputs) => {
    const layer = makeLayer(Matrix.normal(rows, inputs), outputs);
    const dy = Matrix.normal(rows, outputs);
    const given = [layer.x.tensor(), layer.weight.tensor(), biasOf(layer)];
    const run = (...[x, weight, bias]: Tensor[]): Tensor =>
      linear(x!, weight as Tensor2D, (bias as Tensor1D | undefined) ?? null);
    const { value, grads } = tf.valueAndGrads(run)(given, dy.tensor());
    await expectAll([value], [forward(layer)], 1e-5);
    await expectAll(grads, backward(layer, dy), 1e-5);
    const plain = tf.valueAndGrads(run)(given.slice(0, 2), dy.tensor());
    await expectAll([plain.value], [layer.x.dot(layer.weight.transposed())], 1e-5);
    await expectAll(plain.grads, backward(layer, dy).slice(0, 2), 1e-5);
  });

  it.each(sizes)('geluMLP: %i rows, width %i, hidden %i', async (rows, inputs, hidden) => {
    const up = makeLayer(Matrix.normal(rows, inputs), hidden);
    const before = forward(up);
    const down = makeLayer(before.map(gelu), inputs);
    const dy = Matrix.normal(rows, inputs);
    const [dBent, ...ofDown] = backward(down, dy);
    const ofUp = backward(up, dBent.times(before.map(geluSlope)));
    const run = (...[x, weight, bias, weight2, bias2]: Tensor[]): Tensor =>
      geluMLP(x!, { weight, bias } as never, { weight: weight2, bias: bias2 } as never);
    const given = [up.x.tensor(), up.weight.tensor(), biasOf(up), down.weight.tensor(), biasOf(down)];
    await expectAll([run(...given)], [forward(down)], 1e-5);
    const { value, grads } = tf.valueAndGrads(run)(given, dy.tensor());
    await expectAll([value], [forward(down)], 1e-5);
    await expectAll(grads, [...ofUp, ...ofDown], 1e-5);
  });

  it('linear takes any leading axes, and none at all', async () => {
    for (const leading of [[], [2, 3], [1, 4, 1]]) {
      const layer = makeLayer(Matrix.normal(leading.reduce((a, b) => a * b, 1), 6), 5);
      const y = linear(layer.x.tensor().reshape([...leading, 6]), layer.weight.tensor(), biasOf(layer));
      expect(y.shape).toEqual([...leading, 5]);
      await expectAll([y], [forward(layer)], 1e-5);
    }
  });

  /** Of the sum of the outputs. */
  const gradientsOf = (x: Tensor, weight: Tensor2D, bias: Tensor1D, outputs: [number, number]): Tensor[] => {
    const run = (...[a, w, b]: Tensor[]): Tensor => linear(a!, w as Tensor2D, b as Tensor1D);
    return tf.valueAndGrads(run)([x, weight, bias], tf.ones(outputs)).grads;
  };

  it('linear of no rows is nothing, with zero gradients', async () => {
    const [x, weight, bias] = [tf.zeros([0, 3]), Matrix.normal(2, 3).tensor<Tensor2D>(), tf.ones<tf.Rank.R1>([2])] as const;
    expect(linear(x, weight, bias).shape).toEqual([0, 2]);
    const gradients = gradientsOf(x, weight, bias, [0, 2]);
    expect(gradients.map((gradient) => gradient.shape)).toEqual([[0, 3], [2, 3], [2]]);
    for (const gradient of gradients) expect((await gradient.data()).every((g) => g === 0)).toBe(true);
  });

  it('linear of no inputs is the bias, of no outputs nothing', async () => {
    const bias = tf.tensor1d([3, 4, 5]);
    const [x, weight] = [tf.zeros([2, 0]), tf.zeros<tf.Rank.R2>([3, 0])];
    expect([...(await linear(x, weight, bias).data())]).toEqual([3, 4, 5, 3, 4, 5]);
    const gradients = gradientsOf(x, weight, bias, [2, 3]);
    expect(gradients.map((gradient) => gradient.shape)).toEqual([[2, 0], [3, 0], [3]]);
    expect([...(await gradients[2]!.data())]).toEqual([2, 2, 2]);
    const [wide, none] = [tf.ones([2, 4]), tf.zeros<tf.Rank.R2>([0, 4])];
    expect(linear(wide, none, tf.zeros([0])).shape).toEqual([2, 0]);
    const ofNone = gradientsOf(wide, none, tf.zeros([0]), [2, 0]);
    expect(ofNone.map((gradient) => gradient.shape)).toEqual([[2, 4], [0, 4], [0]]);
    expect([...(await ofNone[0]!.data())]).toEqual(Array(8).fill(0));
  });

  it('GELU stays finite at the ends', async () => {
    const x = tf.tensor2d([-3e38, -1e4, -40, -6, -0, 0, 6, 40, 1e4, 3e38], [10, 1]);
    const one = { weight: tf.ones<tf.Rank.R2>([1, 1]), bias: null };
    const y = await geluMLP(x, one, one).data();
    expect([...y].map((v) => Math.round(v * 1e4) / 1e4 + 0)).toEqual([0, 0, 0, 0, 0, 0, 6, 40, 1e4, Math.fround(3e38)]);
    const slopes = await tf.grad((a) => geluMLP(a as Tensor2D, one, one))(x).data();
    expect([...slopes].map((v) => Math.round(v * 1e4) / 1e4 + 0)).toEqual([0, 0, 0, 0, 0.5, 0.5, 1, 1, 1, 1]);
  });

  it('sums the bias gradient exactly also where products are rounded, and repeats bit for bit', async () => {
    const [x, weight, dy] = [Matrix.normal(70, 9), Matrix.normal(35, 9), Matrix.normal(70, 35)];
    const run = (): Tensor[] => {
      const of = (a: Tensor, w: Tensor, b: Tensor): Tensor => linear(a, w as Tensor2D, b as Tensor1D);
      const { value, grads } = tf.valueAndGrads(of as never)([x.tensor(), weight.tensor(), tf.zeros([35])], dy.tensor());
      return [value, ...grads];
    };
    const [first, again, mixed] = [run(), run(), withMatmulPrecision('mixed', run)];
    for (const [i, tensor] of first.entries()) expect(await again[i]!.data()).toEqual(await tensor.data());
    expect(await mixed[3]!.data()).toEqual(await first[3]!.data());
    for (const i of [0, 1, 2]) {
      const error = relativeError(await mixed[i]!.data(), await first[i]!.data());
      expect(error).toBeGreaterThan(5e-5);
      expect(error).toBeLessThan(1e-3);
    }
  });

  it('leaves no tensor and no buffer behind', async () => {
    const { bufferManager } = tf.backend() as unknown as { bufferManager: { numBytesUsed: number } };
    const given = [Matrix.normal(1500, 9), Matrix.normal(13, 9), Matrix.normal(1, 13)].map((matrix) => matrix.tensor());
    const step = async (): Promise<void> => {
      const run = (...[x, weight, bias]: Tensor[]): Tensor =>
        geluMLP(x!, { weight, bias: bias!.flatten() } as never, { weight: weight!.transpose(), bias: null } as never);
      const { value, grads } = tf.valueAndGrads(run)(given);
      await Promise.all([value, ...grads].map((tensor) => tensor.data()));
      tf.dispose([value, grads]);
    };
    const taken = (): object => ({ tensors: tf.memory().numTensors, bytes: bufferManager.numBytesUsed });
    await step();
    const before = taken();
    for (let i = 0; i < 3; i++) await step();
    expect(taken()).toEqual(before);
  });
});
