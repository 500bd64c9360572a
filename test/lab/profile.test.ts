/** @file profile: what it counts is what hands count, and what it watches is left as it was. */
import {
  bandwidthAt,
  fusedAttention,
  geluMLP,
  layerNorm,
  linear,
  profile,
  rmsNorm,
  startBackend,
  stopBackend,
  tf,
  valueAndGradients,
  type BackendOptions,
  type ProfileReport,
  type ProfileRow,
  type Scalar,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor4D,
} from 'lab';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { YARDSTICK } from '../../lab/dist/bench/index.js';
import { LabModel } from '../../lab/dist/bench/lab-model.js';
import { machine } from './profile-fixture.ts';

const random = (shape: number[], seed = 1): Tensor => tf.randomNormal(shape, 0, 1, 'float32', seed);
const rowOf = (report: ProfileReport, name: string): ProfileRow => {
  const row = report.rows.find((one) => one.name === name);
  expect(row, `${name} among ${report.rows.map((one) => one.name).join()}`).toBeDefined();
  return row!;
};

afterAll(stopBackend);

const backends: Record<string, BackendOptions> = {
  wasm: { backend: 'wasm', threads: 2 },
  cpu: { backend: 'cpu' },
  'webgpu, in software': { backend: 'webgpu', softwareGpu: true },
};

describe.each(Object.entries(backends))('on %s', (_, options) => {
  let started = true;
  beforeAll(async () => {
    started = await startBackend(options).then(() => true, () => false);
  });
  beforeEach((context) => {
    if (!started) context.skip();
  });

  it('counts calls, operations and bytes exactly', async () => {
    const [a, b] = [random([6, 4]), random([4, 5])];
    const report = await profile(
      () =>
        tf.tidy(() => {
          const product = tf.matMul(a, b);
          return tf.add(tf.exp(product), tf.exp(product)).sum();
        }),
      { machine },
    );
    expect(rowOf(report, 'BatchMatMul')).toMatchObject({ calls: 1, flops: 240, bytes: 296, intensity: 240 / 296 });
    expect(rowOf(report, 'Exp')).toMatchObject({ calls: 2, flops: 60, bytes: 2 * 4 * 60 });
    expect(rowOf(report, 'Add')).toMatchObject({ calls: 1, flops: 30, bytes: 4 * 90 });
    expect(rowOf(report, 'Sum')).toMatchObject({ calls: 1, flops: 30 });
    expect(report.flops).toBe(240 + 60 + 30 + 30);
    expect(report.calls).toBe(report.rows.reduce((sum, row) => sum + row.calls, 0));
    expect(report.rows.every((row) => row.milliseconds >= 0)).toBe(true);
    // Σ over calls of the longer of computing and reading at the speed of a set of that size
    const least = 1000 * Math.max(240 / 1000, 296 / bandwidthAt(machine, 296));
    const { milliseconds, rooflineShare } = rowOf(report, 'BatchMatMul');
    expect(rooflineShare! * milliseconds).toBeCloseTo(least, 6);
    const [sum] = await (report.result as Tensor).data();
    expect(Number.isFinite(sum)).toBe(true);
    tf.dispose([a, b, report.result]);
  });

  it('gives what is computed bit for bit, and leaves no tensor behind', async () => {
    const [x, weight] = [random([7, 5]), tf.variable(random([3, 5], 2)) as unknown as tf.Variable & Tensor2D];
    const step = async () => {
      const { value, gradients } = valueAndGradients(() => tf.mean<Scalar>(linear(tf.tanh(x), weight).square()), [weight]);
      const read = [await value.data(), await gradients.get(weight)!.data()].map((numbers) => [...numbers]);
      tf.dispose([value, ...gradients.values()]);
      return read;
    };
    const plain = await step();
    const before = tf.memory();
    const { result, rows } = await profile(step, { machine: null, runs: 2, warmUp: 1 });
    expect(result).toEqual(plain);
    expect(tf.memory().numTensors).toBe(before.numTensors);
    expect(tf.memory().numBytes).toBe(before.numBytes);
    expect(rows.find((row) => row.name === 'Tanh')?.calls).toBe(1); // of one run
    expect(rows.every((row) => row.rooflineShare === undefined)).toBe(true);
    tf.dispose([x, weight]);
  });

  it('knows the cost of every operation of a training step', async () => {
    const model = new LabModel({ batch: 2, tokens: 8, width: 16, heads: 2, layers: 1, vocabulary: 16 });
    const report = await profile(() => model.step(0), { machine: null });
    model.dispose();
    expect(report.rows.filter((row) => row.flops === undefined).map((row) => row.name)).toEqual([]);
    expect(report.peakBytes).toBeGreaterThan(4 * 16 * 16 * 12);
    expect(report.result).toBeGreaterThan(0);
  });
});

