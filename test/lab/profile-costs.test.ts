/** @file What kernels cost, held against counts by hand. */
import {
  attentionProblem,
  bandwidthAt,
  bytesMoved,
  costOf,
  declareCost,
  startBackend,
  stopBackend,
  tf,
  visiblePairs,
  type FusedAttentionOptions,
  type TensorShape,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { machine } from './profile-fixture.ts';

const float = (...shape: number[]): TensorShape => ({ shape, dtype: 'float32' });
const int = (...shape: number[]): TensorShape => ({ shape, dtype: 'int32' });

beforeAll(() => startBackend({ backend: 'cpu' }));
afterAll(stopBackend);

describe('costs', () => {
  const flopsOf = (name: string, inputs: Record<string, TensorShape>, outputs: TensorShape[], attributes = {}) =>
    costOf({ name, inputs, outputs, attributes }).flops;

  const transposed = { transposeA: true, transposeB: true };
  it.each([
    ['as they are', { a: float(3, 4), b: float(4, 5) }, {}, 2 * 3 * 4 * 5],
    ['in a batch, transposed', { a: float(2, 4, 3), b: float(2, 5, 4) }, transposed, 2 * 2 * 3 * 4 * 5],
  ])('of matrix products %s', (_, inputs, attributes, flops) => {
    const output = inputs.a.shape.length === 2 ? float(3, 5) : float(2, 3, 5);
    expect(costOf({ name: 'BatchMatMul', inputs, outputs: [output], attributes })).toEqual({
      flops,
      bytes: 4 * (flops / 2 / 5 + flops / 2 / 3 + flops / 2 / 4),
    });
  });

  it('of a linear layer and its gradient, by hand', () => {
    const [x, weight, bias, y] = [float(2, 3, 4), float(5, 4), float(5), float(2, 3, 5)]; // N 6, I 4, O 5
    expect(flopsOf('lab.linear', { x, weight }, [y])).toBe(2 * 6 * 4 * 5);
    expect(flopsOf('lab.linear', { x, weight, bias }, [y])).toBe(2 * 6 * 4 * 5 + 30);
    const bent = { gelu: true, derivative: true };
    expect(flopsOf('lab.linear', { x, weight, bias }, [y, y], bent)).toBe(2 * 6 * 4 * 5 + 30 + 30 * 16);
    const gradients = [x, weight, bias];
    expect(flopsOf('lab.linearGradient', { x, weight, dy: y }, gradients, { bias: true })).toBe(2 * (2 * 6 * 4 * 5) + 30);
    expect(flopsOf('lab.linearGradient', { x, weight, dy: y, factor: x }, [x, weight])).toBe(2 * (2 * 6 * 4 * 5) + 24);
    expect(flopsOf('lab.linearGradient', { x, weight, dy: y }, [weight])).toBe(2 * 6 * 4 * 5);
  });

  it('of attention: four operations for each pair that a query sees and each number of a head', () => {
    const [q, k] = [tf.zeros<tf.Rank.R4>([2, 4, 5, 8]), tf.zeros<tf.Rank.R4>([2, 2, 7, 8])];
    const pairs = (options: FusedAttentionOptions): number => visiblePairs(attentionProblem(q, k, k, options));
    expect(pairs({})).toBe(2 * 4 * 5 * 7);
    expect(pairs({ causal: true })).toBe(2 * 4 * (3 + 4 + 5 + 6 + 7));
    expect(pairs({ causal: true, window: { left: 1 } })).toBe(2 * 4 * 5 * 2);
    expect(pairs({ documents: { queries: [[0, 2, 5], [0, 5]], keys: [[0, 3, 7], [0, 6]] } })).toBe(4 * (2 * 3 + 3 * 4 + 5 * 6));
    const attributes = attentionProblem(q, k, k, { causal: true });
    const cost = (name: string): number => costOf({ name, inputs: {}, outputs: [], attributes: { ...attributes } }).flops!;
    expect(cost('FusedAttention')).toBe(200 * (4 * 8 + 5));
    expect(cost('FusedAttentionGradient')).toBe(200 * (10 * 8 + 5));
  });

  it('of what moves numbers and does not compute', () => {
    const move = (name: string, inputs: Record<string, TensorShape>, output: TensorShape) =>
      costOf({ name, inputs, outputs: [output], attributes: {} });
    expect(move('Transpose', { x: float(3, 4) }, float(4, 3))).toEqual({ flops: 0, bytes: 96 });
    expect(move('Reshape', { x: float(3, 4) }, float(12))).toEqual({ flops: 0, bytes: 0 });
    expect(move('Slice', { x: float(100, 4) }, float(2, 4))).toEqual({ flops: 0, bytes: 64 });
    expect(move('GatherV2', { x: float(100, 4), indices: int(3) }, float(3, 4))).toEqual({ flops: 0, bytes: 2 * 48 + 12 });
    const bools = { name: '', inputs: { x: { shape: [3], dtype: 'bool' } }, outputs: [int(3)], attributes: {} };
    expect(bytesMoved(bools)).toBe(3 + 12);
  });

  it('of AdamW: three numbers a parameter read and written, the gradient read for its length and for the step', () => {
    const moments = { first0: float(30), second0: float(30) };
    const first = { 'value.0.0': float(4, 5), 'gradient.0.0': float(4, 5) };
    const inputs = { ...moments, ...first, 'value.0.1': float(10), 'gradient.0.1': float(10) };
    const cost = (clipNorm: number) => costOf({ name: 'lab.adamw', inputs, outputs: [float()], attributes: { clipNorm } });
    expect(cost(1)).toEqual({ flops: 17 * 30, bytes: 8 * 4 * 30 });
    expect(cost(Infinity)).toEqual({ flops: 14 * 30, bytes: 7 * 4 * 30 });
  });

  it('of a kernel that nobody described: its bytes; and of one that was declared', () => {
    const call = { name: 'Mystery', inputs: { x: float(3) }, outputs: [float(2)], attributes: {} };
    expect(costOf(call)).toEqual({ bytes: 20 });
    declareCost(['Mystery'], ({ outputs }) => ({ flops: 7 * outputs.length }));
    expect(costOf(call)).toEqual({ flops: 7, bytes: 20 });
  });
});

it('reads the bandwidth between two measured sizes', () => {
  expect(bandwidthAt(machine, 1)).toBe(10_000);
  expect(bandwidthAt(machine, 100)).toBe(10_000);
  expect(bandwidthAt(machine, 1000)).toBeCloseTo(1000, 6); // half-way in powers of ten
  expect(bandwidthAt(machine, 1e9)).toBe(100);
});
