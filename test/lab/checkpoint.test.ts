/** @file A checkpoint is whole or refused, and whoever goes on from it ends where the others end, to the bit. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CharacterTokenizer,
  Dropout,
  Embedding,
  Linear,
  loadCheckpoint,
  Module,
  parameter,
  Random,
  randomBatches,
  readSafetensors,
  restoreWeights,
  saveCheckpoint,
  sequentialBatches,
  startBackend,
  tf,
  TokenDataset,
  train,
  writeSafetensors,
  type CheckpointOptions,
  type TrainResult,
} from 'lab';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'lab-checkpoint-'));
const path = join(folder, 'run', 'model.safetensors');
beforeAll(() => startBackend({ backend: 'cpu' }));
beforeEach(() => rmSync(join(folder, 'run'), { recursive: true, force: true }));
afterAll(() => rmSync(folder, { recursive: true }));

/** A small language model with everything a checkpoint must hold: matrices, a vector, and dropout's random numbers. */
class Small extends Module {
  readonly config = { width: 6, seed: 1, attention: () => 0 };
  readonly embedding: Embedding;
  readonly dropout = new Dropout(0.3, 11);
  readonly scale: tf.Variable<tf.Rank.R1>;
  readonly head: Linear;

  constructor(seed = 1, width = 6) {
    super();
    const random = new Random(seed);
    this.embedding = new Embedding(5, width, { random });
    this.scale = parameter(tf.ones<tf.Rank.R1>([width]));
    this.head = new Linear(width, 5, { random });
  }

  forward(tokens: tf.Tensor2D): tf.Tensor3D {
    return this.head.forward(this.dropout.forward(this.embedding.forward<tf.Tensor3D>(tokens).mul<tf.Tensor3D>(this.scale)));
  }
}

const text = new TokenDataset(
  Array.from({ length: 300 }, (_, i) => (i * i) % 5),
  5,
);
const tokenizer = CharacterTokenizer.train('abcde');

function run(steps: number, checkpoint?: CheckpointOptions, stopAfter = Infinity): Promise<TrainResult> {
  return train(new Small(), randomBatches(text, { batchSize: 3, contextLength: 6, seed: 4 }), {
    steps: 40,
    learningRate: 0.02,
    quiet: true,
    validation: { batches: () => sequentialBatches(text, { batchSize: 10, contextLength: 6 }), every: 10 },
    ...(checkpoint ? { checkpoint } : {}),
    onStep: ({ step }) => {
      if (step === Math.min(stopAfter, steps)) process.emit('SIGINT', 'SIGINT');
    },
  });
}

describe('a resumed training', () => {
  it('ends with the same losses to the bit, dropout and all', async () => {
    const whole = await run(Infinity);
    const first = await run(Infinity, { path, every: 1000, tokenizer }, 17);
    expect(first.interrupted).toBe(true);
    expect(existsSync(path)).toBe(true);
    const second = await run(Infinity, { path, resume: true, tokenizer });
    expect(second.losses).toEqual(whole.losses);
    expect(second.validationLosses).toEqual(whole.validationLosses);
    expect(second.steps).toBe(40);
    expect(second.seconds).toBeGreaterThan(first.seconds);
  });

  it('goes on from the last save when it died in between', async () => {
    const whole = await run(Infinity);
    const dying = train(new Small(), randomBatches(text, { batchSize: 3, contextLength: 6, seed: 4 }), {
      steps: 40,
      learningRate: 0.02,
      quiet: true,
      checkpoint: { path, every: 8 },
      onStep: ({ step }) => {
        if (step === 21) throw new Error('power cut');
      },
    });
    await expect(dying).rejects.toThrow('power cut');
    expect((await loadCheckpoint(path)).state.step).toBe(16);
    const second = await run(Infinity, { path, resume: true });
    expect(second.losses).toEqual(whole.losses);
  });

  it('has nothing left to do after the end', async () => {
    const whole = await run(Infinity, { path });
    const again = await run(Infinity, { path, resume: true });
    expect(again.losses).toEqual(whole.losses);
    expect(again.interrupted).toBe(false);
  });

  it('starts anew without a checkpoint, and without being asked to resume', async () => {
    expect((await run(Infinity, { path, resume: true })).steps).toBe(40);
    expect((await run(Infinity, { path })).losses.length).toBe(40);
  });

  it('refuses the checkpoint of another model and leaves the model as it is', async () => {
    await run(Infinity, { path });
    const other = new Small(3, 7);
    const before = await other.embedding.weight.data();
    const resumed = train(other, randomBatches(text, { batchSize: 3, contextLength: 6 }), {
      steps: 40,
      quiet: true,
      checkpoint: { path, resume: true },
    });
    await expect(resumed).rejects.toThrow(/does not fit this model: .* \[.*7.*\] has shape \[.*6.*\] there/);
    expect(await other.embedding.weight.data()).toEqual(before);
  });
});

