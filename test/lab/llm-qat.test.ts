/** @file LLM-QAT learns from what the model wrote itself, by the recipe, and brings the student nearer to its teacher. */
import {
  copyOf,
  DistilledModel,
  evaluateLoss,
  fakeQuantize,
  generateTokens,
  llmQAT,
  packQuantizationAware,
  quantizationAware,
  quantizeActivations,
  selfGeneratedSequences,
  sequenceBatches,
  startBackend,
  tf,
  train,
  Transformer,
  type FakeQuantizer,
  type Tensor,
  type TransformerConfig,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const config: TransformerConfig = {
  vocabSize: 11,
  contextLength: 12,
  layers: 2,
  width: 24,
  heads: 3,
  initializerStd: 0.3,
  seed: 4,
};
const bytesOf = async (x: Tensor): Promise<Buffer> => Buffer.from((await x.data<'float32'>()).slice().buffer);

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
