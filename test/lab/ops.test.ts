/** @file Every operation computes what PyTorch computes, with PyTorch's gradients, and agrees with its own plain reference. */
import {
  crossEntropy,
  crossEntropyReference,
  embedding,
  gelu,
  geluReference,
  layerNorm,
  layerNormReference,
  Random,
  rmsNorm,
  rmsNormReference,
  silu,
  swiglu,
  swigluReference,
  tf,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
} from 'lab';
import { describe, expect, it } from 'vitest';
import { expectNear, type FixtureTensor, onEveryBackend, readFixture, tensorOf } from './core-fixture.ts';

interface Case {
  inputs: Record<string, FixtureTensor>;
  output: FixtureTensor;
  upstream: FixtureTensor;
  gradients: Record<string, FixtureTensor>;
  [option: string]: unknown;
}

const cases = readFixture<Record<string, Case[]>>('ops');

async function expectCase(name: string, example: Case, operation: (...inputs: Tensor[]) => Tensor): Promise<void> {
  const inputs = Object.values(example.inputs).map((input) => tensorOf(input));
  await expectNear(operation(...inputs), example.output, 1e-5, name);
  const gradients = tf.grads(operation)(inputs, tensorOf(example.upstream));
  for (const [i, [input, expected]] of Object.entries(example.gradients).entries()) {
    await expectNear(gradients[i]!, expected, 1e-5, `${name}: gradient of ${input}`);
  }
}

const random = new Random(7);
const normal = <T extends Tensor>(...shape: number[]): T =>
  tf.tensor(
    random.normals(
      shape.reduce((a, b) => a * b, 1),
      2,
    ),
    shape,
  ) as Tensor as T;

