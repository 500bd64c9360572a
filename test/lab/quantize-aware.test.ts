/**
 * @file Fake quantization is quantizing and dequantizing, with a gradient that passes straight through; a packed model computes
 * what the trained one did, and a model with a quantized cache what one with quantized keys and values does.
 */
import { readFileSync } from 'node:fs';
import {
  distillationLoss,
  fakeQuantize,
  FakeQuantLinear,
  Linear,
  packQuantizationAware,
  quantizationAware,
  quantizeActivations,
  QuantizedKVCache,
  Random,
  startBackend,
  symmetricCodes,
  tf,
  Transformer,
  type Tensor,
  type TransformerConfig,
} from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectNear, onEveryBackend, relativeError, tensorOf, type FixtureTensor } from './core-fixture.ts';
import { hasSoftwareGpu } from './ops/software-gpu.ts';

interface Fixture {
  linear: {
    bits: { weights: number; activations: number; outputs: number | null };
    limit: number | null;
    x: FixtureTensor;
    weight: FixtureTensor;
    bias: FixtureTensor;
    output: FixtureTensor;
    upstream: FixtureTensor;
    gradients: Record<'x' | 'weight' | 'bias', FixtureTensor>;
  }[];
  distillation: { student: FixtureTensor; teacher: FixtureTensor; loss: number; gradient: FixtureTensor };
}
const fixture = JSON.parse(readFileSync(new URL('../fixtures/quantization-aware.json', import.meta.url), 'utf8')) as Fixture;

const config: TransformerConfig = {
  vocabSize: 11,
  contextLength: 12,
  layers: 2,
  width: 24,
  heads: 3,
  initializerStd: 0.3,
  seed: 4,
};
const families: Record<string, Partial<TransformerConfig>> = {
  gpt2: {},
  llama: { norm: 'rms', position: 'rotary', mlp: 'swiglu', bias: false, keyValueHeads: 1, headSize: 8 },
};

const normal = (seed: number, ...shape: number[]): Tensor =>
  tf.tensor(new Random(seed).normals(shape.reduce((a, b) => a * b, 1)), shape);
const tokensOf = (rows: number, length: number, seed = 1): tf.Tensor2D => {
  const random = new Random(seed);
  return tf.tensor2d(
    Array.from({ length: rows * length }, () => random.integer(config.vocabSize)),
    [rows, length],
    'int32',
  );
};
const bytesOf = async (x: Tensor): Promise<Buffer> => Buffer.from((await x.data<'float32'>()).slice().buffer);

/** The rule in double precision. */
function onGrid(row: readonly number[], bits: number): number[] {
  const scale = (Math.max(...row.map(Math.abs)) + 1e-6) / (2 ** (bits - 1) - 1);
  return row.map((x) => scale * Math.round(x / scale));
}

