/** @file The lab's own way back through the tape gives TensorFlow.js's gradients, and holds less on the way. */
import {
  geluMLP,
  layerNorm,
  linear,
  Random,
  residual,
  startBackend,
  tf,
  valueAndGradients,
  wasmHeap,
  withGradient,
  type Scalar,
  type Tensor,
  type Variable,
} from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectNear, onEveryBackend } from './core-fixture.ts';

const random = new Random(8);
const variable = (...shape: number[]): Variable => {
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tidy(() => tf.variable(tf.tensor(random.normals(size), shape)));
};

/** x is used three times, one of its uses goes nowhere, and c is a constant. */
const tangled = (x: Variable, w: Variable, c: Variable) => (): Scalar => {
  const y = tf.matMul(x as never, w as never).add(c);
  tf.exp(x);
  const z = residual(y, y).mul(x.sum()).add(tf.sin(y));
  return tf.concat([z.flatten(), x.flatten()]).square().mean();
};

onEveryBackend(() => {
  it('gives the gradients of tf.variableGrads', async () => {
    const [x, w, c] = [variable(4, 3), variable(3, 5), variable(5)];
    const expected = tf.variableGrads(tangled(x, w, c), [x, w]);
    const { value, gradients } = valueAndGradients(tangled(x, w, c), [x, w]);
    await expectNear(value, expected.value, 1e-6);
    expect([...gradients.keys()]).toEqual([x, w]);
    for (const of of [x, w]) await expectNear(gradients.get(of)!, expected.grads[of.name]!, 1e-6, of.name);
  });

  it('leaves out a variable that the value does not depend on', () => {
    const [x, unused] = [variable(3), variable(3)];
    const { gradients } = valueAndGradients(() => x.square().sum<Scalar>(), [x, unused]);
    expect([...gradients.keys()]).toEqual([x]);
    expect(valueAndGradients(() => tf.scalar(2), [x]).gradients.size).toBe(0);
  });

  it('takes a gradient that hands back what it was given, to both inputs', async () => {
    const [x, y] = [variable(3), variable(3)];
    const sum = (): Scalar => withGradient<Tensor>([x, y], () => ({ value: tf.add(x, y), gradient: (dy) => [dy, dy] })).square().sum();
    const { gradients } = valueAndGradients(sum, [x, y]);
    for (const of of [x, y]) await expectNear(gradients.get(of)!, tf.add(x, y).mul(2), 1e-6);
  });

  it('leaves nothing behind but value and gradients, also when something fails', () => {
    const [x, w, c] = [variable(4, 3), variable(3, 5), variable(5)];
    const before = tf.memory().numTensors;
    const { value, gradients } = valueAndGradients(tangled(x, w, c), [x, w]);
    expect(tf.memory().numTensors).toBe(before + 3);
    tf.dispose([value, ...gradients.values()]);
    const failing = (): Scalar => {
      tf.sin(x.square());
      throw new Error('on purpose');
    };
    expect(() => valueAndGradients(failing, [x])).toThrow('on purpose');
    const broken = (): Scalar =>
      withGradient<Tensor>([x.square()], () => ({ value: tf.scalar(1), gradient: () => [tf.ones([2])] })) as Scalar;
    expect(() => tf.tidy(() => void valueAndGradients(broken, [x]))).toThrow(/gradient \[2\] for an input \[4,3\]/);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('refuses to be called within another gradient', () => {
    const x = variable(3);
    const inner = (): Scalar => valueAndGradients(() => x.square().sum<Scalar>(), [x]).value;
    expect(() => tf.variableGrads(inner, [x])).toThrow(/while another gradient/);
  });
});

/** A model of which only the last two biases are trained, as in fine-tuning; the sizes tell its matrices apart. */
const layers = () => ({
  up: { weight: variable(12, 8) as never, bias: variable(12) as never },
  down: { weight: variable(8, 12) as never, bias: variable(8) as never },
  middle: { weight: variable(8, 8) as never, bias: variable(8) as never },
  adapter: variable(8),
});

onEveryBackend((backend) => {
  /** The shapes of what the operations make in a run. */
  async function shapesIn(run: () => Scalar, variables: readonly Variable[]): Promise<string[]> {
    const { kernels } = await tf.profile(() => {
      const { value, gradients } = valueAndGradients(run, variables);
      return [value, ...gradients.values()] as never;
    });
    // Without what hands on a tensor that was there: Identity, Reshape, and on TensorFlow the lab's own operations, made of its.
    const handsOn = (name: string): boolean => ['Identity', 'Reshape'].includes(name) || (backend === 'tensorflow' && name.startsWith('lab.'));
    const made = kernels.filter(({ name }) => !handsOn(name));
    return made.flatMap(({ outputShapes }) => outputShapes.map((shape) => `${shape}`));
  }

  it('computes no gradient of frozen weights, and those of the others as if none were frozen', async () => {
    const { up, down, middle, adapter } = layers();
    const x = tf.tensor(random.normals(5 * 8), [5, 8]);
    const model = (): Scalar => {
      const first = tf.add(linear(x, middle.weight, middle.bias), adapter);
      const second = linear(geluMLP(first, up, down), middle.weight, middle.bias);
      return layerNorm(second, middle.bias, null).square().mean<Scalar>();
    };
    const all: Variable[] = [adapter, ...[up, down, middle].flatMap(({ weight, bias }): Variable[] => [weight, bias])];
    const expected = valueAndGradients(model, all).gradients;
    expect(expected.size).toBe(7);
    // Every subset of seven variables that a bit mask names, some of them.
    for (const subset of [1, 2, 4, 8, 16, 32, 64, 3, 6, 12, 24, 48, 96, 85, 42, 126]) {
      const chosen = all.filter((_, i) => subset & (1 << i));
      const { gradients } = valueAndGradients(model, chosen);
      expect([...gradients.keys()]).toEqual(chosen);
      for (const of of chosen) await expectNear(gradients.get(of)!, expected.get(of)!, 1e-5, `${subset}: ${of.shape}`);
    }
    const matrices = async (variables: readonly Variable[]): Promise<number> =>
      (await shapesIn(model, variables)).filter((shape) => ['12,8', '8,12', '8,8'].includes(shape)).length;
    expect(await matrices([adapter])).toBe(0);
    expect(await matrices([adapter, up.weight])).toBe(1);
    expect(await matrices(all)).toBeGreaterThanOrEqual(4);
    // Nobody wants the gradient of what goes into the first layer.
    const [first, input] = [variable(9, 7), tf.zeros([6, 7])];
    const shapes = await shapesIn(() => linear(input, first as never).square().sum<Scalar>(), [first]);
    expect(shapes).toContain('9,7');
    expect(shapes).not.toContain('6,7');
  });

  it('keeps nothing for a layer that no variable comes before, and no input of a frozen one', () => {
    const { middle, adapter } = layers();
    const x = tf.zeros([100, 8]);
    const rows = 4 * x.size;
    const deep = (first: Tensor): Scalar => {
      const bare = { weight: middle.weight as never, bias: null };
      return Array.from({ length: 6 }).reduce<Tensor>((y) => linear(y, bare.weight), first).sum() as Scalar;
    };
    const heldWith = (run: () => Scalar, variables: readonly Variable[]): number => {
      let held = 0;
      const measured = (): Scalar => {
        const before = tf.memory().numBytes;
        const value = tf.tidy(run);
        held = (tf.memory().numBytes - before) / rows;
        return value;
      };
      tf.tidy(() => void valueAndGradients(measured, variables));
      return held;
    };
    expect(heldWith(() => deep(tf.add(x, adapter)), [adapter, middle.weight])).toBeGreaterThan(5);
    expect(heldWith(() => deep(tf.add(x, adapter)), [adapter])).toBeLessThan(3);
    expect(heldWith(() => tf.add(deep(x), adapter.sum()), [adapter])).toBeLessThan(1.1); // what TensorFlow.js's sum keeps
  });

  it('gives a gradient within the function all that it asks for', async () => {
    const { middle, adapter } = layers();
    const x = tf.tensor(random.normals(16), [2, 8]);
    const inner = (y: Tensor): Tensor => linear(y, middle.weight, middle.bias).square().sum();
    const within = (): Scalar => tf.tidy(() => tf.add(tf.grad(inner)(x).sum(), adapter.sum())) as Scalar;
    const { value } = valueAndGradients(within, [adapter]);
    await expectNear(value, tf.add(tf.grad(inner)(x).sum(), adapter.sum()), 1e-6);
  });
});

describe('on wasm', () => {
  beforeAll(() => startBackend({ backend: 'wasm', threads: 1 }));

  it('holds no gradient longer than it is needed', () => {
    const x = variable(1 << 16);
    const steps = 24;
    // The cosine keeps its input, and so does every step before it.
    const chain = (): Scalar => tf.tidy(() => Array.from({ length: steps }).reduce<Tensor>((y) => tf.cos(y), x).sum());
    const { usage } = wasmHeap();
    const peakOf = (run: () => unknown): number => {
      usage.resetPeak();
      const before = usage.live;
      tf.tidy(() => void run());
      return (usage.peak - before) / (4 * x.size);
    };
    expect(peakOf(() => valueAndGradients(chain, [x]).value)).toBeLessThan(steps + 6);
    expect(peakOf(() => tf.variableGrads(chain, [x]).value)).toBeGreaterThan(2 * steps);
  });
});
