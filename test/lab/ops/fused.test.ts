/**
 * @file The fused operations are their plain references, values and gradients: on every backend, and on wasm with every kind of
 * kernel that this machine runs. Sizes are odd, so that tiles, vectors and chunks all have an end that does not fit.
 */
import {
  AdamW,
  crossEntropy,
  crossEntropyReference,
  geluMLP,
  geluMLPReference,
  linear,
  layerNorm,
  layerNormReference,
  linearReference,
  Random,
  residual,
  rmsNorm,
  rmsNormReference,
  runnableFlavours,
  startBackend,
  stopBackend,
  tf,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Variable,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectNear } from '../core-fixture.ts';
import { hasTensorFlow } from '../tensorflow.ts';

const random = new Random(5);
const sizeOf = (shape: readonly number[]): number => shape.reduce((size, n) => size * n, 1);
const normal = <T extends Tensor>(...shape: number[]): T => tf.tensor(random.normals(sizeOf(shape)), shape) as Tensor as T;

type Operation = (...inputs: Tensor[]) => Tensor;

/** Value and gradients of both, whether or not a gradient is wanted. */
async function expectSame(fast: Operation, plain: Operation, inputs: Tensor[], what: string): Promise<void> {
  const value = fast(...inputs);
  // Sums of many terms of either sign may come out near zero; the terms are of the size of one.
  const floor = Math.sqrt(value.size);
  await expectNear(value, plain(...inputs), 1e-5, what);
  const upstream = normal(...value.shape);
  const [got, want] = [tf.valueAndGrads(fast)(inputs, upstream), tf.valueAndGrads(plain)(inputs, upstream)];
  await expectNear(got.value, want.value, 1e-5, `${what}, on the tape`);
  for (const [i, gradient] of got.grads.entries()) await expectNear(gradient, want.grads[i]!, 1e-5, `${what}: gradient ${i}`, floor);
  tf.dispose([value, upstream, got.value, got.grads, want.value, want.grads]);
}

/** [rows, inputs, outputs]: single rows, blocks that hang over, several blocks of columns, long sums, whole and cut into parts. */
const linearSizes = [
  [1, 1, 1],
  [1, 37, 65],
  [2, 5, 3],
  [3, 1100, 7],
  [61, 33, 1],
  [50, 17, 31],
  [133, 130, 70],
  [1500, 9, 13],
  [40, 1300, 21],
  [10, 700, 400],
  [900, 9, 13],
  [1100, 5, 150],
] as const;