onEveryBackend(() => {
  const operations: Record<string, (example: Case) => (...inputs: Tensor[]) => Tensor> = {
    layerNorm: () => (x, gain, bias) => layerNorm(x!, gain as Tensor1D, (bias as Tensor1D | undefined) ?? null),
    rmsNorm: () => (x, gain) => rmsNorm(x!, gain as Tensor1D),
    gelu:
      ({ approximate }) =>
      (x) =>
        gelu(x!, { approximate: approximate as 'tanh' | 'none' }),
    silu: () => (x) => silu(x!),
    swiglu: () => (gate, up) => swiglu(gate!, up!),
    crossEntropy:
      ({ targets, reduction }) =>
      (logits) =>
        crossEntropy(logits!, tensorOf(targets as FixtureTensor), { ignoreIndex: -100, reduction: reduction as 'mean' }),
    embedding:
      ({ ids }) =>
      (table) =>
        embedding(table as Tensor2D, tensorOf(ids as FixtureTensor)),
  };
  for (const [name, operation] of Object.entries(operations)) {
    it(`${name} has PyTorch's values and gradients`, async () => {
      expect(cases[name]!.length).toBeGreaterThan(0);
      for (const example of cases[name]!) await expectCase(name, example, operation(example));
    });
  }

  describe('the hand-derived gradient is that of the plain reference', () => {
    async function expectSame(fast: (...inputs: Tensor[]) => Tensor, plain: (...inputs: Tensor[]) => Tensor, inputs: Tensor[]) {
      const upstream = normal(...fast(...inputs).shape);
      await expectNear(fast(...inputs), plain(...inputs), 1e-5);
      const [got, want] = [tf.grads(fast)(inputs, upstream), tf.grads(plain)(inputs, upstream)];
      for (const [i, gradient] of got.entries()) await expectNear(gradient, want[i]!, 1e-5, `input ${i}`);
    }

    it('for layerNorm, with and without bias', async () => {
      await expectSame(
        (x, g, b) => layerNorm(x!, g as Tensor1D, b as Tensor1D),
        (x, g, b) => layerNormReference(x!, g as Tensor1D, b as Tensor1D),
        [normal(3, 2, 17), normal(17), normal(17)],
      );
      await expectSame(
        (x, g) => layerNorm(x!, g as Tensor1D, null),
        (x, g) => layerNormReference(x!, g as Tensor1D, null),
        [normal(5, 3), normal(3)],
      );
    });
    it('for rmsNorm', () =>
      expectSame(
        (x, g) => rmsNorm(x!, g as Tensor1D),
        (x, g) => rmsNormReference(x!, g as Tensor1D),
        [normal(3, 2, 17), normal(17)],
      ));
    it('for gelu, both ways', async () => {
      await expectSame(
        (x) => gelu(x!),
        (x) => geluReference(x!),
        [normal(7, 5)],
      );
      await expectSame(
        (x) => gelu(x!, { approximate: 'none' }),
        (x) => geluReference(x!, { approximate: 'none' }),
        [normal(7, 5)],
      );
    });
    it('for swiglu', () =>
      expectSame(
        (a, b) => swiglu(a!, b!),
        (a, b) => swigluReference(a!, b!),
        [normal(7, 5), normal(7, 5)],
      ));
    it('for crossEntropy', () => {
      const targets = tf.tensor2d([4, 0, 2, 2, 1, 3], [2, 3], 'int32');
      return expectSame(
        (x) => crossEntropy(x!, targets),
        (x) => crossEntropyReference(x!, targets),
        [normal(2, 3, 5)],
      );
    });
  });

  it('cross-entropy stays finite where exp would overflow or vanish', async () => {
    const logits = tf.tensor2d([
      [1e4, 0, -1e4],
      [-500, -501, -502],
    ]);
    const targets = tf.tensor1d([0, 2], 'int32');
    const losses = await crossEntropy<Tensor1D>(logits, targets, { reduction: 'none' }).data();
    expect(losses[0]).toBeCloseTo(0, 5);
    expect(losses[1]).toBeCloseTo(Math.log(1 + Math.exp(-1) + Math.exp(-2)) + 2, 4);
    const gradient = await tf
      .grad((x) => crossEntropy(x, targets))(logits)
      .data();
    expect(gradient.every(Number.isFinite)).toBe(true);
  });

  it('cross-entropy of nothing but ignored targets is 0, with zero gradient', async () => {
    const targets = tf.tensor1d([-1, -1], 'int32');
    const loss = (x: Tensor) => crossEntropy(x, targets, { ignoreIndex: -1 });
    expect((await loss(tf.ones([2, 5])).data())[0]).toBe(0);
    expect(await tf.grad(loss)(normal(2, 5)).abs().max().data()).toEqual(new Float32Array([0]));
  });

  it('an operation inside a gradient leaves no tensor behind', () => {
    const [x, gain, table] = [normal<Tensor2D>(3, 6), normal<Tensor1D>(6), normal<Tensor2D>(5, 6)];
    const ids = tf.tensor1d([0, 4, 4], 'int32');
    const loss = (rows: Tensor) =>
      crossEntropy(gelu(layerNorm(rmsNorm(tf.add(x, embedding(rows as Tensor2D, ids)), gain), gain, gain)), ids);
    const before = tf.memory().numTensors;
    tf.tidy(() => void tf.grad(loss)(table));
    tf.tidy(() => void loss(table));
    expect(tf.memory().numTensors).toBe(before);
  });

  it('says which axis is wrong', () => {
    const targets = tf.tensor1d([0, 1], 'int32');
    expect(() => crossEntropy(tf.ones([3, 5]), targets)).toThrow(/logits are \[3,5\], so targets must be \[3\], got \[2\]/);
    expect(() => crossEntropy(tf.ones([2, 5]), tf.ones([2]))).toThrow(/int32/);
    expect(() => layerNorm(tf.ones([2, 5]), tf.ones([4]), null)).toThrow(/gain must be \[5\], got \[4\]/);
    expect(() => rmsNorm(tf.ones([2, 5]), tf.ones([1]))).toThrow(/gain must be \[5\], got \[1\]/);
    expect(() => swiglu(tf.ones([2, 5]), tf.ones([5]))).toThrow(/gate is \[2,5\] but up is \[5\]/);
    expect(() => embedding(tf.ones([5, 2]), tf.ones([2]))).toThrow(/ids must be int32/);
  });
});
