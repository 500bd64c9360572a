/**
 * @file What happens when a device is lost or has no memory left in mid-training: it is said, what was there stays, and training goes
 * on from its checkpoint.
 */
import { copyFileSync, existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  currentDevice,
  DeviceError,
  Embedding,
  Linear,
  loadCheckpoint,
  Module,
  Random,
  randomBatches,
  startBackend,
  stopBackend,
  tf,
  TokenDataset,
  train,
  Transformer,
  wasmHeap,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  type Trainable,
  type TrainOptions,
  type TrainResult,
  type WasmBackend,
  type WebGpuBackend,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deviceErrorOf } from './device-error.ts';

const hasSoftwareGpu = process.platform === 'linux' && process.arch === 'x64';
const folder = mkdtempSync(join(tmpdir(), 'lab-failure-'));
const random = new Random(3);
/** So many numbers that TensorFlow.js does not compute them on the processor. */
const many = 3000;
const numbers = (n = many): Tensor => tf.tensor(random.normals(n));

/** One tiny model, the same each time, on the same batches. */
const model = (): Transformer => new Transformer({ vocabSize: 5, width: 8, layers: 1, heads: 2, contextLength: 6, seed: 2 });
/** A smaller one, for a device on which every shader takes long to compile. */
class Bigrams extends Module {
  readonly embedding = new Embedding(5, 8, { random: 1 });
  readonly head = new Linear(8, 5, { random: 2 });
  forward(tokens: Tensor2D): Tensor3D {
    return tf.tidy(() => this.head.forward(this.embedding.forward<Tensor3D>(tokens)));
  }
}
const text = Int32Array.from({ length: 400 }, () => random.integer(5));
const batches = (): ReturnType<typeof randomBatches> =>
  randomBatches(new TokenDataset(text, 5), { batchSize: 2, contextLength: 6, seed: 4 });
const training = (on: Trainable, options: Partial<TrainOptions>): Promise<TrainResult> =>
  train(on, batches(), { steps: 6, quiet: true, ...options });

interface GpuDevice {
  destroy(): void;
}
const gpu = (): WebGpuBackend & { readonly device: GpuDevice } => tf.backend() as never;

describe.runIf(hasSoftwareGpu)('a GPU that is lost', () => {
  afterAll(stopBackend);
  const start = () => startBackend({ backend: 'webgpu', softwareGpu: true });

  it('in mid-training: says so, says what to do, and training goes on from the checkpoint as if nothing had been', async () => {
    await start();
    const unbroken = await training(new Bigrams(), {});
    const path = join(folder, 'lost.safetensors');
    const broken = new Bigrams();
    const checkpoint = { path, every: 2, resume: true };
    const onStep = ({ step }: { step: number }): void => {
      if (step === 3) gpu().device.destroy();
    };
    const error = await deviceErrorOf(() => training(broken, { checkpoint, onStep }));
    expect(error.kind).toBe('lost');
    expect(error.message).toMatch(/^Training stopped after step 3\. The GPU was lost \(destroyed: .*\), and the tensors there with it\./);
    expect(error.message).toContain('startBackend()');
    expect(error.message).toMatch(/The checkpoint of step 2 is intact: .*lost\.safetensors$/);
    expect((await loadCheckpoint(path)).state.step).toBe(2);
    const atTwo = join(folder, 'two.safetensors');
    copyFileSync(path, atTwo);
    expect(currentDevice()).toBeUndefined();

    const old = broken.embedding.weight;
    expect((await deviceErrorOf(() => old.data())).kind).toBe('lost');
    expect((await deviceErrorOf(() => tf.matMul(old as never, old as never, false, true))).kind).toBe('lost');

    expect((await startBackend()).name).toBeDefined();
    await start();
    expect(currentDevice()!.name).toBe('webgpu');
    expect((await deviceErrorOf(() => tf.mul(old, 2))).message).toMatch(/The GPU was lost/);
    // Both a model that was made anew and the one whose weights were lost take the checkpoint.
    for (const resumed of [broken, new Bigrams()]) {
      const { losses, steps } = await training(resumed, { checkpoint });
      copyFileSync(atTwo, path);
      expect(steps).toBe(6);
      expect(losses).toEqual(unbroken.losses);
    }
  });

  it('and a backend that was stopped do not give their tensors to the next one', async () => {
    await start();
    const x = numbers().mul(2);
    await stopBackend();
    await startBackend({ backend: 'wasm', threads: 1 });
    expect((await deviceErrorOf(() => x.add(1))).message).toMatch(/backend that held this tensor was stopped/);
    expect((await deviceErrorOf(() => x.data())).kind).toBe('lost');
    expect([...(await tf.add([1], 1).data())]).toEqual([2]);
  });
});