function linearTests(): void {
  for (const [rows, inputs, outputs] of linearSizes) {
    it(`linear: ${rows} rows, ${inputs} → ${outputs}`, async () => {
      const [x, weight, bias] = [normal(rows, inputs), normal(outputs, inputs), normal(outputs)];
      const withBias = (of: typeof linear | typeof linearReference): Operation => (a, w, b) => of(a!, w as Tensor2D, b as Tensor1D);
      const without = (of: typeof linear | typeof linearReference): Operation => (a, w) => of(a!, w as Tensor2D);
      await expectSame(withBias(linear), withBias(linearReference), [x, weight, bias], 'with bias');
      await expectSame(without(linear), without(linearReference), [x, weight], 'without');
      tf.dispose([x, weight, bias]);
    });
    it(`geluMLP: ${rows} rows, ${inputs} → ${outputs} → ${inputs}`, async () => {
      const tensors = [normal(rows, inputs), normal(outputs, inputs), normal(outputs), normal(inputs, outputs), normal(inputs)];
      const withBias = (of: typeof geluMLP | typeof geluMLPReference): Operation => (x, weight, bias, weight2, bias2) =>
        of(x!, { weight, bias } as never, { weight: weight2, bias: bias2 } as never);
      const without = (of: typeof geluMLP | typeof geluMLPReference): Operation => (x, weight, weight2) =>
        of(x!, { weight, bias: null } as never, { weight: weight2, bias: null } as never);
      await expectSame(withBias(geluMLP), withBias(geluMLPReference), tensors, 'with bias');
      await expectSame(without(geluMLP), without(geluMLPReference), [tensors[0]!, tensors[1]!, tensors[3]!], 'without');
      tf.dispose(tensors);
    });
  }
  it('linear takes any leading axes, and none at all', async () => {
    for (const leading of [[], [2, 3], [1, 4, 1]]) {
      const inputs = [normal(...leading, 6), normal(5, 6), normal(5)];
      const run = (of: typeof linear | typeof linearReference): Operation => (x, w, b) => of(x!, w as Tensor2D, b as Tensor1D);
      await expectSame(run(linear), run(linearReference), inputs, `[${leading}, 6]`);
    }
  });
  it('linear of no rows is nothing, with zero gradients', async () => {
    const [x, weight, bias] = [tf.zeros([0, 3]), normal<Tensor2D>(2, 3), normal<Tensor1D>(2)];
    expect(linear(x, weight, bias).shape).toEqual([0, 2]);
    const gradients = tf.grads((w, b) => linear(x, w as Tensor2D, b as Tensor1D).sum())([weight, bias]);
    for (const gradient of gradients) expect((await gradient.data()).every((g) => g === 0)).toBe(true);
  });
  it('GELU stays finite at the ends', async () => {
    const x = tf.tensor2d([-1e4, -40, -6, -0, 0, 6, 40, 1e4], [8, 1]);
    const one = { weight: tf.ones<tf.Rank.R2>([1, 1]), bias: null };
    const y = await geluMLP(x, one, one).data();
    expect([...y].map((v) => Math.round(v * 1e4) / 1e4 + 0)).toEqual([0, 0, 0, 0, 0, 6, 40, 1e4]);
    const slopes = await tf.grad((a) => geluMLP(a as Tensor2D, one, one))(x).data();
    expect([...slopes].map((v) => Math.round(v * 1e4) / 1e4 + 0)).toEqual([0, 0, 0, 0.5, 0.5, 1, 1, 1]);
  });
  it('an operation says which sizes do not fit', () => {
    expect(() => linear(tf.ones([2, 3]), tf.ones([4, 5]))).toThrow(/last axis of x \[2,3\] must be 5/);
    expect(() => linear(tf.ones([2, 3]), tf.ones([4, 3]), tf.ones([3]))).toThrow(/bias must be \[4\], got \[3\]/);
    const [up, down] = [tf.ones<tf.Rank.R2>([4, 3]), tf.ones<tf.Rank.R2>([2, 5])];
    expect(() => geluMLP(tf.ones([2, 3]), { weight: up, bias: null }, { weight: down, bias: null })).toThrow(/must be 5/);
  });
}

/** [rows, width] */
const normSizes = [
  [1, 1],
  [1, 3],
  [2, 8],
  [5, 17],
  [37, 130],
  [2000, 11],
  [3, 20_001],
] as const;

function normTests(): void {
  for (const [rows, width] of normSizes) {
    it(`layerNorm and rmsNorm: ${rows} rows of ${width}`, async () => {
      const [x, gain, bias] = [normal(rows, width), normal(width), normal(width)];
      const epsilon = 1e-2;
      const full = (of: typeof layerNorm | typeof layerNormReference): Operation => (a, g, b) => of(a!, g as Tensor1D, b as Tensor1D, epsilon);
      const noBias = (of: typeof layerNorm | typeof layerNormReference): Operation => (a, g) => of(a!, g as Tensor1D, null, epsilon);
      const rms = (of: typeof rmsNorm | typeof rmsNormReference): Operation => (a, g) => of(a!, g as Tensor1D, epsilon);
      await expectSame(full(layerNorm), full(layerNormReference), [x, gain, bias], 'layerNorm');
      await expectSame(noBias(layerNorm), noBias(layerNormReference), [x, gain], 'layerNorm without bias');
      await expectSame(rms(rmsNorm), rms(rmsNormReference), [x, gain], 'rmsNorm');
      tf.dispose([x, gain, bias]);
    });
  }
  it('layerNorm keeps its digits far from zero', async () => {
    const [x, gain, bias] = [normal(6, 40), tf.ones<tf.Rank.R1>([40]), tf.zeros<tf.Rank.R1>([40])];
    await expectNear(layerNorm(x.add(1000), gain, bias), layerNorm(x, gain, bias), 1e-3);
  });
  it('a norm of no rows is nothing, with zero gradients', async () => {
    const gradients = tf.grads((g, b) => layerNorm(tf.zeros([0, 3]), g as Tensor1D, b as Tensor1D).sum())([tf.ones([3]), tf.ones([3])]);
    for (const gradient of gradients) expect(await gradient.data()).toEqual(new Float32Array(3));
  });
  it('residual adds, and sends the gradient both ways', async () => {
    const inputs = [normal(3, 4, 5), normal(3, 4, 5)];
    await expectSame((a, b) => residual(a!, b!), (a, b) => a!.add(b!), inputs, 'residual');
    expect(() => residual(tf.ones([2, 3]), tf.ones([3]))).toThrow(/stream is \[2,3\] but the update is \[3\]/);
  });
}

