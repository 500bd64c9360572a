/** @file Layers and models with quantized weights: what they compute, what they take, and that a failure changes nothing. */
import {
  awq,
  calibrationBatches,
  decodeMatrix,
  decodeNF4,
  gptq,
  HessianAverage,
  type Linear,
  linear,
  NF4Linear,
  packMatrix,
  presets,
  QuantizedLayer,
  QuantizedLinear,
  quantizeModel,
  quantizeNF4,
  Random,
  relativeOutputError,
  roundToNearest,
  startBackend,
  stopBackend,
  tf,
  TokenDataset,
  Transformer,
  type ColumnStep,
  type QuantizeModelOptions,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  type TransformerConfig,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectNear, relativeError } from './core-fixture.ts';
import { hasSoftwareGpu } from './ops/software-gpu.ts';
import { correlatedInputs, hessianOf } from './quantize-fixture.ts';

const random = new Random(23);
const quiet = { quiet: true } as const;
const gpt: TransformerConfig = { ...presets.nano, vocabSize: 31, contextLength: 16, layers: 2, width: 32, heads: 2, bias: true };
const llama: TransformerConfig = { ...presets.llama, vocabSize: 31, contextLength: 16, layers: 2, width: 32, heads: 4, keyValueHeads: 2, hiddenSize: 48 };

/** The errors of GPTQ on the first backend, which all others must have too. */
let firstErrors: number[] | undefined;

/** Weights far larger than a new model's, and norms and biases that are not trivial, so that every layer matters. */
function modelOf(config: TransformerConfig, seed = 1): Transformer {
  const model = new Transformer({ ...config, seed }).eval();
  const stream = new Random(seed + 1);
  for (const [path, variable] of model.namedParameters()) {
    const [std, shift] = variable.rank === 1 ? [0.1, path.endsWith('weight') ? 1 : 0] : [0.25, 0];
    variable.assign(tf.tensor(stream.normals(variable.size, std).map((v) => v + shift), variable.shape));
  }
  return model;
}

const dataset = new TokenDataset(Array.from({ length: 400 }, () => random.integer(31)), 31);
const calibration = calibrationBatches(dataset, { sequences: 12, contextLength: 16, batchSize: 5 });
const tokens = (): Tensor2D => tf.tensor2d(dataset.ids.slice(0, 24), [2, 12], 'int32');
async function logitsOf(model: Transformer): Promise<Float32Array> {
  const ids = tokens();
  const logits = tf.tidy(() => model.forward(ids));
  const values = (await logits.data<'float32'>()).slice();
  tf.dispose([ids, logits]);
  return values;
}
const stateOf = async (model: Transformer): Promise<Map<string, Float32Array>> =>
  new Map(await Promise.all([...model.namedParameters()].map(async ([path, v]) => [path, (await v.data<'float32'>()).slice()] as const)));

