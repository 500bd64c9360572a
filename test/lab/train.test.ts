/** @file Training does what the papers and PyTorch do, step by step, and lets go of every tensor it made. */
import { readFileSync } from 'node:fs';
import {
  AdamW,
  clipByGlobalNorm,
  constantRate,
  evaluateLoss,
  globalNorm,
  lossAndGradients,
  Random,
  randomBatches,
  sequentialBatches,
  startBackend,
  tf,
  TokenDataset,
  train,
  warmupCosine,
  type Tensor,
  type Trainable,
  type TrainOptions,
  type Variable,
} from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';

beforeAll(() => startBackend({ backend: 'cpu' }));

interface AdamWFixture {
  shapes: Record<string, number[]>;
  options: { beta1: number; beta2: number; epsilon: number; weightDecay: number };
  start: Record<string, number[]>;
  steps: { learningRate: number; gradients: Record<string, number[]>; values: Record<string, number[]> }[];
}

describe('AdamW', () => {
  const fixture = JSON.parse(readFileSync(new URL('../fixtures/adamw.json', import.meta.url), 'utf8')) as AdamWFixture;
  const { shapes, options, start, steps } = fixture;
  const parameters = (): Map<string, Variable> =>
    new Map(Object.entries(shapes).map(([name, shape]) => [name, tf.variable(tf.tensor(start[name]!, shape))]));
  const gradientsOf = (step: number): Map<string, Tensor> =>
    new Map(Object.entries(steps[step]!.gradients).map(([name, values]) => [name, tf.tensor(values, shapes[name])]));
  const walk = (optimizer: AdamW, from: number, to: number): void => {
    for (let step = from; step < to; step++) tf.tidy(() => optimizer.step(gradientsOf(step), steps[step]!.learningRate));
  };
  const expectValues = async (found: Map<string, Variable>, step: number): Promise<void> => {
    for (const [name, variable] of found) {
      const values = await variable.data();
      steps[step]!.values[name]!.forEach((value, i) => expect(values[i], `${name}[${i}]`).toBeCloseTo(value, 6));
    }
  };

  it('does what PyTorch does, also for a parameter that sometimes has no gradient', async () => {
    const found = parameters();
    const optimizer = new AdamW(found, options);
    for (let step = 0; step < steps.length; step++) {
      walk(optimizer, step, step + 1);
      await expectValues(found, step);
    }
  });

  it('goes on from a saved state, to the bit', async () => {
    const [whole, resumed] = [parameters(), parameters()];
    walk(new AdamW(whole, options), 0, 12);
    const first = new AdamW(resumed, options);
    walk(first, 0, 7);
    const second = new AdamW(resumed, options);
    await second.load(first.state());
    first.dispose();
    walk(second, 7, 12);
    for (const [name, variable] of whole) expect(await resumed.get(name)!.data(), name).toEqual(await variable.data());
  });

  it('leaves frozen parameters alone', async () => {
    const found = parameters();
    found.get('vector')!.trainable = false;
    const optimizer = new AdamW(found, options);
    walk(optimizer, 0, 2);
    expect([...(await found.get('vector')!.data())]).toEqual([...Float32Array.from(start['vector']!)]);
    expect([...optimizer.state().keys()].filter((name) => name.startsWith('vector'))).toEqual([]);
  });

  it('keeps no tensor but its two moments', () => {
    const found = parameters();
    const before = tf.memory().numTensors;
    const optimizer = new AdamW(found, options);
    walk(optimizer, 0, 2);
    const kept = tf.memory().numTensors;
    walk(optimizer, 2, 3); // here `sometimes` has no gradient: its bucket is split in two
    const split = tf.memory().numTensors;
    walk(optimizer, 3, 12);
    expect(kept - before).toBe(4);
    expect(split - before).toBe(6);
    expect(tf.memory().numTensors).toBe(split);
    optimizer.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('refuses a state that is incomplete or of another shape, and changes nothing', async () => {
    const optimizer = new AdamW(parameters(), options);
    const state = optimizer.state();
    state.delete('cube.secondMoment');
    await expect(Promise.resolve(optimizer.load(state))).rejects.toThrow('AdamW: the saved state has no cube.secondMoment');
    state.set('cube.secondMoment', tf.zeros([12]));
    await expect(Promise.resolve(optimizer.load(state))).rejects.toThrow(
      /cube.secondMoment has shape \[12\], the parameter \[2, 3, 2\]/,
    );
    expect([...optimizer.state().keys()].length).toBe(12);
  });

  it('refuses a gradient of another shape and senseless options', () => {
    const optimizer = new AdamW(parameters(), options);
    const gradients = gradientsOf(0).set('vector', tf.zeros([2, 2]));
    expect(() => optimizer.step(gradients, 1e-3)).toThrow(/vector has a gradient of shape \[2, 2\] for a parameter \[4\]/);
    expect(() => new AdamW(parameters(), { beta1: 1 })).toThrow(/beta1/);
    expect(() => new AdamW(parameters(), { epsilon: 0 })).toThrow(/epsilon/);
    expect(() => new AdamW(parameters(), { weightDecay: -1 })).toThrow(/weightDecay/);
  });
});

describe('the schedule', () => {
  const schedule = warmupCosine({ learningRate: 1e-3, warmupSteps: 100, steps: 2000, minimum: 1e-4 });

  it('rises in a line, is highest right after the warmup, and falls to the minimum', () => {
    const rates = Array.from({ length: 2100 }, (_, step) => schedule(step));
    for (let step = 1; step <= 100; step++) expect(rates[step]! - rates[step - 1]!).toBeCloseTo(1e-3 / 101, 12);
    expect(Math.max(...rates)).toBe(rates[100]);
    expect(rates[100]).toBe(1e-3);
    for (let step = 101; step <= 2000; step++) expect(rates[step]!).toBeLessThan(rates[step - 1]!);
    expect(rates[1050]).toBeCloseTo(5.5e-4, 12);
    expect(rates.slice(2000)).toEqual(new Array(100).fill(1e-4));
  });

  it('works without a warmup and refuses what makes no sense', () => {
    expect(warmupCosine({ learningRate: 1, warmupSteps: 0, steps: 10, minimum: 0 })(0)).toBe(1);
    expect(() => warmupCosine({ learningRate: 1, warmupSteps: 11, steps: 10, minimum: 0 })).toThrow(/11 warmup steps/);
    expect(() => warmupCosine({ learningRate: 1, warmupSteps: 0, steps: 10, minimum: 2 })).toThrow(/minimum/);
  });
});

describe('clipping', () => {
  const random = new Random(4);
  const gradients = new Map<string, Tensor>([
    ['a', tf.tensor(random.normals(12), [3, 4])],
    ['b', tf.tensor(random.normals(5, 3))],
  ]);
  const lengthOf = async (found: ReadonlyMap<string, Tensor>): Promise<number> => {
    let sum = 0;
    for (const tensor of found.values()) for (const x of await tensor.data()) sum += x * x;
    return Math.sqrt(sum);
  };

  it('shortens all gradients together to the limit and keeps their direction', async () => {
    const length = await lengthOf(gradients);
    expect((await globalNorm(gradients).data())[0]).toBeCloseTo(length, 4);
    const clipped = clipByGlobalNorm(gradients, length / 3);
    expect(await lengthOf(clipped)).toBeCloseTo(length / 3, 4);
    const ratio = (await gradients.get('a')!.div(clipped.get('a')!).data()) as Float32Array;
    for (const x of ratio) expect(x).toBeCloseTo(3, 4);
  });

  it('leaves short gradients alone, and zeros zero', async () => {
    const clipped = clipByGlobalNorm(gradients, 1e6);
    for (const [name, tensor] of gradients) expect(await clipped.get(name)!.data()).toEqual(await tensor.data());
    const zero = clipByGlobalNorm(new Map([['z', tf.zeros([3])]]), 1);
    expect([...(await zero.get('z')!.data())]).toEqual([0, 0, 0]);
  });
});

/** The smallest language model: the logits of the next token are a row of a table. */
class Bigram implements Trainable {
  training = false;
  readonly table: Variable;
  readonly unused = tf.variable(tf.ones([3]));

  constructor(vocabSize: number) {
    this.table = tf.variable(tf.tensor(new Random(1).normals(vocabSize * vocabSize, 0.1), [vocabSize, vocabSize]));
  }

  forward(tokens: tf.Tensor2D): tf.Tensor3D {
    return tf.gather(this.table, tokens) as tf.Tensor3D;
  }

  namedParameters(): Map<string, Variable> {
    return new Map([
      ['table', this.table],
      ['unused', this.unused],
    ]);
  }

  train(): void {
    this.training = true;
  }

  eval(): void {
    this.training = false;
  }
}

/** A text in which every token decides the next: 0 1 2 3 4 0 1 2 … */
const cycle = new TokenDataset(
  Array.from({ length: 400 }, (_, i) => i % 5),
  5,
);
const options: TrainOptions = { steps: 60, learningRate: 0.3, warmupSteps: 2, weightDecay: 0, quiet: true };
const batchesOf = (batchSize: number, seed = 1) => randomBatches(cycle, { batchSize, contextLength: 8, seed });

describe('gradients', () => {
  it('of several batches are those of one large batch', async () => {
    const model = new Bigram(5);
    const batches = batchesOf(2);
    const drawn = [batches.next(), batches.next(), batches.next()];
    const joined = {
      inputs: Int32Array.from(drawn.flatMap(({ inputs }) => [...inputs])),
      targets: Int32Array.from(drawn.flatMap(({ targets }) => [...targets])),
      batchSize: 6,
      contextLength: 8,
    };
    const loss = (logits: tf.Tensor3D, targets: tf.Tensor2D): tf.Scalar =>
      tf.losses.softmaxCrossEntropy(tf.oneHot(targets, 5), logits) as tf.Scalar;
    const parts = lossAndGradients(model, drawn, loss);
    const whole = lossAndGradients(model, [joined], loss);
    expect((await parts.loss.data())[0]).toBeCloseTo((await whole.loss.data())[0]!, 6);
    const [a, b] = [await parts.gradients.get('table')!.data(), await whole.gradients.get('table')!.data()];
    a.forEach((value, i) => expect(value).toBeCloseTo(b[i]!, 6));
  });
});

describe('training', () => {
  it('learns what there is to learn', async () => {
    const model = new Bigram(5);
    const result = await train(model, batchesOf(4), options);
    expect(result.steps).toBe(60);
    expect(result.losses.map(({ step }) => step)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
    expect(result.losses[0]!.loss).toBeCloseTo(Math.log(5), 0);
    expect(await evaluateLoss(model, sequentialBatches(cycle, { batchSize: 7, contextLength: 8 }))).toBeLessThan(0.05);
    expect(result.interrupted).toBe(false);
    expect(result.tokensPerSecond).toBeGreaterThan(0);
  });

  it('is the same for the same seeds', async () => {
    const [a, b] = [await train(new Bigram(5), batchesOf(4), options), await train(new Bigram(5), batchesOf(4), options)];
    expect(a.losses).toEqual(b.losses);
  });

  it('leaves no tensor behind, whether it ends well or not', async () => {
    const model = new Bigram(5);
    const validation = { batches: () => sequentialBatches(cycle, { batchSize: 9, contextLength: 8 }), every: 7 };
    const before = tf.memory().numTensors;
    await train(model, batchesOf(4), { ...options, validation, accumulate: 2 });
    expect(tf.memory().numTensors).toBe(before);
    const broken = train(model, batchesOf(4), {
      ...options,
      onStep: ({ step }) => {
        if (step === 5) throw new Error('enough');
      },
    });
    await expect(broken).rejects.toThrow('enough');
    expect(tf.memory().numTensors).toBe(before);
  });

  it('reports every step once and in order, with the learning rate of that step', async () => {
    const seen: number[] = [];
    const schedule = warmupCosine({ learningRate: 0.3, warmupSteps: 2, steps: 60, minimum: 0.03 });
    await train(new Bigram(5), batchesOf(4), {
      ...options,
      onStep: ({ step, learningRate }) => {
        seen.push(step);
        expect(learningRate).toBe(schedule(step - 1));
      },
    });
    expect(seen).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
  });

  it('measures on the validation text every so often and at the end, in evaluation mode', async () => {
    const model = new Bigram(5);
    const modes: boolean[] = [];
    const forward = model.forward.bind(model);
    model.forward = (tokens) => {
      modes.push(model.training);
      return forward(tokens);
    };
    const validation = { batches: () => sequentialBatches(cycle, { batchSize: 100, contextLength: 8 }), every: 25 };
    const result = await train(model, batchesOf(4), { ...options, validation });
    expect(result.validationLosses.map(({ step }) => step)).toEqual([25, 50, 60]);
    expect(modes.filter(Boolean).length).toBe(60);
    expect(modes.filter((mode) => !mode).length).toBe(3 * 2);
    expect(model.training).toBe(false);
  });

  it('stops with a sentence when the loss is no number, and hands back the tensors', async () => {
    const model = new Bigram(5);
    const before = tf.memory().numTensors;
    const loss = (logits: tf.Tensor3D): tf.Scalar => logits.sub(10).log().mean();
    const failing = train(model, batchesOf(4), { ...options, loss });
    await expect(failing).rejects.toMatchObject({
      name: 'LabError',
      message: expect.stringMatching(/loss of step 1 is NaN/) as string,
    });
    expect(tf.memory().numTensors).toBe(before);
  });

  it('takes another optimizer, schedule and loss', async () => {
    const model = new Bigram(5);
    const rates: number[] = [];
    await train(model, batchesOf(4), {
      steps: 3,
      quiet: true,
      schedule: (step) => 0.1 * (step + 1),
      loss: (logits) => logits.square().mean(),
      optimizer: (parameters) => ({
        step(gradients, learningRate) {
          rates.push(learningRate);
          for (const [path, gradient] of gradients)
            parameters.get(path)!.assign(parameters.get(path)!.sub(gradient.mul(learningRate)));
        },
        state: () => new Map(),
        load: () => undefined,
        dispose: () => undefined,
      }),
    });
    expect(rates).toEqual([0.1, 0.2, 0.30000000000000004]);
  });

  it('finishes the step when it is interrupted', async () => {
    const onStep = ({ step }: { step: number }): void => {
      if (step === 10) process.emit('SIGINT', 'SIGINT');
    };
    const result = await train(new Bigram(5), batchesOf(4), { ...options, onStep });
    expect(result.interrupted).toBe(true);
    expect(result.steps).toBeLessThan(13);
    expect(result.losses.length).toBe(result.steps);
  });

  it('refuses a model that is all frozen, and senseless numbers', async () => {
    const model = new Bigram(5);
    for (const variable of model.namedParameters().values()) variable.trainable = false;
    await expect(train(model, batchesOf(1), options)).rejects.toThrow(/nothing to train/);
    await expect(train(model, batchesOf(1), { ...options, steps: 1.5 })).rejects.toThrow(/steps must be a positive integer/);
    await expect(train(model, batchesOf(1), { ...options, accumulate: 0 })).rejects.toThrow(/accumulate/);
  });
});

describe('evaluation', () => {
  it('weighs every token alike, also in batches of different sizes', async () => {
    const model = new Bigram(5);
    const dataset = cycle.slice(0, 38);
    const whole = await evaluateLoss(model, sequentialBatches(dataset, { batchSize: 1, contextLength: 37 }));
    const pieces = await evaluateLoss(model, sequentialBatches(dataset, { batchSize: 3, contextLength: 5 }));
    expect(pieces).toBeCloseTo(whole, 5);
  });

  it('of nothing is refused', async () => {
    await expect(evaluateLoss(new Bigram(5), [])).rejects.toThrow(/no batch/);
  });
});

it('a constant rate is constant', () => {
  expect([0, 1, 1e6].map(constantRate(0.5))).toEqual([0.5, 0.5, 0.5]);
});