describe('a checkpoint', () => {
  const save = (): Promise<unknown> => run(Infinity, { path, tokenizer, notes: { data: 'squares' } }, 3);

  it('holds the weights, the moments, the configuration without its functions, the tokenizer and the losses', async () => {
    await save();
    const checkpoint = await loadCheckpoint(path);
    expect([...checkpoint.weights.keys()].sort()).toEqual(['embedding.weight', 'head.bias', 'head.weight', 'scale']);
    expect(checkpoint.optimizer.get('head.weight.secondMoment')!.shape).toEqual([5, 6]);
    expect(checkpoint.configuration).toEqual({ width: 6, seed: 1 });
    expect(checkpoint.functions).toEqual(['attention']);
    expect(checkpoint.tokenizer!.decode([0, 4])).toBe('ae');
    expect(checkpoint.notes).toEqual({ data: 'squares' });
    expect(checkpoint.state.losses.length).toBe(checkpoint.state.step);
    expect((await readSafetensors(path)).metadata['format']).toBe('pt');
  });

  it('gives a new model the same weights', async () => {
    await save();
    const checkpoint = await loadCheckpoint(path);
    const model = new Small(9);
    restoreWeights(checkpoint, model.namedParameters());
    expect(await model.head.weight.data()).toEqual(checkpoint.weights.get('head.weight')!.data);
  });

  it('is refused with words when any byte of it is flipped, and nothing else is touched', async () => {
    await save();
    const bytes = readFileSync(path);
    const damaged = join(folder, 'damaged.safetensors');
    for (let i = 0; i < bytes.length; i += i < 3000 ? 1 : 7) {
      const flipped = Buffer.from(bytes);
      flipped[i]! ^= 1 << (i % 8);
      writeFileSync(damaged, flipped);
      const error: unknown = await loadCheckpoint(damaged).catch((e: unknown) => e);
      expect(error, `byte ${i}`).toMatchObject({
        name: 'LabError',
        message: expect.stringContaining('damaged.safetensors') as string,
      });
    }
  });

  it('is refused when it is cut short, missing, foreign, or of another version', async () => {
    await save();
    const bytes = readFileSync(path);
    const other = join(folder, 'other.safetensors');
    writeFileSync(other, bytes.subarray(0, bytes.length - 100));
    await expect(loadCheckpoint(other)).rejects.toThrow(/other.safetensors is not a valid .*cut short/);
    await expect(loadCheckpoint(join(folder, 'nothing'))).rejects.toThrow(/There is no file/);
    const tensors = new Map([['w', { dtype: 'F32' as const, shape: [1], data: new Float32Array(1) }]]);
    await writeSafetensors(other, tensors, { format: 'pt' });
    await expect(loadCheckpoint(other)).rejects.toThrow(/not a checkpoint of this lab/);
    await writeSafetensors(other, tensors, { checkpoint: '99' }, { digest: true });
    await expect(loadCheckpoint(other)).rejects.toThrow(/version 99; this lab reads version 1/);
  });

  it('is not written when a weight is no longer a number: the last good one stays', async () => {
    await save();
    const good = readFileSync(path);
    const broken = new Map([['scale', tf.variable(tf.tensor([1, NaN]))]]);
    const state = { step: 7, losses: [], validationLosses: [], seconds: 0, random: {} };
    await expect(saveCheckpoint(path, { parameters: broken, state })).rejects.toThrow(
      /not written: model.scale .* not finite after step 7/,
    );
    expect(readFileSync(path)).toEqual(good);
  });

  it('is intact, and named, when training blows up', async () => {
    const model = new Small();
    const blowing = train(model, randomBatches(text, { batchSize: 3, contextLength: 6 }), {
      steps: 40,
      quiet: true,
      checkpoint: { path, every: 5 },
      schedule: (step) => (step < 12 ? 1e-3 : Infinity),
    });
    await expect(blowing).rejects.toThrow(/loss of step 14 is NaN.*checkpoint of step 10 is intact/);
    expect((await loadCheckpoint(path)).state.step).toBe(10);
  });

  it('keeps no tensor on the device', async () => {
    const model = new Small();
    const before = tf.memory().numTensors;
    const batches = randomBatches(text, { batchSize: 3, contextLength: 6 });
    const options = { steps: 6, quiet: true, checkpoint: { path, every: 2, resume: true } };
    await train(model, batches, options);
    await train(model, batches, { ...options, steps: 9 });
    expect(tf.memory().numTensors).toBe(before);
  });
});
