/**
 * @file Fake quantization is quantizing and dequantizing, with a gradient that passes straight through; LLM-QAT learns from
 * what the model wrote itself; a packed model computes what the trained one did; a cache in few bits gives back what was put on
 * its grid.
 */
import { readFileSync } from 'node:fs';
import {
  copyOf,
  DistilledModel,
  distillationLoss,
  evaluateLoss,
  fakeQuantize,
  FakeQuantLinear,
  generateTokens,
  Linear,
  llmQAT,
  packQuantizationAware,
  quantizationAware,
  quantizeActivations,
  QuantizedKVCache,
  Random,
  selfGeneratedSequences,
  sequenceBatches,
  startBackend,
  symmetricCodes,
  tf,
  train,
  Transformer,
  type FakeQuantizer,
  type Tensor,
  type TransformerConfig,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

  describe('QuantizedKVCache', () => {
    const step = (
      cache: QuantizedKVCache,
      seed: number,
      tokens = 1,
      shape = [2, 3, 8],
    ): { k: Tensor; v: Tensor; floats: Tensor[] } => {
      const [batch, heads, size] = shape as [number, number, number];
      const [k, v] = [
        normal(seed, batch, heads, tokens, size),
        normal(seed + 100, batch, heads, tokens, size),
      ] as tf.Tensor4D[];
      const out = cache.append(0, k!, v!);
      cache.advance(tokens);
      return { ...out, floats: [k!, v!] };
    };
    /** A token's scale is that of all its heads. */
    const quantized = (x: Tensor, bits: number): Tensor => {
      const [B, K, T, S] = x.shape as [number, number, number, number];
      const rows = x.transpose([0, 2, 1, 3]).reshape([B, T, K * S]);
      return fakeQuantize(rows, { bits }).reshape([B, T, K, S]).transpose([0, 2, 1, 3]);
    };

    it.each([
      [4, [2, 3, 8]],
      [8, [2, 3, 8]],
      [4, [1, 1, 5]],
      [8, [3, 2, 7]],
    ] as const)('%i bits, [B, K, S] = %o: gives back what was put on the grid', async (bits, shape) => {
      const cache = new QuantizedKVCache({ bits });
      const steps = [4, 1, 2].map((tokens, i) => step(cache, i, tokens, [...shape]));
      const { k, v } = steps.at(-1)!;
      await expectNear(
        k,
        tf.concat(
          steps.map(({ floats }) => quantized(floats[0]!, bits)),
          2,
        ),
        1e-6,
      );
      await expectNear(
        v,
        tf.concat(
          steps.map(({ floats }) => quantized(floats[1]!, bits)),
          2,
        ),
        1e-6,
      );
      cache.dispose();
    });

    it('takes the bytes that it says, and a fraction of the floats', () => {
      const before = tf.memory().numBytes;
      const cache = new QuantizedKVCache({ bits: 4 });
      tf.tidy(() => void step(cache, 1, 10, [1, 4, 32]));
      expect(tf.memory().numBytes - before).toBe(cache.bytes);
      expect(cache.bytes).toBe(2 * 10 * (128 / 2 + 4)); // codes and a scale for each token's keys and values
      cache.dispose();
      expect([tf.memory().numBytes, cache.bytes, cache.length]).toEqual([before, 0, 0]);
    });

    it('goes back, and over what an unfinished pass left', async () => {
      const cache = new QuantizedKVCache({ bits: 8 });
      step(cache, 1, 5);
      cache.append(0, normal(9, 2, 3, 2, 8) as tf.Tensor4D, normal(9, 2, 3, 2, 8) as tf.Tensor4D);
      const { k } = step(cache, 2);
      expect([cache.length, k.shape[2]]).toEqual([6, 6]);
      cache.truncate(2);
      const third = step(cache, 3);
      const [first, last] = [normal(1, 2, 3, 5, 8).slice([0, 0, 0, 0], [2, 3, 2, 8]), normal(3, 2, 3, 1, 8)];
      expect(relativeError(await third.k.data(), await tf.concat([first, last], 2).data())).toBeLessThan(0.01);
      cache.truncate(0);
      expect(cache.bytes).toBe(0);
    });

    it('refuses what does not belong to it', () => {
      expect(() => new QuantizedKVCache({ bits: 3 as 4 })).toThrow(/4 or 8/);
      const cache = new QuantizedKVCache({ capacity: 3 });
      step(cache, 1, 2);
      expect(() => step(cache, 1, 2)).toThrow(/room for 3/);
      expect(() => step(cache, 1, 1, [2, 2, 8])).toThrow(/heads 3 is kept/);
      expect(() => cache.append(1, normal(1, 2, 3, 1, 8) as tf.Tensor4D, normal(1, 2, 3, 1, 8) as tf.Tensor4D)).toThrow(
        /layer 1/,
      );
      expect(() => cache.advance(1)).toThrow(/layer 0/);
      expect(() => cache.truncate(3)).toThrow(/truncate 2/);
      cache.dispose();
    });

    it('serves generation, which writes nearly the same with 8 bits', async () => {
      const model = new Transformer({ ...config, ...families['llama'] });
      const write = async (cache: boolean | (() => QuantizedKVCache)): Promise<number[]> => {
        const tokens: number[] = [];
        for await (const token of generateTokens(model, [1, 2, 3], { maxTokens: 8, temperature: 0, cache })) tokens.push(token);
        return tokens;
      };
      const made: QuantizedKVCache[] = [];
      const tokens = await write(() => (made[made.length] = new QuantizedKVCache({ bits: 8, capacity: 12 })));
      expect(tokens).toEqual(await write(true));
      expect(made.length).toBe(1);
      expect(made[0]!.length).toBe(0);
      model.dispose();
    });
  });
});

