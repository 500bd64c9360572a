/** @file `checkNumerics` finds the first operation that makes a number which is not finite, and says what led there. */
import {
  checkNumerics,
  crossEntropy,
  NumericsError,
  Random,
  randomBatches,
  startBackend,
  stopBackend,
  tf,
  TokenDataset,
  train,
  Transformer,
  valueAndGradients,
  type BackendName,
  type CheckNumericsOptions,
  type Scalar,
  type Tensor2D,
  type TransformerConfig,
} from 'lab';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const found = async (f: () => unknown, options?: CheckNumericsOptions): Promise<NumericsError> => {
  const error: unknown = await checkNumerics(f, options).then(() => undefined, (reason: unknown) => reason);
  expect(error).toBeInstanceOf(NumericsError);
  return error as NumericsError;
};

const sizes: TransformerConfig = { vocabSize: 5, width: 8, layers: 2, heads: 2, contextLength: 6, seed: 2 };
const tokens = (): Tensor2D => tf.tensor2d([[1, 2, 3, 4, 0, 1]], [1, 6], 'int32');
const step = (model: Transformer) => (): Promise<number> =>
  tf
    .tidy(() => valueAndGradients(() => crossEntropy(model.forward(tokens()), tokens()), model.parameters()).value)
    .data()
    .then(([loss]) => loss!);

const hasSoftwareGpu = process.platform === 'linux' && process.arch === 'x64';
const backends: BackendName[] = ['cpu', 'wasm', ...(hasSoftwareGpu ? (['webgpu'] as const) : [])];

describe.each(backends)('on %s', (backend) => {
  beforeAll(() => startBackend({ backend, threads: 1, softwareGpu: true }));
  beforeEach(() => tf.engine().startScope());
  afterEach(() => tf.engine().endScope());
  afterAll(stopBackend);

  it('names the operation and its number, where the first such number is, and what it was given', async () => {
    const values = Float32Array.from({ length: 700 }, (_, i) => (i === 437 || i === 600 ? -1 : i === 438 ? 1e38 : 1));
    const x = tf.tensor(values, [7, 10, 10]);
    const error = await found(() => {
      const y = tf.add(x, 0);
      tf.mul(y, 2);
      return tf.mul(tf.sub(y, tf.neg(y)), 1e20);
    });
    expect([error.operation, error.output.infinite, error.output.nan]).toEqual(['Multiply', 1, 0]);
    expect(error.output.first).toEqual([4, 3, 8]);
    expect(error.output.largest / 2e20).toBeCloseTo(1, 5);
    expect(error.inputs.map(({ from }) => from)).toEqual([expect.stringMatching(/^'Sub' \(number \d+\)$/), 'outside']);
    expect(error.inputs[0]!.largest / 2e38).toBeCloseTo(1, 5);
    expect(error.message).toMatch(/'Multiply' \(number \d+\) is the first .*: 1 infinite of 700 in \[7,10,10\], the first at \[4,3,8\]/);
    expect(error.message).toContain('What it was given is finite');
    expect(error.stack).toContain('numerics.test');
  });

  it('counts what is no number apart from what is infinite', async () => {
    const { output, message } = await found(() => tf.div(tf.tensor([0, 1, 2, 0]), tf.tensor([0, 0, 4, 0])));
    expect([output.nan, output.infinite, output.first, output.largest]).toEqual([2, 1, [0], 0.5]);
    expect(message).toMatch(/2 NaN and 1 infinite of 4 in \[4\], the first at \[0\]; otherwise magnitudes up to 0\.5/);
  });

  it('finds the place in a long tensor', async () => {
    const values = Float32Array.from({ length: 70_000 }, (_, i) => (i === 66_001 ? -1 : 1));
    const { output } = await found(() => tf.sqrt(tf.tensor(values)));
    expect([output.nan, output.first]).toEqual([1, [66_001]]);
  });

  it('says when it was so already: a batch, a parameter', async () => {
    const w = tf.variable(tf.tensor([1, NaN]));
    const batch = tf.tensor([Infinity, 1]);
    const error = await found(() => tf.mul(batch, 2));
    expect(error.message).toMatch(/What it was given was so already: a tensor from outside.*batch/);
    const named = await found(() => tf.mul(w, 2), { names: new Map([['blocks.0.scale', w]]) });
    expect(named.message).toMatch(/was so already: blocks\.0\.scale\./);
    expect(named.inputs[0]).toMatchObject({ from: 'blocks.0.scale', nan: 1, first: [1] });
    w.dispose();
  });

  it('looks at a variable each time, because it changes', async () => {
    const w = tf.variable(tf.tensor([1, 2]));
    const error = await found(() => {
      tf.mul(w, 2);
      w.assign(tf.tensor([1, Infinity]));
      return tf.mul(w, 2);
    });
    expect(error.inputs.find(({ shape }) => shape.length === 1)).toMatchObject({ infinite: 1, first: [1] });
    w.dispose();
  });

  it('finds what only the way back makes', async () => {
    const x = tf.variable(tf.tensor([0, 1]));
    const error = await found(() => valueAndGradients(() => tf.sum<Scalar>(tf.sqrt(x)), [x]));
    expect(error.message).toMatch(/\(number \d+, on the way back\)/);
    expect(error.output.first).toEqual([0]);
    x.dispose();
  });

  it('lets infinities pass that are meant, but no NaN', async () => {
    const masked = (): unknown => tf.softmax(tf.add(tf.tensor([1, 2]), tf.mul(tf.tensor([0, 1e38]), -1e10)));
    await found(masked);
    expect(await checkNumerics(masked, { infinity: true })).toBeInstanceOf(tf.Tensor);
    await found(() => tf.sub(tf.mul(tf.tensor([1e38]), 1e10), Infinity), { infinity: true });
  });

  it('gives back what the function gives, throws what it throws, and then looks no more', async () => {
    expect(await checkNumerics(() => 3)).toBe(3);
    expect(await checkNumerics(async () => (await tf.add([1], 1).data())[0])).toBe(2);
    await expect(checkNumerics(() => expect.fail('on purpose'))).rejects.toThrow('on purpose');
    const swallowed = (): void => {
      try {
        tf.div(tf.tensor([1]), 0);
        tf.add([1], 1);
      } catch {
        throw new Error('another');
      }
      throw new Error('another');
    };
    await found(swallowed);
    expect([...(await tf.div(tf.tensor([1]), 0).data())]).toEqual([Infinity]);
  });

  it('leaves nothing behind', async () => {
    const bytes = (): number => (tf.memory() as { numBytesInGPU?: number }).numBytesInGPU ?? 0;
    const run = (): Promise<unknown> => checkNumerics(async () => tf.tidy(() => tf.sum(tf.mul(tf.tensor([1, 2]), 2))).data());
    await run();
    const before = [tf.memory().numTensors, bytes()];
    for (let i = 0; i < 3; i++) await run();
    const after = [tf.memory().numTensors, bytes()];
    expect(after[0]! - before[0]!).toBe(3); // the sums
    expect(after[1]! - before[1]!).toBeLessThan(3 * 64);
  });
});

