/**
 * @file Mixed precision: loss scaling saves small gradients from float16, large ones from overflow, and is itself saved.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Embedding,
  lossAndGradients,
  LossScale,
  matmulPrecision,
  Module,
  Random,
  randomBatches,
  startBackend,
  stopBackend,
  tf,
  TokenDataset,
  train,
  withGradient,
  type StepReport,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  type TrainOptions,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/** The nearest float16: 11 bits, nothing below 2⁻²⁴, infinite from 65,520 on. IEEE 754-2008, section 3.6. */
function half(x: number): number {
  const size = Math.abs(x);
  if (size === 0 || !Number.isFinite(x)) return x;
  if (size >= 65520) return Math.sign(x) * Infinity;
  const step = 2 ** (Math.max(Math.floor(Math.log2(size)), -14) - 10);
  const steps = size / step;
  const down = Math.floor(steps);
  const up = steps - down > 0.5 || (steps - down === 0.5 && down % 2 === 1);
  return Math.sign(x) * (down + (up ? 1 : 0)) * step;
}

const rounded = (x: Tensor): Tensor => tf.tensor(Float32Array.from(x.dataSync(), half), x.shape);

/** What a GPU does to the operands of its products: rounded on the way forward, and their gradients on the way back. */
const inHalf = (x: Tensor): Tensor => withGradient<Tensor>([x], () => ({ value: rounded(x), gradient: (dy) => [rounded(dy)] }));

class HalfModel extends Module {
  readonly embedding = new Embedding(5, 5, { std: 0.5, random: 1 });
  readonly precision: 'half' | 'float32';
  constructor(precision: 'half' | 'float32') {
    super();
    this.precision = precision;
  }
  forward(tokens: Tensor2D): Tensor3D {
    const logits = this.embedding.forward(tokens);
    return (this.precision === 'half' ? inHalf(logits) : logits) as Tensor3D;
  }
}

const text = Int32Array.from({ length: 300 }, (_, i) => (i * i) % 5);
const batches = (): ReturnType<typeof randomBatches> =>
  randomBatches(new TokenDataset(text, 5), { batchSize: 2, contextLength: 4, seed: 4 });

/** A loss whose gradients are about that large. */
const lossOfSize =
  (size: number) =>
  (logits: Tensor3D, targets: Tensor2D): tf.Scalar => {
    const wanted = tf.oneHot(targets, 5);
    return tf.mean(tf.square(tf.sub(logits, wanted as Tensor))).mul<tf.Scalar>(size * 20);
  };

const learn = async (model: HalfModel, size: number, options: Partial<TrainOptions> = {}): Promise<StepReport[]> => {
  const reports: StepReport[] = [];
  await train(model, batches(), {
    steps: 30,
    learningRate: 0.05,
    weightDecay: 0,
    quiet: true,
    loss: lossOfSize(size),
    onStep: (report) => void reports.push(report),
    ...options,
  });
  return reports;
};