describe('learning from itself', () => {
  let model: Transformer;
  beforeAll(async () => {
    await startBackend({ backend: 'wasm', threads: 1 });
    model = new Transformer(config).eval();
  });
  afterAll(() => model.dispose());

  it('every token begins a sequence, in rounds of the vocabulary with more and more greedy tokens', async () => {
    const sequences = await selfGeneratedSequences(model, { quiet: true, length: 7 });
    expect(sequences.length).toBe(3 * config.vocabSize);
    expect(sequences.map(([first]) => first)).toEqual(sequences.map((_, i) => i % config.vocabSize));
    for (const [i, sequence] of sequences.entries()) {
      const greedyLength = 3 + Math.floor(i / config.vocabSize);
      const greedy: number[] = [];
      for await (const token of generateTokens(model, [i % config.vocabSize], { maxTokens: greedyLength - 1, temperature: 0 }))
        greedy.push(token);
      expect([...sequence.subarray(1, greedyLength)]).toEqual(greedy);
    }
    const beginnings = new Set(sequences.map((sequence) => sequence.subarray(0, 3).join()));
    expect(beginnings.size).toBe(config.vocabSize);
    expect(new Set(sequences.map((sequence) => sequence.join())).size).toBeGreaterThan(2 * config.vocabSize);
  });

  it('what is drawn follows the model', async () => {
    // After one greedy token of one and the same beginning, the shares of the next token are the model's probabilities.
    const single = new Transformer({ ...config, vocabSize: 5, seed: 8 });
    const sequences = await selfGeneratedSequences(single, {
      quiet: true,
      length: 3,
      sequences: 5 * 500,
      greedyLengths: [2],
      batchSize: 500,
    });
    const started = sequences.filter(([first]) => first === 3);
    const logits = single.forward(tf.tensor2d([[...started[0]!.subarray(0, 2)]], [1, 2], 'int32'), { lastOnly: true });
    const expected = await tf.softmax(logits.reshape([5])).data();
    for (const [token, p] of expected.entries()) {
      const share = started.filter((sequence) => sequence[2] === token).length / started.length;
      expect(Math.abs(share - p), `token ${token}`).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / started.length) + 1e-9);
    }
    single.dispose();
  });

  it('is the same for the same seed, whatever the batch, where nothing is drawn; another for another seed', async () => {
    const write = (seed: number, more: object = {}) =>
      selfGeneratedSequences(model, { quiet: true, sequences: 11, seed, ...more });
    expect(await write(1)).toEqual(await write(1));
    expect(await write(1)).not.toEqual(await write(2));
    const greedy = { greedyLengths: [13] };
    expect(await write(1, greedy)).toEqual(await write(2, { ...greedy, batchSize: 3 }));
    await expect(write(1, { length: 14 })).rejects.toThrow(/context of 12/);
    await expect(write(1, { sequences: 0 })).rejects.toThrow(/sequences/);
  });

  it('sequenceBatches: whole sequences and what follows; its state goes on', () => {
    const sequences = [Int32Array.of(1, 2, 3), Int32Array.of(4, 5, 6)];
    const batches = sequenceBatches(sequences, { batchSize: 20, seed: 3 });
    const { inputs, targets, contextLength } = batches.next();
    expect(contextLength).toBe(2);
    for (let row = 0; row < 20; row++) expect([1, 4]).toContain(inputs[2 * row]);
    expect([...targets]).toEqual([...inputs].map((token) => token + 1));
    expect(new Set(inputs).size).toBe(4);
    const { state } = batches;
    const next = batches.next();
    batches.state = state;
    expect(batches.next()).toEqual(next);
    expect(() => sequenceBatches([Int32Array.of(1, 2), Int32Array.of(1)], { batchSize: 1 })).toThrow(/sequence 1 has 1/);
    expect(() => sequenceBatches([], { batchSize: 1 })).toThrow(/at least two/);
  });

  it('llmQAT brings the student nearer to its teacher, which stays as it was', async () => {
    const weights = await bytesOf(model.get('blocks.0.mlp.up').parameters()[0]!);
    const before = copyOf(model);
    const bits = { weights: 3, activations: 8, keyValues: 4 };
    quantizationAware(before, bits);
    const test = sequenceBatches(await selfGeneratedSequences(model, { quiet: true, sequences: 64, seed: 5 }), {
      batchSize: 64,
    });
    const batch = test.next();
    const untrained = await evaluateLoss(new DistilledModel(before, model), [batch]);
    const { student, training } = await llmQAT(model, {
      ...bits,
      data: { sequences: 64 },
      training: { steps: 40 },
      quiet: true,
    });
    expect(training.steps).toBe(40);
    expect(await evaluateLoss(new DistilledModel(student, model), [batch])).toBeLessThan(0.7 * untrained);
    expect(await bytesOf(model.get('blocks.0.mlp.up').parameters()[0]!)).toEqual(weights);
    for (const one of [before, student]) one.dispose();
  });

  it('llmQAT takes batches of any text, and quantizationAware any quantizer', async () => {
    let calls = 0;
    const counting: FakeQuantizer = (x, options) => {
      calls++;
      return fakeQuantize(x, options);
    };
    const data = sequenceBatches([new Int32Array(13).fill(3)], { batchSize: 2 });
    const { student } = await llmQAT(model, {
      data,
      training: { steps: 1 },
      quantizer: counting,
      keyValues: null,
      quiet: true,
    });
    expect(calls).toBe(2 * 12);
    student.dispose();
  });

  it('leaves no tensors behind but those of the student', async () => {
    const before = tf.memory().numTensors;
    const { student } = await llmQAT(model, { data: { sequences: 11 }, training: { steps: 2 }, quiet: true });
    student.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('plain training moves the floats behind the grid, too', async () => {
    const student = copyOf(model);
    quantizationAware(student, { weights: 2 });
    const weight = await bytesOf(student.get('blocks.1.mlp.down').parameters()[0]!);
    await train(student, sequenceBatches([new Int32Array(13).fill(3)], { batchSize: 2 }), { steps: 2, quiet: true });
    expect(await bytesOf(student.get('blocks.1.mlp.down').parameters()[0]!)).not.toEqual(weight);
    student.dispose();
  });

  it('says what cannot be done', async () => {
    const student = copyOf(model);
    expect(() => quantizationAware(student, { layers: 'nothing' })).toThrow(/no Linear layer at 'nothing'/);
    expect(() => quantizationAware(student, { weights: 1 })).toThrow(/weights: bits.*got 1/);
    await expect(packQuantizationAware(student)).rejects.toThrow(/no FakeQuantLinear/);
    expect(() => quantizeActivations(student, { activations: 8 })).toThrow(/no layer of this model is quantized/);
    quantizationAware(student, { weights: 5 });
    await expect(packQuantizationAware(student)).rejects.toThrow(/blocks\.0\.attention\.query.*5 bits/);
    expect(() => copyOf(student)).toThrow(/were replaced/);
    student.dispose();
  });
});

describe.runIf(hasSoftwareGpu)('on webgpu (a GPU made of software)', () => {
  beforeAll(async () => {
    await startBackend({ backend: 'webgpu', softwareGpu: true });
  });

  it('a cache gives back what was put on the grid, bit for bit in each run', async () => {
    const run = async (bits: 4 | 8): Promise<Buffer> => {
      const cache = new QuantizedKVCache({ bits });
      const [k, v] = [normal(1, 1, 2, 3, 5), normal(2, 1, 2, 3, 5)] as [tf.Tensor4D, tf.Tensor4D];
      const { k: keys } = cache.append(0, k, v);
      const rows = fakeQuantize(k.transpose([0, 2, 1, 3]).reshape([3, 10]), { bits });
      await expectNear(keys.transpose([0, 2, 1, 3]).reshape([3, 10]), rows, 1e-5);
      cache.dispose();
      return bytesOf(keys);
    };
    for (const bits of [4, 8] as const) expect(await run(bits)).toEqual(await run(bits));
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