/** [rows, vocabulary] */
const crossEntropySizes = [
  [1, 2],
  [3, 5],
  [70, 257],
  [2, 50_003],
] as const;

function crossEntropyTests(): void {
  for (const [rows, vocabulary] of crossEntropySizes) {
    it(`crossEntropy: ${rows} rows over ${vocabulary}`, async () => {
      const targets = tf.tensor1d(Int32Array.from({ length: rows }, (_, i) => (i * 7919 + vocabulary - 1) % vocabulary), 'int32');
      for (const shift of [0, 300, -300]) {
        const logits = normal(rows, vocabulary).mul(5).add(shift);
        await expectSame((x) => crossEntropy(x!, targets), (x) => crossEntropyReference(x!, targets), [logits], `around ${shift}`);
      }
    });
  }
  it('crossEntropy is exact over the whole range of sums', async () => {
    // One logit above 999 equal ones: Σ exp = 1 + 999 e^−gap, from 1 to 1000. It comes last, so that little ones add up exactly.
    for (const gap of [1e-3, 0.3, 0.6, 1, 2, 7, 15, 40]) {
      const logits = tf.tensor2d(Float32Array.from({ length: 1000 }, (_, i) => (i === 999 ? gap : 0)), [1, 1000]);
      const loss = (await crossEntropy(logits, tf.tensor1d([999], 'int32')).data())[0]!;
      const exact = Math.log1p(999 * Math.exp(-Math.fround(gap)));
      expect(Math.abs(loss - exact), `gap ${gap}`).toBeLessThan(4e-6 * Math.max(exact, 1));
    }
  });
}

/** Sizes of parameters: matrices decay, vectors do not; one is longer than a piece, most have an end that fits no vector. */
const parameterShapes = [[3, 7], [5], [1], [131, 67], [2, 4]];

/** AdamW in double precision. Loshchilov and Hutter 2019, algorithm 2. */
function plainAdamW(values: Float64Array[], gradients: Float32Array[][], clipNorm: number): void {
  const [beta1, beta2, epsilon, weightDecay, rate] = [0.8, 0.95, 1e-3, 0.2, 0.05];
  const [m, v] = [values.map((p) => new Float64Array(p.length)), values.map((p) => new Float64Array(p.length))];
  for (const [step, of] of gradients.entries()) {
    const length = Math.sqrt(of.flatMap((g) => [...g]).reduce((sum, x) => sum + x * x, 0));
    const factor = clipNorm === Infinity ? 1 : Math.min(1, clipNorm / (length + 1e-6));
    for (const [i, p] of values.entries()) {
      const decay = parameterShapes[i]!.length > 1 ? 1 - rate * weightDecay : 1;
      for (let j = 0; j < p.length; j++) {
        const g = of[i]![j]! * factor;
        m[i]![j] = beta1 * m[i]![j]! + (1 - beta1) * g;
        v[i]![j] = beta2 * v[i]![j]! + (1 - beta2) * g * g;
        const [first, second] = [m[i]![j]! / (1 - beta1 ** (step + 1)), v[i]![j]! / (1 - beta2 ** (step + 1))];
        p[j] = p[j]! * decay - (rate * first) / (Math.sqrt(second) + epsilon);
      }
    }
  }
}