describe('loss scaling', () => {
  beforeAll(() => startBackend({ backend: 'cpu' }));
  afterAll(stopBackend);

  it('rounds as float16 does in this test', () => {
    expect([1, -1.5, 65504, 65519, 2 ** -24, 2 ** -25].map(half)).toEqual([1, -1.5, 65504, 65504, 2 ** -24, 0]);
    expect([65520, -1e6, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 2 ** -25 * 1.01].map(half)).toEqual([Infinity, -Infinity, 1, 1 + 2 ** -9, 2 ** -24]);
  });

  it('rescues gradients that are too small for float16', async () => {
    const small = 1e-8;
    const [exact, lost, saved] = [new HalfModel('float32'), new HalfModel('half'), new HalfModel('half')];
    const before = await lost.embedding.weight.data();
    const expected = await learn(exact, small);
    await learn(lost, small, { lossScale: false });
    expect(await lost.embedding.weight.data()).toEqual(before); // every gradient was zero
    const reports = await learn(saved, small, { lossScale: true });
    expect(reports.at(-1)!.loss).toBeLessThan(0.6 * reports[0]!.loss);
    expect(reports.at(-1)!.loss / expected.at(-1)!.loss).toBeCloseTo(1, 2);
    expect(reports.every(({ skipped, lossScale }) => skipped === false && lossScale === 2 ** 16)).toBe(true);
  });

  it('halves and skips until nothing overflows, and leaves weights and optimizer alone meanwhile', async () => {
    const model = new HalfModel('half');
    const seen: number[][] = [];
    const reports = await learn(model, 3, { lossScale: true, onStep: () => seen.push([...model.embedding.weight.dataSync()]) });
    expect(reports).toEqual([]);
    const plain = await learn(new HalfModel('half'), 3, { lossScale: true });
    const skipped = plain.filter((report) => report.skipped).length;
    expect(skipped).toBeGreaterThan(0);
    expect(plain.slice(0, skipped).map(({ lossScale }) => lossScale)).toEqual(Array.from({ length: skipped }, (_, i) => 2 ** (16 - i)));
    expect(plain.slice(skipped).every((report) => report.skipped === false && report.lossScale === 2 ** (16 - skipped))).toBe(true);
    const untouched = [...new HalfModel('half').embedding.weight.dataSync()];
    for (const values of seen.slice(0, skipped - 1)) expect(values).toEqual(untouched);
    expect(seen.at(-1)).not.toEqual(untouched);
    for (const { loss } of plain) expect(Number.isFinite(loss)).toBe(true);
  });

  it('doubles after a while without overflow, up to a limit', () => {
    const scaling = new LossScale({ initial: 2 ** 23, growAfter: 3 });
    const scales = [true, true, true, true, false, true, true, true, true, true, true, true, true, true].map((finite) => {
      expect(scaling.update(finite)).toBe(finite);
      return Math.log2(scaling.scale);
    });
    expect(scales).toEqual([23, 23, 24, 24, 23, 23, 23, 24, 24, 24, 24, 24, 24, 24]);
  });

  it('gives up with words when gradients are not finite for another reason', async () => {
    const model = new HalfModel('float32');
    const broken = (logits: Tensor3D): tf.Scalar => tf.sum(tf.sqrt(tf.mul(logits, 0)));
    const failed = learn(model, 1, { lossScale: { initial: 4 }, loss: broken });
    await expect(failed).rejects.toThrow(/not finite, and not for their scale.*learning rate.*checkNumerics/);
    expect(new LossScale({ initial: 1 }).update(true)).toBe(true);
    expect(() => new LossScale({ initial: 1 }).update(false)).toThrow(/multiplied by 1/);
  });

  it('changes nothing of a training in float32, to the bit, clipping and accumulation included', async () => {
    const [plain, scaled] = [new HalfModel('float32'), new HalfModel('float32')];
    const options = { accumulate: 2, clipNorm: 0.01, steps: 8 };
    const [expected, found] = [await learn(plain, 1, options), await learn(scaled, 1, { ...options, lossScale: true })];
    expect(found.map(({ loss }) => loss)).toEqual(expected.map(({ loss }) => loss));
    expect(await scaled.embedding.weight.data()).toEqual(await plain.embedding.weight.data());
    expect(Object.keys(expected[0]!)).not.toContain('lossScale');
  });

  it('is saved and goes on where it was', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'lab-mixed-')), 'scaled.safetensors');
    const options = { lossScale: { growAfter: 4 } };
    const whole = await learn(new HalfModel('half'), 3, { ...options, steps: 14 });
    const checkpoint = { path, resume: true };
    const schedule = (): number => 0.01;
    const unbroken = await learn(new HalfModel('half'), 3, { ...options, steps: 14, schedule });
    const first = await learn(new HalfModel('half'), 3, { ...options, steps: 9, checkpoint, schedule });
    const second = await learn(new HalfModel('half'), 3, { ...options, steps: 14, checkpoint, schedule });
    expect([...first, ...second]).toEqual(unbroken);
    expect(new Set(whole.map(({ lossScale }) => lossScale)).size).toBeGreaterThan(2);
  });

  it('leaves no tensor behind', async () => {
    const model = new HalfModel('half');
    const before = tf.memory().numTensors;
    await learn(model, 3, { lossScale: true, steps: 9 });
    const broken = (logits: Tensor3D): tf.Scalar => tf.sum(tf.sqrt(tf.mul(logits, 0)));
    await expect(learn(model, 1, { lossScale: { initial: 1 }, loss: broken })).rejects.toThrow('not finite');
    expect(tf.memory().numTensors).toBe(before);
  });

  it('names numbers that make no sense', () => {
    expect(() => new LossScale({ initial: 1000 })).toThrow(/power of two from 1 to 2\^24, got 1000/);
    expect(() => new LossScale({ initial: 0.5 })).toThrow(/power of two/);
    expect(() => new LossScale({ growAfter: 0 })).toThrow(/growAfter must be a positive integer, got 0/);
  });
});

describe('mixed precision', () => {
  afterAll(stopBackend);

  it.each(['cpu', 'wasm'] as const)('is refused on %s, which would round nothing', async (backend) => {
    await startBackend({ backend, threads: 1 });
    const failed = learn(new HalfModel('float32'), 1, { precision: 'mixed' });
    await expect(failed).rejects.toThrow(new RegExp(`'mixed' is there on the webgpu backend alone; ${backend} would take`));
  });

  it('holds both ways through a step, and not outside', async () => {
    await startBackend({ backend: 'cpu' });
    const seen: string[] = [];
    const model = new HalfModel('float32');
    const spy = (x: Tensor): Tensor =>
      withGradient<Tensor>([x], () => {
        seen.push(matmulPrecision());
        return { value: x.clone(), gradient: (dy) => [() => (seen.push(matmulPrecision()), dy.clone())] };
      });
    const loss = (logits: Tensor3D): tf.Scalar => spy(logits).square().mean();
    tf.tidy(() => void lossAndGradients(model, [batches().next()], loss, { precision: 'mixed' }));
    expect(seen).toEqual(['mixed', 'mixed']);
    expect(matmulPrecision()).toBe('float32');
    tf.tidy(() => void lossAndGradients(model, [batches().next()], loss));
    expect(seen.slice(2)).toEqual(['float32', 'float32']);
  });

  it.runIf(process.platform === 'linux' && process.arch === 'x64')('trains on webgpu', async () => {
    await startBackend({ backend: 'webgpu', softwareGpu: true });
    class Small extends Module {
      readonly embedding = new Embedding(5, 5, { std: 0.5, random: new Random(1) });
      forward(tokens: Tensor2D): Tensor3D {
        return this.embedding.forward<Tensor3D>(tokens);
      }
    }
    const reports: StepReport[] = [];
    await train(new Small(), batches(), { steps: 4, quiet: true, precision: 'mixed', onStep: (report) => void reports.push(report) });
    expect(reports.map(({ step, lossScale, skipped }) => [step, lossScale, skipped])).toEqual(
      [1, 2, 3, 4].map((step) => [step, 2 ** 16, false]),
    );
  });
});