describe.each(['cpu', 'wasm', ...(hasSoftwareGpu ? (['webgpu'] as const) : [])] as const)('layers on %s', (backend) => {
  beforeAll(async () => {
    await stopBackend();
    await startBackend({ backend, threads: 2, softwareGpu: true });
  });
  afterAll(() => stopBackend());
  const shape = { outputs: 6, inputs: 64 };

  it('a QuantizedLinear is the Linear of its floats, gradient and all, with input factors too', async () => {
    const weights = random.normals(6 * 64);
    const matrix = roundToNearest(weights, shape, { bits: 4, groupSize: 32 });
    const factors = Float32Array.from({ length: 64 }, (_, i) => 1 + (i % 3));
    const [x, dy] = [tf.tensor3d(random.normals(2 * 3 * 64), [2, 3, 64]), tf.tensor3d(random.normals(36), [2, 3, 6])];
    for (const inputFactors of [null, factors]) {
      const bias = tf.variable(tf.tensor1d(random.normals(6)));
      const layer = new QuantizedLinear(packMatrix(matrix), { bias, inputFactors });
      const floats = tf.tensor2d(decodeMatrix(matrix).map((v, i) => v * (inputFactors ? inputFactors[i % 64]! : 1)), [6, 64]);
      const of = (f: (a: Tensor3D) => Tensor) => tf.valueAndGrad(f)(x, dy);
      const [got, want] = [of((a) => layer.forward(a)), of((a) => linear(a, floats, bias))];
      await expectNear(got.value, want.value);
      await expectNear(got.grad, want.grad);
      await expectNear(layer.weight(), floats);
      expect(layer.bytes).toBe(4 * (6 * 8 + 12 + 12 + (inputFactors ? 64 : 0)));
      expect([...layer.namedParameters().keys()]).toEqual(['words', 'scales', 'zeros', ...(inputFactors ? ['inputFactors'] : []), 'bias']);
      const { order, ...packed } = await layer.packed();
      expect({ ...packed, order }).toEqual(packMatrix(matrix));
    }
  });

  it('GPTQ of a model leaves the same errors as on every other backend', async () => {
    const model = modelOf({ ...gpt, layers: 1 });
    const { layers } = await quantizeModel(model, { method: 'gptq', bits: 3, calibration: calibration.slice(0, 1), ...quiet });
    const errors = layers.map(({ error }) => error);
    firstErrors ??= errors;
    expect(relativeError(errors, firstErrors)).toBeLessThan(0.05);
    model.dispose();
  });

  it('an NF4Linear is the Linear of its floats, with sizes in 8 bits and without', async () => {
    for (const double of [true, false]) {
      const matrix = quantizeNF4(random.normals(6 * 64), shape, { groupSize: 32, double, doubleGroupSize: 8 });
      const layer = new NF4Linear(matrix);
      await expectNear(layer.weight(), tf.tensor2d(decodeNF4(matrix), [6, 64]));
      const x = tf.tensor2d(random.normals(3 * 64), [3, 64]);
      await expectNear(layer.forward(x), tf.matMul(x, layer.weight(), false, true));
    }
  });
});

