/**
 * @file The head with its loss is the cross-entropy of the logits: value and gradients against double precision, in one chunk of
 * rows and in several, on every backend and with every kind of wasm kernel that this machine runs.
 */
import {
  crossEntropy,
  linear,
  linearCrossEntropy,
  linearCrossEntropyReference,
  Random,
  runnableFlavours,
  tf,
  Transformer,
  wasmHeap,
  type LinearCrossEntropyOptions,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
} from 'lab';
import { describe, expect, it } from 'vitest';
import { rowsInChunk } from '../../../lab/dist/ops/head-loss/chunks.js';
import { relativeError } from '../core-fixture.ts';
import { hasSoftwareGpu } from './software-gpu.ts';
import { onBackend } from '../on-backend.ts';

const random = new Random(11);
const IGNORED = -100;

interface Problem {
  readonly x: Float32Array;
  readonly weight: Float32Array;
  readonly bias: Float32Array | null;
  readonly targets: Int32Array;
  readonly rows: number;
  readonly width: number;
  readonly vocabSize: number;
}

interface Found {
  readonly loss: number;
  readonly dx: Float64Array;
  readonly dWeight: Float64Array;
  readonly dBias: Float64Array;
}

function makeProblem(rows: number, width: number, vocabSize: number, { bias = true, ignored = false } = {}): Problem {
  return {
    x: random.normals(rows * width),
    weight: random.normals(vocabSize * width, 3 / Math.sqrt(width)),
    bias: bias ? random.normals(vocabSize) : null,
    targets: Int32Array.from({ length: rows }, (_, i) => (ignored && i % 3 === 1 ? IGNORED : (i * 7919 + vocabSize - 1) % vocabSize)),
    rows,
    width,
    vocabSize,
  };
}

/** The mean and its gradients in double precision. */
function exact({ x, weight, bias, targets, rows, width, vocabSize }: Problem): Found {
  const [dx, dWeight, dBias] = [rows * width, vocabSize * width, vocabSize].map((size) => new Float64Array(size));
  const counted = targets.filter((target) => target !== IGNORED).length;
  let loss = 0;
  for (const [i, target] of targets.entries()) {
    if (target === IGNORED) continue;
    const logits = Float64Array.from({ length: vocabSize }, (_, v) => {
      let sum = bias?.[v] ?? 0;
      for (let d = 0; d < width; d++) sum += x[i * width + d]! * weight[v * width + d]!;
      return sum;
    });
    const top = logits.reduce((most, logit) => Math.max(most, logit));
    const normalizer = top + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - top), 0));
    loss += (normalizer - logits[target]!) / counted;
    for (let v = 0; v < vocabSize; v++) {
      const slope = (Math.exp(logits[v]! - normalizer) - (v === target ? 1 : 0)) / counted;
      dBias![v]! += slope;
      for (let d = 0; d < width; d++) {
        dx![i * width + d]! += slope * weight[v * width + d]!;
        dWeight![v * width + d]! += slope * x[i * width + d]!;
      }
    }
  }
  return { loss, dx: dx!, dWeight: dWeight!, dBias: dBias! };
}

type Operation = typeof linearCrossEntropy;

/** The loss and the gradients, times `upstream`. */
async function run(operation: Operation, problem: Problem, options: LinearCrossEntropyOptions = {}, upstream = 1): Promise<Float32Array[]> {
  const { rows, width, vocabSize, bias } = problem;
  const inputs = [tf.tensor(problem.x, [rows, width]), tf.tensor(problem.weight, [vocabSize, width]), ...(bias ? [tf.tensor(bias)] : [])];
  const [targets, dy] = [tf.tensor1d(problem.targets, 'int32'), tf.scalar(upstream)];
  const { value, grads } = tf.valueAndGrads((x, w, b) =>
    operation(x!, w as Tensor2D, targets, { ...options, bias: (b as Tensor1D | undefined) ?? null }),
  )(inputs, dy);
  const results = await Promise.all([value, ...grads].map(async (tensor: Tensor) => (await tensor.data()) as Float32Array));
  tf.dispose([inputs, targets, dy, value, grads]);
  return results.map((values) => values.slice());
}

/** Rows, width, vocabulary, logits at once: in one chunk; in several, of which the last is shorter; row by row; and
 * chunks of so many rows that the gradient of the weights is summed in parts. */