describe('on wasm', () => {
  beforeAll(() => startBackend({ backend: 'wasm', threads: 2 }));
  const kernelFunctions = () => tf.getKernelsForBackend('wasm').map(({ kernelFunc }) => kernelFunc);

  it('counts the fused operations', async () => {
    const [x, gain, bias] = [random([6, 8]), tf.ones<tf.Rank.R1>([8]), tf.zeros<tf.Rank.R1>([8])];
    const [up, down] = [
      { weight: random([12, 8]) as Tensor2D, bias: tf.zeros<tf.Rank.R1>([12]) },
      { weight: random([8, 12]) as Tensor2D, bias: null as Tensor1D | null },
    ];
    const q = random([1, 2, 4, 8]) as Tensor4D;
    const attend = (): Tensor => fusedAttention(q, q, q, { causal: true });
    const work = () => tf.tidy(() => [layerNorm(x, gain, bias), rmsNorm(x, gain), geluMLP(x, up, down), attend()]);
    const report = await profile(work, { machine: null });
    expect(rowOf(report, 'lab.norm')).toMatchObject({ calls: 2, flops: 48 * (8 + 4) });
    expect(rowOf(report, 'lab.linear')).toMatchObject({ calls: 2, flops: 6 * 12 * (16 + 1 + 9) + 6 * 8 * 24 });
    expect(rowOf(report, 'FusedAttention')).toMatchObject({ calls: 1, flops: 2 * 10 * (32 + 5) });
    tf.dispose([x, gain, bias, up.weight, up.bias, down.weight, q, ...report.result]);
  });

  it('counts what a training step is known to cost: 6 N a token, and attention', async () => {
    const { batch, tokens, heads, layers, width } = YARDSTICK;
    const model = new LabModel(YARDSTICK);
    const report = await profile(() => model.step(0), { machine: null });
    const multiplied = model.parameterCount - tokens * width; // positions are only added
    const pairs = (batch * heads * tokens * (tokens + 1)) / 2;
    const known = 6 * multiplied * batch * tokens + layers * pairs * (width / heads) * 4 * 3.5;
    model.dispose();
    expect(report.flops / known).toBeGreaterThan(1);
    expect(report.flops / known).toBeLessThan(1.02);
  });

  it('counts a kernel that calls others as one', async () => {
    const kernelFunc: tf.KernelFunc = ({ inputs }) => tf.exp(tf.exp(inputs['x'] as Tensor));
    tf.registerKernel({ kernelName: 'lab.twice', backendName: 'wasm', kernelFunc });
    const x = random([3]);
    const report = await profile(() => tf.tidy(() => tf.engine().runKernel('lab.twice', { x }) !== undefined), { machine: null });
    expect(report.rows).toMatchObject([{ name: 'lab.twice', calls: 1, bytes: 24 }]);
    expect(report.rows[0]).not.toHaveProperty('flops');
    tf.unregisterKernel('lab.twice', 'wasm');
    x.dispose();
  });

  it('makes a row for each shape where it is asked to', async () => {
    const [a, b] = [random([6, 4]), random([2, 4])];
    const work = () => tf.tidy(() => [tf.exp(a), tf.exp(b), tf.exp(b)].length);
    const report = await profile(work, { machine: null, byShape: true });
    const rows = report.rows.map(({ name, shape, calls }) => `${name} ${shape} ${calls}`);
    expect(rows.toSorted()).toEqual(['Exp 2×4 → 2×4 2', 'Exp 6×4 → 6×4 1']);
    tf.dispose([a, b]);
  });

  it('lets go of the kernels, also when the work fails, and refuses a second profile meanwhile', async () => {
    const before = kernelFunctions();
    await expect(profile(() => Promise.reject(new Error('no luck')))).rejects.toThrow('no luck');
    expect(kernelFunctions()).toEqual(before);
    const first = profile(() => new Promise((resolve) => setTimeout(resolve, 5)), { machine: null });
    await expect(profile(() => 1)).rejects.toThrow('another profile is being taken');
    await first;
    expect(kernelFunctions()).toEqual(before);
    await expect(profile(() => 1, { runs: 0 })).rejects.toThrow('runs must be a positive integer, got 0');
    await expect(profile(() => 1, { warmUp: -1 })).rejects.toThrow('warmUp must be 0, 1, …, got -1');
  });

  it('measures the machine by itself, once', async () => {
    const take = () => profile(() => tf.tidy(() => tf.ones([4]).exp().size));
    const [first, second] = [await take(), await take()];
    expect(first.machine!.flopsPerSecond).toBeGreaterThan(0);
    expect(second.machine).toBe(first.machine);
    expect(rowOf(first, 'Exp').rooflineShare).toBeGreaterThan(0);
  });

  it('sees the memory that was taken in between', async () => {
    const report = await profile(() => tf.tidy(() => tf.ones([1000, 1000]).exp().sum().size), { machine: null });
    expect(report.peakBytes).toBeGreaterThanOrEqual(8e6);
    const nothing = await profile(() => 1, { machine: null });
    expect(nothing).toMatchObject({ rows: [], calls: 0, flops: 0 });
    expect(String(nothing)).toContain('all kernels');
  });
});