describe('quantizeModel', () => {
  beforeAll(() => startBackend({ backend: 'wasm', threads: 2 }));

  for (const [name, config] of Object.entries({ gpt, llama })) {
    it.each(['rtn', 'gptq', 'awq', 'nf4'] as const)(`${name}, %s: computes what the floats of its layers compute`, async (method) => {
      const model = modelOf(config);
      const groupSize = 16;
      const report = await quantizeModel(model, { method, groupSize, ...quiet, ...(method.endsWith('q') && { calibration }) });
      const layers = [...model.namedModules()].filter(([, module]) => module instanceof QuantizedLayer);
      expect(layers.map(([path]) => path).sort()).toEqual(report.layers.map(({ path }) => path).sort());
      expect(layers.length).toBe(name === 'gpt' ? 12 : 14);
      const plain = modelOf(config);
      for (const [path, layer] of layers) (plain.get(path) as Linear).weight.assign((layer as QuantizedLayer).weight());
      expect(relativeError(await logitsOf(model), await logitsOf(plain))).toBeLessThan(1e-5);
      model.dispose();
      plain.dispose();
    });
  }

  it('memory falls by what the report says, and nothing is left behind', async () => {
    for (const method of ['rtn', 'gptq', 'awq', 'nf4'] as const) {
      const model = modelOf({ ...gpt, width: 64, heads: 2 });
      const before = tf.memory().numBytes;
      const report = await quantizeModel(model, { method, bits: 4, groupSize: 64, calibration, ...quiet });
      expect(before - tf.memory().numBytes, method).toBe(report.bytesBefore - report.bytesAfter);
      expect(report.bytesBefore).toBe(4 * 2 * 12 * 64 * 64);
      if (method !== 'nf4' && method !== 'awq') expect(report.bytesAfter / report.bytesBefore).toBeLessThan(0.16);
      const tensors = tf.memory().numTensors;
      const held = model.parameters().length;
      model.dispose();
      expect(tensors - tf.memory().numTensors).toBe(held);
    }
  });

  it('8 bits change next to nothing, 4 more, 2 most', async () => {
    const wanted = await logitsOf(modelOf(gpt));
    const errors = [];
    for (const bits of [8, 4, 3, 2] as const) {
      const model = modelOf(gpt);
      await quantizeModel(model, { method: 'gptq', bits, calibration, ...quiet });
      errors.push(relativeError(await logitsOf(model), wanted));
    }
    expect(errors).toEqual(errors.toSorted((a, b) => a - b));
    expect(errors[0]).toBeLessThan(0.02);
  });

  it('GPTQ and AWQ leave less error at the outputs than rounding, in (almost) every layer', async () => {
    const errors = async (options: Partial<QuantizeModelOptions>): Promise<number[]> => {
      const model = modelOf(llama);
      const { layers } = await quantizeModel(model, { method: 'rtn', bits: 3, groupSize: 16, calibration, ...quiet, ...options });
      expect(layers.every(({ errorOf }) => errorOf === 'outputs')).toBe(true);
      return layers.map(({ error }) => error);
    };
    const rtn = await errors({});
    const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
    for (const better of [{ method: 'gptq' }, { method: 'gptq', actOrder: true, trueSequential: true }, { method: 'awq' }] as const) {
      const found = await errors(better);
      expect(sum(found), JSON.stringify(better)).toBeLessThan(0.95 * sum(rtn));
    }
  });

  it('each block is calibrated on what the quantized blocks before it give', async () => {
    const model = modelOf(gpt);
    await quantizeModel(model, { method: 'gptq', bits: 3, calibration, ...quiet });
    const found = (model.get('blocks.1.attention.query') as QuantizedLinear).weight();
    const half = modelOf(gpt);
    await quantizeModel(half, { method: 'gptq', bits: 3, layers: 'blocks.0.**', calibration, ...quiet });
    const original = half.get('blocks.1.attention.query') as Linear;
    const average = new HessianAverage(32);
    for (const { inputs, batchSize, contextLength } of calibration) {
      average.add(tf.tidy(() => {
        const stream = half.hiddenStates(tf.tensor2d(inputs, [batchSize, contextLength], 'int32'))[1]!;
        return (half.blocks[1] as unknown as { attentionNorm: { forward(x: Tensor3D): Tensor3D } }).attentionNorm.forward(stream);
      }));
    }
    const weights = (await original.weight.data<'float32'>()).slice();
    const { matrix } = await gptq(weights, original, await average.values(), { bits: 3, scales: 'float16' });
    await expectNear(found, tf.tensor2d(decodeMatrix(matrix), [32, 32]), 1e-6);
  });

  it('with trueSequential the output projection is calibrated on quantized queries, keys and values', async () => {
    const once = modelOf(gpt);
    const twice = modelOf(gpt);
    const options = { method: 'gptq', bits: 2, layers: 'blocks.0.**', calibration, ...quiet } as const;
    const plain = await quantizeModel(once, options);
    const sequential = await quantizeModel(twice, { ...options, trueSequential: true });
    expect(sequential.layers.map(({ path }) => path)).toEqual(plain.layers.map(({ path }) => path));
    const weight = (model: Transformer, path: string): Tensor => (model.get(`blocks.0.${path}`) as QuantizedLinear).weight();
    await expectNear(weight(twice, 'attention.query'), weight(once, 'attention.query'), 0);
    const [a, b] = [weight(twice, 'attention.output'), weight(once, 'attention.output')];
    expect(relativeError(await a.data(), await b.data())).toBeGreaterThan(0.01);
  });

  it('reports layers in order with their sizes; act-order and groups are there', async () => {
    const model = modelOf(llama);
    const report = await quantizeModel(model, { method: 'gptq', bits: 4, groupSize: 16, actOrder: true, symmetric: true, calibration, ...quiet });
    expect(report.layers.slice(0, 7).map(({ path }) => path)).toEqual(
      ['attention.query', 'attention.key', 'attention.value', 'attention.output', 'mlp.gate', 'mlp.up', 'mlp.down'].map((p) => `blocks.0.${p}`),
    );
    const layer = model.get('blocks.1.mlp.down') as QuantizedLinear;
    expect(layer.layout).toMatchObject({ outputs: 32, inputs: 48, bits: 4, groupSize: 16 });
    expect(layer.orderInputs).not.toBeNull();
    expect(layer.zeros).toBeNull();
    for (const { damping, error, seconds, bitsPerWeight } of report.layers) {
      expect(damping).toBe(0.01);
      expect(error > 0 && error < 0.05 && seconds >= 0 && bitsPerWeight > 4).toBe(true);
    }
  });

  it('leaves the mode, frozen parameters and biases as they were', async () => {
    const model = modelOf(gpt).train();
    model.freeze('blocks.0.attention.query');
    const bias = (model.get('blocks.0.mlp.up') as Linear).bias;
    await quantizeModel(model, { method: 'rtn', ...quiet });
    expect(model.training && model.get('blocks.0.mlp.up').training).toBe(true);
    expect((model.get('blocks.0.mlp.up') as QuantizedLinear).bias).toBe(bias);
    expect((model.get('blocks.0.attention.query') as QuantizedLinear).bias!.trainable).toBe(false);
    expect(bias!.trainable).toBe(true);
  });

  it('whatever goes wrong names the layer and leaves the model as it was, tensor by tensor', async () => {
    const controller = new AbortController();
    const stopping: ColumnStep = () => controller.abort();
    const broken = (path: string, value: number) => (model: Transformer) => {
      const { weight } = model.get(path) as Linear;
      weight.assign(tf.tensor2d((weight.dataSync() as Float32Array).with(5, value), weight.shape));
    };
    const cases: readonly [Partial<QuantizeModelOptions>, RegExp, ((model: Transformer) => void)?][] = [
      [{ method: 'rtn' }, /'blocks.1.mlp.down' was not quantized, and the model is unchanged: .* output 0, input 5 is NaN/, broken('blocks.1.mlp.down', NaN)],
      [{ method: 'gptq', calibration }, /'blocks.1.mlp.up' was not .* is Infinity/, broken('blocks.1.mlp.up', Infinity)],
      [{ method: 'gptq', calibration, scales: 'float32' }, /'blocks.1.attention.query' was not .* Hessian .* not finite/, broken('blocks.0.mlp.down', 3e38)],
      [{ method: 'rtn' }, /'blocks.0.mlp.down' was not .* scale of output 0, group 0 is Infinity/, broken('blocks.0.mlp.down', 3e38)],
      [{ method: 'nf4', groupSize: 32 }, /'blocks.0.attention.value' was not .* is -Infinity/, broken('blocks.0.attention.value', -Infinity)],
      [{ method: 'awq', calibration }, /'blocks.1.attention.query' was not .* is NaN/, broken('blocks.1.attention.key', NaN)],
      [{ method: 'gptq', calibration, damping: 0 }, /'blocks.0.attention.output' was not .* cannot be factorised/, (model) => {
        (model.get('blocks.0.attention.value') as Linear).weight.assign(tf.ones([32, 32]));
      }],
      [{ method: 'rtn', groupSize: 24 }, /'blocks.0.attention.query' cannot be quantized: groups of 24 do not divide 32 inputs/],
      [{ method: 'gptq' }, /'gptq' needs calibration data/],
      [{ method: 'gptq', calibration: [] }, /the calibration data is empty/],
      [{ method: 'awq', calibration: [{ inputs: Int32Array.of(3, 31), batchSize: 1, contextLength: 2 }] }, /Token 31 at position 1/],
      [{ method: 'rtn', bits: 7 as never }, /bits must be one of 2, 3, 4, 8, got 7/],
      [{ method: 'best' as never }, /method must be rtn, gptq, awq, nf4, got 'best'/],
      [{ method: 'nf4', bits: 8 }, /NF4 has 4 bits/],
      [{ method: 'gptq', groupSize: 'tensor', calibration }, /'tensor' is for method 'rtn' alone/],
      [{ method: 'rtn', trueSequential: true }, /trueSequential needs calibration/],
      [{ method: 'rtn', layers: 'blocks.*.attention' }, /no Linear layer to quantize at 'blocks.\*.attention'/],
      [{ method: 'gptq', calibration, signal: AbortSignal.abort() }, /interrupted; the model is unchanged/],
      [{ method: 'gptq', calibration, signal: controller.signal, columnStep: stopping }, /interrupted; the model is unchanged/],
    ];
    for (const [options, message, change] of cases) {
      const model = modelOf(gpt);
      change?.(model);
      const before = await stateOf(model);
      const [tensors, modules] = [tf.memory().numTensors, [...model.namedModules()]];
      await expect(quantizeModel(model, { method: 'rtn', ...quiet, ...options }), message.source).rejects.toThrow(message);
      expect(tf.memory().numTensors, message.source).toBe(tensors);
      expect([...model.namedModules()]).toEqual(modules);
      expect(await stateOf(model)).toEqual(before);
      model.dispose();
    }
  });

  it('refuses a model that is quantized already, and a head that cannot be calibrated', async () => {
    const model = modelOf({ ...gpt, tiedHead: false });
    await expect(quantizeModel(model, { method: 'gptq', layers: '**', calibration, ...quiet })).rejects.toThrow(/'head' is not in a block/);
    await quantizeModel(model, { method: 'rtn', layers: '**', ...quiet });
    expect(model.head).toBeInstanceOf(QuantizedLinear);
    await expect(quantizeModel(model, { method: 'rtn', ...quiet })).rejects.toThrow(/is quantized already/);
  });

  it('gives the same bits again', async () => {
    const runs = [];
    for (let i = 0; i < 2; i++) {
      const model = modelOf(gpt);
      await quantizeModel(model, { method: 'gptq', bits: 3, groupSize: 8, actOrder: true, calibration, ...quiet });
      runs.push(await logitsOf(model));
    }
    expect(runs[0]).toEqual(runs[1]);
  });
});