const sizes = [
  [1, 1, 2, 100],
  [3, 5, 7, 100],
  [70, 33, 257, 30_000],
  [70, 33, 257, 6000],
  [11, 9, 300, 1],
  [3001, 5, 20, 40_000],
] as const;

/** Made once for all backends. */
const problems = sizes.flatMap(([rows, width, vocabSize, logitsAtOnce]) =>
  [true, false].map((bias) => {
    const problem = makeProblem(rows, width, vocabSize, { bias, ignored: rows > 2 });
    return { problem, truth: exact(problem), logitsAtOnce };
  }),
);

function tests(): void {
  for (const { problem, truth, logitsAtOnce } of problems) {
    const { rows, width, vocabSize, bias } = problem;
    it(`${rows} rows of ${width} over ${vocabSize}, ${logitsAtOnce} logits at once${bias ? ', with a bias' : ''}`, async () => {
      const [loss, dx, dWeight, dBias] = await run(linearCrossEntropy, problem, { ignoreIndex: IGNORED, logitsAtOnce });
      expect(relativeError(loss!, [truth.loss])).toBeLessThan(1e-5);
      expect(relativeError(dx!, truth.dx)).toBeLessThan(1e-4);
      expect(relativeError(dWeight!, truth.dWeight)).toBeLessThan(1e-4);
      if (bias) expect(relativeError(dBias!, truth.dBias)).toBeLessThan(1e-4);
      else expect(dBias).toBeUndefined();
    });
  }

  it('is its reference: mean and sum, some ignored or none, and the gradient passed on is multiplied', async () => {
    for (const reduction of ['mean', 'sum'] as const) {
      for (const ignored of [true, false]) {
        const problem = makeProblem(17, 9, 31, { ignored });
        const options = { reduction, ...(ignored && { ignoreIndex: IGNORED }) };
        const [got, want] = [await run(linearCrossEntropy, problem, options, -2.5), await run(linearCrossEntropyReference, problem, options, -2.5)];
        for (const [i, values] of got.entries()) expect(relativeError(values, want[i]!), `${reduction}, output ${i}`).toBeLessThan(1e-5);
      }
    }
  });

  it('does without gradients when nobody wants them, and takes any leading axes', async () => {
    const [x, weight] = [tf.tensor(random.normals(2 * 3 * 5), [2, 3, 5]), tf.tensor2d(random.normals(35), [7, 5])];
    const targets = tf.tensor2d([0, 6, 3, 1, 2, 6], [2, 3], 'int32');
    const [got, want] = [linearCrossEntropy(x, weight, targets), crossEntropy(linear(x, weight), targets)];
    expect((await got.data())[0]).toBeCloseTo((await want.data())[0]!, 5);
    const [dx] = tf.grads((a) => linearCrossEntropy(a!, weight, targets))([x]);
    expect(dx!.shape).toEqual([2, 3, 5]);
  });

  it('is 0 with zero gradients when all targets are ignored', async () => {
    const problem = { ...makeProblem(5, 4, 9), targets: new Int32Array(5).fill(IGNORED) };
    const results = await run(linearCrossEntropy, problem, { ignoreIndex: IGNORED });
    for (const values of results) expect(values.every((value) => value === 0)).toBe(true);
  });

  it('gives the same bits again, and leaves no tensor behind', async () => {
    const problem = makeProblem(37, 13, 101, { ignored: true });
    const first = await run(linearCrossEntropy, problem, { ignoreIndex: IGNORED });
    const count = tf.memory().numTensors;
    expect(await run(linearCrossEntropy, problem, { ignoreIndex: IGNORED })).toEqual(first);
    expect(tf.memory().numTensors).toBe(count);
  });

  it('says which shapes do not fit', () => {
    const [x, weight, targets] = [tf.ones([4, 3]), tf.ones<tf.Rank.R2>([5, 3]), tf.zeros([4], 'int32')];
    expect(() => linearCrossEntropy(x, tf.ones([5, 2]), targets)).toThrow(/last axis of x \[4,3\] must be 2/);
    expect(() => linearCrossEntropy(x, weight, tf.zeros([3], 'int32'))).toThrow(/x is \[4,3\], so targets must be \[4\], got \[3\]/);
    expect(() => linearCrossEntropy(x, weight, tf.zeros([4]))).toThrow(/must be int32/);
    expect(() => linearCrossEntropy(x, weight, targets, { bias: tf.ones([4]) })).toThrow(/bias must be \[5\]/);
    expect(() => linearCrossEntropy(x, tf.ones([1, 3]), targets)).toThrow(/V ≥ 2/);
    expect(() => linearCrossEntropy(x, weight, targets, { logitsAtOnce: 0 })).toThrow(/logitsAtOnce must be positive, got 0/);
    expect(() => linearCrossEntropy(tf.ones([0, 3]), weight, tf.zeros([0], 'int32'))).toThrow(/no target/);
  });

  for (const tiedHead of [true, false]) {
    it(`a Transformer's loss is that of its logits, head ${tiedHead ? 'tied' : 'of its own'}`, async () => {
      const model = new Transformer({ vocabSize: 29, contextLength: 6, layers: 1, width: 8, heads: 2, initializerStd: 0.5, tiedHead });
      const tokens = tf.tensor2d([1, 5, 28, 3, 3, 0, 7, 9, 11, 2, 4, 6], [2, 6], 'int32');
      const targets = tf.tensor2d([5, 28, 3, 3, 0, IGNORED, 9, 11, 2, 4, 6, 8], [2, 6], 'int32');
      const options = { ignoreIndex: IGNORED };
      const byLogits = tf.variableGrads(() => crossEntropy(model.forward(tokens), targets, options), model.parameters());
      const direct = tf.variableGrads(() => model.loss(tokens, targets, options), model.parameters());
      expect((await direct.value.data())[0]).toBeCloseTo((await byLogits.value.data())[0]!, 5);
      for (const [name, gradient] of Object.entries(byLogits.grads)) {
        expect(relativeError(await direct.grads[name]!.data(), await gradient.data(), 1e-2), name).toBeLessThan(1e-5);
      }
      model.dispose();
    });
  }

  it('a Transformer whose head does more than multiply keeps it', async () => {
    const model = new Transformer({ vocabSize: 5, contextLength: 4, layers: 1, width: 4, heads: 1 });
    const project = model.project.bind(model);
    model.project = <T extends Tensor>(hidden: T): T => project(hidden).mul(3) as T;
    const [tokens, targets] = [tf.tensor2d([[0, 1]], [1, 2], 'int32'), tf.tensor2d([[1, 2]], [1, 2], 'int32')];
    const [got, want] = [model.loss(tokens, targets), crossEntropy(model.forward(tokens), targets)];
    expect(await got.data()).toEqual(await want.data());
    model.dispose();
  });
}