describe('wasm', () => {
  beforeAll(() => startBackend({ backend: 'wasm', threads: 1 }));
  afterAll(stopBackend);

  /** Takes all of the heap but so many bytes, and runs. */
  const withRoom = async <T>(bytes: number, run: () => T): Promise<Awaited<T>> => {
    const { wasm } = tf.backend() as unknown as WasmBackend;
    const taken: number[] = [];
    let block = 2 ** 29;
    const spare = wasm._malloc(bytes);
    while (block >= 1024) {
      try {
        taken.push(wasm._malloc(block));
      } catch {
        block /= 2;
      }
    }
    wasm._free(spare);
    try {
      return await run();
    } finally {
      for (const offset of taken) wasm._free(offset);
    }
  };

  it('without memory in mid-step: names the operation, leaks nothing, keeps what was there, and a step with room is the same', async () => {
    const [lucky, unlucky] = [model(), model()];
    await training(lucky, { steps: 1 });
    const { usage } = wasmHeap();
    const before = usage.live;
    const weights = await unlucky.tokenEmbedding.weight.data();
    const named = new Set<string | undefined>();
    for (let room = 2000; ; room += 500) {
      const error = await withRoom(room, () => training(unlucky, { steps: 1 }).then(() => undefined, (reason: unknown) => reason));
      if (error === undefined) break;
      expect(error).toBeInstanceOf(DeviceError);
      const { kind, message } = error as DeviceError;
      expect(kind).toBe('memory');
      expect(message).toMatch(/The wasm heap is full: \d+ MiB .*smaller batch.*checkpoint.*another backend/);
      named.add(/^Training stopped after step 0\. ([\w.]+): The wasm/.exec(message)?.[1]);
      expect(usage.live, `after ${room}`).toBe(before);
      expect(await unlucky.tokenEmbedding.weight.data()).toEqual(weights);
    }
    expect(named.size).toBeGreaterThan(3); // it failed in many places
    expect(await unlucky.tokenEmbedding.weight.data()).toEqual(await lucky.tokenEmbedding.weight.data());
  });

  it('that breaks down in an operation is started anew', async () => {
    class RuntimeError extends Error {}
    tf.registerKernel({
      kernelName: 'Sinh',
      backendName: 'wasm',
      kernelFunc: () => {
        throw new RuntimeError('unreachable');
      },
    });
    try {
      const error = await deviceErrorOf(() => tf.sinh([1]));
      expect(error.kind).toBe('lost');
      expect(error.message).toMatch(/broke down in the operation 'Sinh' \(unreachable\).*startBackend\(\).*checkpoint/);
    } finally {
      tf.unregisterKernel('Sinh', 'wasm');
    }
    expect(currentDevice()).toBeUndefined();
    const old = tf.backend();
    await startBackend({ backend: 'wasm', threads: 1 });
    expect(tf.backend()).not.toBe(old);
    expect([...(await tf.add([1], 1).data())]).toEqual([2]);
  });

  it('stops training at a loss that is no number, with the step, the likely causes and the checkpoint', async () => {
    const path = join(folder, 'diverged.safetensors');
    const broken = model();
    const poison = ({ step }: { step: number }): void => {
      if (step === 4) tf.tidy(() => broken.tokenEmbedding.weight.assign(tf.mul(broken.tokenEmbedding.weight, NaN)));
    };
    const failed = training(broken, { checkpoint: { path, every: 3 }, onStep: poison });
    await expect(failed).rejects.toThrow(/the loss of step 6 is NaN.*learning rate.*batch.*checkNumerics.*The checkpoint of step 3 is intact/s);
    const { state, weights } = await loadCheckpoint(path);
    expect([state.step, state.losses.length, existsSync(path)]).toEqual([3, 3, true]);
    for (const { data } of weights.values()) expect([...(data as Float32Array)].every(Number.isFinite)).toBe(true);
  });
});