describe('AWQ', () => {
  beforeAll(() => startBackend({ backend: 'wasm', threads: 2 }));
  const [inputs, outputs] = [64, 16];
  const x = correlatedInputs(random, 300, inputs).map((value, i) => (i % inputs < 3 ? 12 * value : value));
  const weights = random.normals(outputs * inputs);
  const hessian = Float32Array.from(hessianOf(x, inputs));
  const meanSizes = Float32Array.from({ length: inputs }, (_, i) => {
    let sum = 0;
    for (let at = i; at < x.length; at += inputs) sum += Math.abs(x[at]!);
    return sum / 300;
  });
  const layer = { weights, outputs, inputs, clip: false };
  const errorOf = ({ scales, matrices }: Awaited<ReturnType<typeof awq>>): Promise<number> =>
    relativeOutputError(weights, decodeMatrix(matrices[0]!).map((v, i) => v / scales[i % inputs]!), hessian);

  it('protects the weights that meet large inputs: less error than rounding, and less still with clipping', async () => {
    const rtn = await relativeOutputError(weights, decodeMatrix(roundToNearest(weights, layer, { bits: 3, groupSize: 16 })), hessian);
    const found = await awq([layer], { hessian, meanSizes }, { bits: 3, groupSize: 16 });
    expect(found.power).toBeGreaterThan(0);
    expect(await errorOf(found)).toBeLessThan(0.8 * rtn);
    const clipped = await awq([{ ...layer, clip: true }], { hessian, meanSizes }, { bits: 2, groupSize: 16 });
    const whole = await awq([layer], { hessian, meanSizes }, { bits: 2, groupSize: 16 });
    expect(await errorOf(clipped)).toBeLessThan(await errorOf(whole));
  });

  it('with the power 0 alone it is rounding to nearest', async () => {
    const { scales, power, matrices } = await awq([layer], { hessian, meanSizes }, { bits: 4, powers: 1 });
    expect(power).toBe(0);
    expect([...scales]).toEqual(new Array(inputs).fill(1));
    expect(matrices[0]).toEqual(roundToNearest(weights, layer, { bits: 4 }));
  });

  it('the mean sizes are those of the Hessian average, and inputs that are always zero do no harm', async () => {
    const average = new HessianAverage(inputs);
    average.add(tf.tensor2d(x.slice(0, 100 * inputs), [100, inputs]));
    average.add(tf.tensor2d(x.slice(100 * inputs), [200, inputs]));
    expect(relativeError(await average.meanSizes(), meanSizes)).toBeLessThan(1e-5);
    const dead = await awq([layer], { hessian, meanSizes: meanSizes.with(5, 0) }, { bits: 4 });
    expect(dead.scales.every((scale) => Number.isFinite(scale) && scale > 0)).toBe(true);
  });
});

describe('calibrationBatches', () => {
  it('gives as many windows as asked, of the text, by the seed', () => {
    expect(calibration.map(({ batchSize }) => batchSize)).toEqual([5, 5, 2]);
    const text = dataset.ids.join(',');
    for (const { inputs, batchSize } of calibration) {
      for (let row = 0; row < batchSize; row++) expect(text).toContain(inputs.slice(16 * row, 16 * row + 16).join(','));
    }
    const again = calibrationBatches(dataset, { sequences: 12, contextLength: 16, batchSize: 5 });
    expect(again).toEqual(calibration);
    expect(calibrationBatches(dataset, { sequences: 12, contextLength: 16, batchSize: 5, seed: 1 })).not.toEqual(calibration);
    expect(() => calibrationBatches(dataset.slice(0, 15), { contextLength: 16 })).toThrow(/15 tokens, fewer than one window of 16/);
    expect(calibrationBatches(dataset.slice(0, 16), { contextLength: 16, sequences: 1 })[0]!.inputs).toEqual(dataset.ids.slice(0, 16));
  });
});