function adamwTests(): void {
  const makeParameters = (): Map<string, Variable> => new Map(parameterShapes.map((shape, i) => [`p${i}`, tf.variable(normal(...shape))]));
  const options = { beta1: 0.8, beta2: 0.95, epsilon: 1e-3, weightDecay: 0.2 };

  for (const clipNorm of [Infinity, 1.5]) {
    it(`AdamW is the algorithm, clipped to ${clipNorm}`, async () => {
      const parameters = makeParameters();
      const expected = await Promise.all([...parameters.values()].map(async (p) => Float64Array.from(await p.data())));
      const gradients = Array.from({ length: 4 }, (_, step) =>
        parameterShapes.map((shape) => random.normals(sizeOf(shape), step === 2 ? 1e-3 : 1)),
      );
      plainAdamW(expected, gradients, clipNorm);
      const optimizer = new AdamW(parameters, options);
      for (const values of gradients) {
        tf.tidy(() => {
          const named = new Map(values.map((g, i) => [`p${i}`, tf.tensor(g, parameterShapes[i]!) as Tensor]));
          optimizer.step(named, 0.05, { clipNorm });
        });
      }
      for (const [i, p] of [...parameters.values()].entries()) {
        await expectNear(p, tf.tensor(Float32Array.from(expected[i]!), p.shape), 1e-6, `parameter ${i}`);
      }
      optimizer.dispose();
    });
  }
  it('AdamW changes no clone of a parameter, and no saved state', async () => {
    const parameters = makeParameters();
    const optimizer = new AdamW(parameters, options);
    const step = (): void =>
      tf.tidy(() => optimizer.step(new Map([...parameters].map(([name, p]) => [name, tf.onesLike(p) as Tensor])), 0.1));
    step();
    const kept = [...[...parameters.values()].map((p) => p.clone()), ...optimizer.state().values()];
    const before = await Promise.all(kept.map((tensor) => tensor.data()));
    const copies = before.map((values) => values.slice());
    step();
    const after = await Promise.all(kept.map((tensor) => tensor.data()));
    expect(after).toEqual(copies);
    for (const [i, p] of [...parameters.values()].entries()) expect(await p.data()).not.toEqual(copies[i]);
    optimizer.dispose();
  });
  it('AdamW leaves a parameter without gradient alone, and a step leaves no tensor behind', async () => {
    const parameters = makeParameters();
    const optimizer = new AdamW(parameters, options);
    const before = await parameters.get('p0')!.data();
    const step = (): void => tf.tidy(() => optimizer.step(new Map([['p3', tf.onesLike(parameters.get('p3')!) as Tensor]]), 0.1));
    step();
    const count = tf.memory().numTensors;
    step();
    expect(tf.memory().numTensors).toBe(count);
    expect(await parameters.get('p0')!.data()).toEqual(before);
    optimizer.dispose();
  });
}

const engines = [
  { backend: 'cpu', flavour: '', threads: 1 },
  ...(hasTensorFlow() ? [{ backend: 'tensorflow', flavour: '', threads: 2 } as const] : []),
  ...runnableFlavours(true).flatMap((flavour) => [1, 3].map((threads) => ({ backend: 'wasm', flavour, threads }) as const)),
] as const;

describe.each(engines)('fused operations on $backend $flavour, threads: $threads', ({ backend, flavour, threads }) => {
  beforeAll(async () => {
    await stopBackend();
    process.env['LAB_WASM_FLAVOUR'] = flavour;
    await startBackend({ backend, threads });
    tf.engine().startScope();
  });
  afterAll(() => {
    tf.engine().endScope();
    delete process.env['LAB_WASM_FLAVOUR'];
  });
  linearTests();
  normTests();
  crossEntropyTests();
  adamwTests();
});