onEveryBackend(() => {
  describe('fakeQuantize', () => {
    it.each([2, 3, 4, 8, 16])('%i bits: each row on its own grid', async (bits) => {
      const x = normal(bits, 3, 5, 7);
      const rows = (await x.reshape([15, 7]).array()) as number[][];
      await expectNear(
        fakeQuantize(x, { bits }),
        tf
          .tensor(
            rows.map((row) => onGrid(row, bits)),
            [15, 7],
          )
          .reshape([3, 5, 7]),
      );
    });

    it('keeps the largest of a row, and 0', async () => {
      const out = await fakeQuantize(tf.tensor2d([[0, -3, 1.4]]), { bits: 3 }).data();
      expect(out[0]).toBe(0);
      expect(out[1]).toBeCloseTo(-3, 5);
    });

    it('rounds halves to the even number', async () => {
      // The scale is (127 - 1e-6 + 1e-6) / 127 = 1.
      const { codes } = symmetricCodes(tf.tensor2d([[127, 0.5, 1.5, 2.5, -0.5, -1.5]]), 8);
      expect([...(await codes.data())].map((code) => code + 0)).toEqual([127, 0, 2, 2, 0, -2]);
    });

    it('a row of zeros stays zeros', async () => {
      expect([...(await fakeQuantize(tf.zeros([2, 3]), { bits: 4 }).data())]).toEqual([0, 0, 0, 0, 0, 0]);
    });

    it('is done once and for all: what is on the grid stays there', async () => {
      const once = fakeQuantize(normal(2, 4, 9), { bits: 4 });
      await expectNear(fakeQuantize(once, { bits: 4 }), once, 2e-6);
    });

    it('is codes times scales, to the bit', async () => {
      const x = normal(3, 4, 9);
      const { codes, scales } = symmetricCodes(x, 4);
      expect(await bytesOf(fakeQuantize(x, { bits: 4 }))).toEqual(await bytesOf(codes.mul(scales)));
      const [whole, steps] = [await codes.data(), await scales.data()];
      expect([...whole].every((code) => Number.isInteger(code) && Math.abs(code) <= 7)).toBe(true);
      expect(steps.length).toBe(4);
    });

    it('passes the gradient of what follows: that of the smooth part at the rounded point', async () => {
      // Of sum(c sin(q)), q held fixed, by finite differences in double precision.
      const x = normal(4, 3, 5);
      const c = normal(5, 3, 5);
      const got = await tf
        .grad((values: Tensor) => fakeQuantize(values, { bits: 3 }).sin().mul(c).sum())(x)
        .data();
      const [q, weights] = [await fakeQuantize(x, { bits: 3 }).data(), await c.data()];
      const h = 1e-5;
      const expected = Array.from(q, (value, i) => (weights[i]! * (Math.sin(value + h) - Math.sin(value - h))) / (2 * h));
      expect(relativeError(got, expected)).toBeLessThan(1e-5);
    });

    it('stops the gradient at the limit, when there is one', async () => {
      const x = tf.tensor2d([[-3, -2, -1.9, 0, 1.9, 2, 3]]);
      const of = (gradientLimit?: number): Tensor =>
        tf.grad((values: Tensor) => fakeQuantize(values, { bits: 4, ...(gradientLimit && { gradientLimit }) }).sum())(x);
      expect([...(await of(2).data())]).toEqual([0, 0, 1, 1, 1, 0, 0]);
      expect([...(await of().data())]).toEqual([1, 1, 1, 1, 1, 1, 1]);
    });

    it.each([1, 17, 2.5])('refuses %d bits', (bits) => {
      expect(() => fakeQuantize(tf.zeros([1, 2]), { bits })).toThrow(/2 to 16/);
    });
  });

  it.each(fixture.linear)('FakeQuantLinear: output and gradients are those of PyTorch ($bits, limit $limit)', async (given) => {
    const layer = new Linear(7, 3);
    layer.weight.assign(tensorOf(given.weight));
    layer.bias!.assign(tensorOf(given.bias));
    const { bits, limit } = given;
    const aware = new FakeQuantLinear(layer, { ...bits, ...(limit !== null && { gradientLimit: limit }) });
    const x = tf.variable(tensorOf(given.x));
    await expectNear(aware.forward(x), given.output);
    const { grads } = tf.variableGrads(() => aware.forward(x).mul(tensorOf(given.upstream)).sum());
    await expectNear(grads[x.name]!, given.gradients.x, 1e-4);
    await expectNear(grads[aware.weight.name]!, given.gradients.weight, 1e-4);
    await expectNear(grads[aware.bias!.name]!, given.gradients.bias, 1e-4);
    tf.dispose([x, ...aware.parameters()]);
  });

  describe('distillationLoss', () => {
    it('value and gradient are those of PyTorch', async () => {
      const { student, teacher, loss, gradient } = fixture.distillation;
      const p = tensorOf(teacher);
      const [value] = await distillationLoss(tensorOf(student), p).data();
      expect(value).toBeCloseTo(loss, 5);
      await expectNear(tf.grad((q: Tensor) => distillationLoss(q, p))(tensorOf(student)), gradient, 1e-4);
    });

    it('is zero for equals, also when all logits are shifted, and nowhere below', async () => {
      const logits = normal(6, 2, 5);
      expect((await distillationLoss(logits, logits.add(7)).data())[0]).toBeCloseTo(0, 5);
      expect((await distillationLoss(logits, normal(7, 2, 5)).data())[0]).toBeGreaterThan(0.01);
      expect(() => distillationLoss(logits, normal(7, 2, 4))).toThrow(/\[2,5\].*\[2,4\]/);
    });
  });

  describe.each(Object.entries(families))('a model of the %s family', (_, family) => {
    const build = (): Transformer => new Transformer({ ...config, ...family }).eval();

    it('keeps its parameters and paths, and computes floats where no bits are asked for', async () => {
      const model = build();
      const tokens = tokensOf(2, 9);
      const before = await bytesOf(model.forward(tokens));
      const parameters = model.namedParameters();
      const paths = quantizationAware(model, {});
      expect(paths.every((path) => /^blocks\.\d\.(attention|mlp)\.\w+$/.test(path))).toBe(true);
      expect([...model.namedParameters()]).toEqual([...parameters]);
      expect(
        relativeError(new Float32Array((await bytesOf(model.forward(tokens))).buffer), new Float32Array(before.buffer)),
      ).toBeLessThan(1e-5);
      quantizationAware(model, { weights: 3 });
      expect(await bytesOf(model.forward(tokens))).not.toEqual(before);
      model.dispose();
    });

    it('keys and values, and they alone, are put on a grid with keyValues', () => {
      const model = build();
      for (const path of quantizationAware(model, { weights: 4, activations: 8, keyValues: 3 })) {
        const { settings } = model.get(path) as FakeQuantLinear;
        const outputs = /\.(key|value)$/.test(path) ? 3 : null;
        expect(settings, path).toMatchObject({ weights: 4, activations: 8, outputs });
      }
      model.dispose();
    });

    it.each([
      [4, 8, 4],
      [8, 8, 8],
      [3, null, null],
      [2, 4, null],
    ] as const)('packed, it computes what it did in training: %o-%o-%o', async (weights, activations, keyValues) => {
      const model = build();
      const tokens = tokensOf(2, 9);
      quantizationAware(model, { weights, activations, keyValues });
      const expected = model.forward(tokens);
      const floats = tf.memory().numBytes;
      await packQuantizationAware(model);
      expect(tf.memory().numBytes).toBeLessThan(floats);
      await expectNear(model.forward(tokens), expected, 1e-5);
      model.dispose();
    });

    it('quantizeActivations gives rounded weights the inputs, keys and values of the aware model', async () => {
      const model = build();
      const tokens = tokensOf(2, 9);
      quantizationAware(model, { weights: 4, activations: 4, keyValues: 3 });
      const expected = model.forward(tokens);
      quantizationAware(model, { weights: 4 });
      await packQuantizationAware(model);
      expect(quantizeActivations(model, { activations: 4, keyValues: 3 }).length).toBe(family.mlp === 'swiglu' ? 14 : 12);
      await expectNear(model.forward(tokens), expected, 1e-5);
      model.dispose();
    });

    it('with 4 bits for keys and values it computes what the floats do with a cache of 4 bits', async () => {
      const model = build();
      const tokens = tokensOf(2, 9);
      const cache = new QuantizedKVCache({ bits: 4 });
      const parts = [tf.slice(tokens, [0, 0], [2, 5]), tf.slice(tokens, [0, 5], [2, 1]), tf.slice(tokens, [0, 6], [2, 3])];
      const steps = parts.map((part) => model.forward(part, { cache }));
      quantizationAware(model, { keyValues: 4 });
      await expectNear(tf.concat(steps, 1), model.forward(tokens), 1e-4);
      cache.dispose();
      model.dispose();
    });
  });
});

describe.runIf(hasSoftwareGpu)('on webgpu (a GPU made of software)', () => {
  beforeAll(async () => {
    await startBackend({ backend: 'webgpu', softwareGpu: true });
  });

  it('a fake-quantized layer computes what PyTorch does', async () => {
    const [given] = fixture.linear;
    const layer = new Linear(7, 3);
    layer.weight.assign(tensorOf(given!.weight));
    layer.bias!.assign(tensorOf(given!.bias));
    await expectNear(new FakeQuantLinear(layer, given!.bits).forward(tensorOf(given!.x)), given!.output, 1e-5);
    layer.dispose();
  });
});
