/** @file The lab's own way back through the tape gives TensorFlow.js's gradients, and holds less on the way. */
import { Random, residual, startBackend, tf, valueAndGradients, wasmHeap, withGradient, type Scalar, type Tensor, type Variable } from 'lab';
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
