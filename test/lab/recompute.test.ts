/** @file Gradient checkpointing changes when things are computed, and nothing that is computed. */
import {
  checkpoint,
  Dropout,
  fusedAttention,
  lossAndGradients,
  Random,
  randomBatches,
  replayRandom,
  startBackend,
  stopBackend,
  tf,
  TokenDataset,
  traceRandom,
  train,
  Transformer,
  valueAndGradients,
  wasmHeap,
  type Scalar,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  type Tensor4D,
  type TransformerConfig,
  type Variable,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { onEveryBackend } from './core-fixture.ts';

const random = new Random(8);
const variable = (...shape: number[]): Variable => {
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tidy(() => tf.variable(tf.tensor(random.normals(size), shape)));
};
const bits = (tensors: readonly Tensor[]) => Promise.all(tensors.map(async (x) => [...(await x.data())]));

/** Values and gradients of the same loss, with `part` as it is and checkpointed. */
async function expectSame<I extends Tensor[]>(
  part: (...inputs: I) => Tensor,
  inputs: () => readonly [...I],
  variables: readonly Variable[],
): Promise<void> {
  const loss = (run: (...given: I) => Tensor) => (): Scalar => tf.tidy(() => run(...inputs()).mul(tf.range(0, 3).sum()).square().mean());
  const plain = valueAndGradients(loss(part), variables);
  const again = valueAndGradients(loss((...given) => checkpoint(part, given)), variables);
  expect([...again.gradients.keys()].map(({ id }) => id)).toEqual([...plain.gradients.keys()].map(({ id }) => id));
  expect(await bits([again.value, ...again.gradients.values()])).toEqual(await bits([plain.value, ...plain.gradients.values()]));
  const stock = tf.variableGrads(loss((...given) => checkpoint(part, given)), [...variables]);
  for (const of of variables) {
    const [found, expected] = await bits([stock.grads[of.name]!, plain.gradients.get(of)!]);
    found!.forEach((value, i) => expect(value).toBeCloseTo(expected![i]!, 4));
  }
}

const sizes: TransformerConfig = { vocabSize: 7, width: 8, layers: 5, heads: 2, contextLength: 6, seed: 2 };

/** Loss and gradients, as training takes them. */
async function step(config: Partial<TransformerConfig>): Promise<Map<string, number[]>> {
  const model = new Transformer({ ...sizes, ...config });
  const text = Int32Array.from({ length: 100 }, (_, i) => (i * i) % 7);
  const batches = randomBatches(new TokenDataset(text, 7), { batchSize: 2, contextLength: 6, seed: 4 });
  const lossOf = (logits: Tensor3D): Scalar => logits.square().mean();
  const found = new Map<string, number[]>();
  // Twice: the random streams must also be left where they would be.
  for (const time of ['first', 'second']) {
    const { loss, gradients } = lossAndGradients(model, [batches.next()], lossOf);
    for (const [path, tensor] of [['loss', loss] as const, ...gradients]) found.set(`${time} ${path}`, [...(await tensor.data())]);
    tf.dispose([loss, ...gradients.values()]);
  }
  model.dispose();
  return found;
}

const expectSameModel = async (config: Partial<TransformerConfig>): Promise<void> => {
  const expected = await step(config);
  for (const of of [true, 2, 3, 9]) {
    const found = await step({ ...config, checkpoint: of });
    expect([...found.keys()]).toEqual([...expected.keys()]);
    for (const [path, values] of expected) expect(found.get(path), `${path}, checkpoint ${of}`).toEqual(values);
  }
};

onEveryBackend(() => {
  it('gives the same gradients, for inputs and for the variables inside', async () => {
    const [x, w, b] = [variable(4, 3), variable(3, 5), variable(5)];
    const part = (a: Tensor, c: Tensor): Tensor => tf.sin(tf.matMul(a as Tensor2D, w as Tensor as Tensor2D).add(b)).mul(c);
    await expectSame(part, () => [tf.exp(x), x.sum()] as const, [x, w, b]);
  });

  it('also when one contains others', async () => {
    const [x, w] = [variable(4, 4), variable(4, 4)];
    const layer = (a: Tensor): Tensor => tf.sin(tf.matMul(a as Tensor2D, w as Tensor as Tensor2D)).add(a);
    const two = (a: Tensor): Tensor => checkpoint((c) => layer(checkpoint(layer, [c])), [tf.cos(a)]);
    await expectSame(two, () => [tf.exp(x)] as const, [x, w]);
    const depth = (n: number) => (a: Tensor): Tensor => (n === 0 ? layer(a) : checkpoint(depth(n - 1), [layer(a)]));
    await expectSame(depth(3), () => [tf.exp(x)] as const, [x, w]);
  });

  it('draws the same random numbers again, and leaves the streams where they would be', async () => {
    const [x, w] = [variable(4, 4), variable(4)];
    const layer = (dropout: Dropout) => (a: Tensor): Tensor => dropout.forward(tf.sin(dropout.forward(a.mul(w))));
    const loss = (run: (a: Tensor) => Tensor) => () => run(tf.exp(x)).square().sum<Scalar>();
    const [one, other] = [new Dropout(0.5, 3), new Dropout(0.5, 3)];
    const twice = (f: (a: Tensor) => Tensor) => (a: Tensor): Tensor => f(f(a));
    const plain = valueAndGradients(loss(twice(layer(one))), [x, w]);
    const again = valueAndGradients(loss(twice((a) => checkpoint(layer(other), [a]))), [x, w]);
    expect(await bits([again.value, ...again.gradients.values()])).toEqual(await bits([plain.value, ...plain.gradients.values()]));
    expect(other.random.state).toEqual(one.random.state);
  });

  it('takes inputs that are no floats, an input twice, a variable as an input and inside, and gives an input back', async () => {
    const [x, w] = [variable(4, 3), variable(3)];
    const pick = (a: Tensor, rows: Tensor): Tensor => tf.gather(a.mul(w), rows as tf.Tensor1D).square();
    if (tf.getKernel('UnsortedSegmentSum', tf.getBackend())) {
      await expectSame(pick, () => [tf.exp(x), tf.tensor1d([2, 0, 2], 'int32')] as const, [x, w]);
    }
    await expectSame((a: Tensor, b: Tensor) => a.mul(b).sin(), () => { const a = tf.exp(x); return [a, a] as const; }, [x]);
    await expectSame((a: Tensor) => a.mul(w).sin().mul(w), () => [w] as const, [w]);
    await expectSame((a: Tensor) => a, () => [tf.exp(x)] as const, [x]);
    await expectSame(() => w, () => [] as const, [w]);
  });

  it('serves gradients that tf.grad takes, and the gradient of a frozen variable', async () => {
    const [x, w] = [tf.tensor([1, 2, 3]), variable(3)];
    w.trainable = false;
    const part = (a: Tensor): Tensor => a.mul(w).square();
    expect(await bits([tf.grad((a) => checkpoint(part, [a]))(x)])).toEqual(await bits([tf.grad(part)(x)]));
    const of = (run: typeof part) => valueAndGradients(() => run(tf.exp(x)).sum<Scalar>(), [w]).gradients.get(w)!;
    expect(await bits([of((a) => checkpoint(part, [a]))])).toEqual(await bits([of(part)]));
  });

  it('runs once, as it is, where no gradient is wanted', () => {
    let runs = 0;
    const part = (a: Tensor): Tensor => (runs++, tf.sin(a));
    checkpoint(part, [tf.scalar(1)]);
    expect(runs).toBe(1);
    tf.grad((a) => checkpoint(part, [a]))(tf.scalar(1));
    expect(runs).toBe(3);
  });

  it('refuses a tensor from outside that may depend on a variable, and takes constants', () => {
    const x = variable(3);
    const constant = tf.tensor([1, 2, 3]);
    const hidden = (): Scalar => {
      const made = tf.exp(x);
      return checkpoint((a) => a.mul(made), [tf.sin(x)]).sum();
    };
    expect(() => valueAndGradients(hidden, [x])).toThrow(/checkpoint: the function uses a tensor \[3\] from outside; give it as an input/);
    const captured = (a: Tensor): Tensor => checkpoint((b) => b.mul(a), [a]);
    expect(() => tf.grad(captured)(constant)).toThrow(/from outside/);
    expect(() => valueAndGradients(() => checkpoint((a) => a.mul(constant), [tf.sin(x)]).sum<Scalar>(), [x])).not.toThrow();
  });

  it('leaves nothing behind, also when it fails', () => {
    const [x, w] = [variable(3), variable(3)];
    const before = tf.memory().numTensors;
    const { value, gradients } = valueAndGradients(() => checkpoint((a) => tf.sin(a.mul(w)), [tf.exp(x)]).sum<Scalar>(), [x, w]);
    expect(tf.memory().numTensors).toBe(before + 3);
    tf.dispose([value, ...gradients.values()]);
    for (const fatal of [1, 2]) {
      let runs = 0;
      const part = (a: Tensor): Tensor => {
        const y = tf.sin(a.mul(w));
        if (++runs === fatal) throw new Error('on purpose');
        return y;
      };
      expect(() => valueAndGradients(() => checkpoint(part, [tf.exp(x)]).sum<Scalar>(), [x, w])).toThrow('on purpose');
      expect(tf.memory().numTensors, `failed in run ${fatal}`).toBe(before);
    }
    expect(valueAndGradients(() => x.sum<Scalar>(), [x]).gradients.size).toBe(1); // and the tape is in order
  });

  it('of a Transformer, by one block or several, gives the same gradients to the bit', async () => {
    await expectSameModel({});
    await expectSameModel({ dropout: 0.3, position: 'rotary', norm: 'rms', mlp: 'swiglu', keyValueHeads: 1, layers: 3 });
    await expectSameModel({ dropout: 0.3, position: 'alibi', layers: 3 });
  });
});

describe('a Transformer that is checkpointed', () => {
  beforeAll(() => startBackend({ backend: 'wasm', threads: 1 }));
  afterAll(stopBackend);

  it('learns the same', async () => {
    const text = Int32Array.from({ length: 100 }, (_, i) => (i * i) % 7);
    const losses = async (of: boolean | number) => {
      const batches = randomBatches(new TokenDataset(text, 7), { batchSize: 2, contextLength: 6, seed: 4 });
      const model = new Transformer({ ...sizes, dropout: 0.2, checkpoint: of });
      return (await train(model, batches, { steps: 5, quiet: true })).losses;
    };
    expect(await losses(2)).toEqual(await losses(false));
  });

  it('holds less at once: the less, the nearer the runs come to the root of the number of blocks', () => {
    const peakOf = (of: boolean | number): number => {
      const model = new Transformer({ ...sizes, layers: 16, width: 16, contextLength: 32, checkpoint: of });
      const tokens = tf.zeros<tf.Rank.R2>([4, 32], 'int32');
      const { usage } = wasmHeap();
      const loss = (): Scalar => model.forward(tokens).square().mean();
      const before = usage.live;
      usage.resetPeak();
      const { value, gradients } = valueAndGradients(loss, model.parameters());
      const peak = usage.peak - before;
      tf.dispose([value, ...gradients.values(), tokens]);
      model.dispose();
      return peak;
    };
    const [none, each, four, all] = [peakOf(false), peakOf(true), peakOf(4), peakOf(16)];
    expect(each).toBeLessThan(none / 2);
    expect(four).toBeLessThan(none / 2);
    expect(all).toBeGreaterThan(0.9 * none);
  });

  it('says what its configuration may be', () => {
    for (const of of [0, -1, 1.5]) {
      expect(() => new Transformer({ ...sizes, checkpoint: of })).toThrow(/checkpoint must be true, false or how many blocks/);
    }
  });
});

describe.runIf(process.platform === 'linux' && process.arch === 'x64')('on webgpu', () => {
  beforeAll(() => startBackend({ backend: 'webgpu', softwareGpu: true }));
  afterAll(stopBackend);

  it('gives the same gradients to the bit', async () => {
    const [x, w] = [variable(1, 2, 5, 4), variable(1, 2, 5, 4)];
    const dropouts = [new Dropout(0.5, 3), new Dropout(0.5, 3)];
    const layer = (dropout: Dropout) => (a: Tensor): Tensor =>
      dropout.forward(fusedAttention(a as Tensor4D, w as Tensor as Tensor4D, a as Tensor4D, { causal: true }));
    const [plain, again] = dropouts.map((dropout, i) => {
      const run = (a: Tensor): Tensor => (i === 0 ? layer(dropout)(a) : checkpoint(layer(dropout), [a]));
      return valueAndGradients(() => run(run(tf.sin(x))).square().sum<Scalar>(), [x, w]);
    });
    expect(await bits([again!.value, ...again!.gradients.values()])).toEqual(await bits([plain!.value, ...plain!.gradients.values()]));
    expect(again!.gradients.size).toBe(2);
  });
});

describe('random numbers', () => {
  it('are drawn a second time under a trace, and the streams are left as they were', () => {
    const [a, b] = [new Random(1), new Random(2)];
    b.normal(); // leaves a spare one
    const draw = (): number[] => [b.normal(), a.uniform(), b.uniform(), a.fork().uint32()];
    const { result, trace } = traceRandom(draw);
    const [after, next] = [[a.state, b.state], [a.uint32(), b.uint32()]];
    expect(replayRandom(trace, draw)).toEqual(result);
    [a.state, b.state] = after as [typeof a.state, typeof b.state];
    expect([a.uint32(), b.uint32()]).toEqual(next);
    expect(replayRandom(trace, draw)).toEqual(result);
    expect(() => replayRandom(trace, () => { draw(); throw new Error('on purpose'); })).toThrow('on purpose');
    expect(replayRandom(trace, draw)).toEqual(result);
  });

  it('are traced by every trace around them', () => {
    const [stream, late] = [new Random(1), new Random(2)];
    const outer = traceRandom(() => [stream.uint32(), traceRandom(() => [stream.uint32(), late.uint32()])] as const);
    const [first, inner] = outer.result;
    expect(replayRandom(inner.trace, () => [stream.uint32(), late.uint32()])).toEqual(inner.result);
    expect(replayRandom(outer.trace, () => [stream.uint32(), stream.uint32(), late.uint32()])).toEqual([first, ...inner.result]);
  });
});