describe('a model', () => {
  beforeAll(() => startBackend({ backend: 'wasm', threads: 1 }));
  afterAll(stopBackend);

  const kinds: Record<string, Partial<TransformerConfig>> = {
    'like GPT-2, with dropout': { dropout: 0.2 },
    'like Llama': { norm: 'rms', position: 'rotary', mlp: 'swiglu', keyValueHeads: 1, bias: false },
    'with ALiBi, checkpointed': { position: 'alibi', checkpoint: true },
  };
  it.each(Object.entries(kinds))('%s makes nothing but finite numbers', async (_, config) => {
    const model = new Transformer({ ...sizes, ...config });
    expect(await checkNumerics(step(model))).toBeGreaterThan(0);
    model.dispose();
  });

  it('is told through which of its modules it came, and from which weight', async () => {
    const model = new Transformer(sizes);
    const { weight } = model.blocks[1]!.get('attention.value') as unknown as { weight: tf.Variable };
    tf.tidy(() => weight.assign(tf.add(tf.mul(weight, 0), 3e38)));
    const error = await found(step(model), { names: model.namedParameters() });
    expect(error.message).toMatch(/\(number \d+, in Transformer › Block › MultiHeadAttention/);
    const { number } = error;
    weight.assign(tf.tensor(Array.from({ length: 64 }, () => NaN), [8, 8]));
    const second = await found(step(model), { names: model.namedParameters() });
    expect(second.number).toBeLessThanOrEqual(number);
    expect(second.message).toMatch(/was so already: blocks\.1\.attention\.value\.weight/);
    model.dispose();
  });

  it('that diverges in training is caught in the step where it begins', async () => {
    const model = new Transformer(sizes);
    const text = Int32Array.from({ length: 100 }, () => new Random(1).integer(5));
    const batches = randomBatches(new TokenDataset(text, 5), { batchSize: 2, contextLength: 6 });
    const onStep = ({ step: done }: { step: number }): void => {
      const { weight } = model.finalNorm as unknown as { weight: tf.Variable };
      if (done === 2) weight.assign(tf.tensor(Array.from({ length: 8 }, () => NaN)));
    };
    const error = await found(() => train(model, batches, { steps: 9, quiet: true, onStep }), { names: model.namedParameters() });
    expect(error.message).toMatch(/was so already: finalNorm\.weight/);
    model.dispose();
  });
});