const engines = [
  { backend: 'cpu', flavour: '', threads: 1 },
  ...(hasSoftwareGpu ? [{ backend: 'webgpu', flavour: '', threads: 1 } as const] : []),
  ...runnableFlavours(true).flatMap((flavour) => [1, 3].map((threads) => ({ backend: 'wasm', flavour, threads }) as const)),
] as const;

describe.each(engines)('linearCrossEntropy on $backend $flavour, threads: $threads', ({ backend, flavour, threads }) => {
  onBackend({ backend, threads, softwareGpu: true }, flavour);
  tests();
  if (backend !== 'wasm') return;
  it('holds a part of the logits beside the gradients, and gives it back', async () => {
    const [rows, width, vocabSize] = [64, 8, 400_000];
    const [x, weight] = [tf.randomNormal([rows, width]), tf.randomNormal<tf.Rank.R2>([vocabSize, width])];
    const targets = tf.zeros([rows], 'int32');
    const once = (): void => tf.dispose(tf.grads((a, w) => linearCrossEntropy(a!, w as Tensor2D, targets))([x, weight]));
    once(); // the pool takes its own working memory
    const { usage } = wasmHeap();
    usage.resetPeak();
    const before = usage.peak;
    once();
    const logitBytes = 4 * rows * vocabSize;
    expect(usage.peak - before).toBeLessThan(4 * weight.size + logitBytes / 3);
    usage.resetPeak();
    expect(usage.peak).toBe(before);
    tf.dispose([x, weight, targets]);
  });
});

it('chunks are even, and one where all logits fit', () => {
  const atOnce = 2 ** 23;
  expect(rowsInChunk(2048, 256, atOnce)).toBe(2048);
  expect(rowsInChunk(256, 50_257, atOnce)).toBe(128);
  expect(rowsInChunk(1, 10_000_000, atOnce)).toBe(1);
  expect(rowsInChunk(7, 4_000_000, atOnce)).toBe(2);
});
