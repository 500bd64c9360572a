/**
 * @file Chapter 02 in the real model: the solution's cross-entropy, plugged in, trains and evaluates as the library's does.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  evaluateLoss,
  presets,
  Random,
  randomBatches,
  sequentialBatches,
  startBackend,
  tf,
  theCourse,
  TokenDataset,
  train,
  Transformer,
  type Assembly,
  type TrainOptions,
} from 'lab';
import * as solutions from '../../solutions/02-language-modelling.ts';

const chapter = theCourse().chapters.find(({ slug }) => slug === '02-language-modelling')!;
const exercise = (id: string) => chapter.exercises.find((entry) => entry.id === id)!;
const random = new Random(1);
const vocabSize = 19;
const dataset = new TokenDataset(
  Int32Array.from({ length: 600 }, (_, i) => (i % 7) + random.integer(12)),
  vocabSize,
);

beforeAll(async () => {
  await startBackend();
});

/** Losses of a short training, and on the whole text after it. */
async function live(options: Partial<TrainOptions>): Promise<number[]> {
  const config = { ...presets.nano, vocabSize, contextLength: 16, layers: 1, width: 16, heads: 2, seed: 3 };
  const model = new Transformer(config);
  const batches = randomBatches(dataset, { batchSize: 3, contextLength: 16, seed: 2 });
  const { losses } = await train(model, batches, { steps: 6, quiet: true, ...options });
  const whole = sequentialBatches(dataset, { batchSize: 4, contextLength: 16 });
  const last = await evaluateLoss(model, whole, options.loss ? { loss: options.loss } : {});
  model.dispose();
  return [...losses.map(({ loss }) => loss), last];
}

describe('chapter 02, plugged in', () => {
  it('trains with the cross-entropy of 2.3 as with the library’s, and leaves no tensors behind', async () => {
    const before = tf.memory().numTensors;
    const library = await live({});
    const assembly: Assembly = { transformer: {}, train: {}, generate: {} };
    let calls = 0;
    exercise('2.3').plug!(
      { crossEntropy: (...given: Parameters<typeof solutions.crossEntropy>) => (calls++, solutions.crossEntropy(...given)) },
      assembly,
    );
    const own = await live(assembly.train);
    own.forEach((loss, i) => expect(loss).toBeCloseTo(library[i]!, 5));
    expect(calls).toBeGreaterThan(6);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('keeps what other chapters have put into the training', () => {
    const schedule = () => 0.1;
    const assembly: Assembly = { transformer: {}, train: { schedule }, generate: {} };
    exercise('2.3').plug!(solutions, assembly);
    expect(assembly.train).toEqual({ schedule, loss: solutions.crossEntropy });
  });

  it('puts no optimizer without adaptation into models that chapter 04 trains', () => {
    const assembly: Assembly = { transformer: {}, train: {}, generate: {} };
    for (const one of chapter.exercises) if (one.id !== '2.3') one.plug?.(solutions, assembly);
    expect(assembly).toEqual({ transformer: {}, train: {}, generate: {} });
  });
});

describe('the library’s functions in the place of the answers', () => {
  const counts = Array.from({ length: 9 }, () => Array.from({ length: 9 }, () => random.integer(5)));
  const start = counts.map((row) => row.map(() => random.normal()));

  it('trains the bigram as the solution does, to the last digits', () => {
    const options = { steps: 40, learningRate: 2 };
    const library = (exercise('2.7').library['trainBigram'] as typeof solutions.trainBigram)(start, counts, options);
    const solution = solutions.trainBigram(start, counts, options);
    library.flat().forEach((logit, i) => expect(logit).toBeCloseTo(solution.flat()[i]!, 10));
  });

  it('smooths and draws batches as the solution does', () => {
    const { smooth } = exercise('2.1').library as typeof solutions;
    expect(smooth(counts, 0.3)).toEqual(solutions.smooth(counts, 0.3));
    const { randomBatch } = exercise('2.6').library as typeof solutions;
    const drawn = [randomBatch, solutions.randomBatch].map((draw) => {
      const dice = new Random(4);
      return draw(dataset.ids, { batchSize: 5, contextLength: 11 }, () => dice.uniform());
    });
    expect(drawn[0]).toEqual(drawn[1]);
  });
});
