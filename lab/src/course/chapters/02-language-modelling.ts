/**
 * @file Chapter 02, language modelling: its exercises and the library's functions in their place. The reader's cross-entropy
 * becomes the loss of every training.
 */
import { tf, type Scalar, type Tensor, type Tensor1D, type Tensor2D } from '../../backend/index.ts';
import { crossEntropy } from '../../ops/index.ts';
import type { Chapter } from '../exercise.ts';

type Table = readonly (readonly number[])[];

function bigramCounts(ids: ArrayLike<number>, vocabSize: number): number[][] {
  const flat = new Float64Array(vocabSize * vocabSize);
  for (let i = 1; i < ids.length; i++) flat[ids[i - 1]! * vocabSize + ids[i]!]! += 1;
  return rowsOf(flat, vocabSize);
}

const rowsOf = (flat: Float64Array, width: number): number[][] =>
  Array.from({ length: flat.length / width }, (_, row) => [...flat.subarray(row * width, (row + 1) * width)]);

const sumOf = (values: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum;
};

function smooth(counts: Table, k: number): number[][] {
  return counts.map((row) => {
    const total = sumOf(row) + k * row.length;
    return total > 0 ? row.map((count) => (count + k) / total) : row.map(() => 1 / row.length);
  });
}

const meanCrossEntropy = (logits: Tensor, targets: Tensor): Scalar => crossEntropy(logits, targets);

function crossEntropyGradient(logits: Tensor2D, targets: Tensor1D): Tensor2D {
  return tf.grad((x) => crossEntropy(x, targets))(logits) as Tensor2D;
}

interface MomentumOptions {
  readonly learningRate: number;
  readonly momentum: number;
}

function sgdStep(
  parameter: Tensor,
  gradient: Tensor,
  velocity: Tensor,
  { learningRate, momentum }: MomentumOptions,
): Readonly<Record<'parameter' | 'velocity', Tensor>> {
  const faster = velocity.mul(momentum).add(gradient);
  return { parameter: parameter.sub(faster.mul(learningRate)), velocity: faster };
}

function randomBatch(
  ids: Int32Array,
  { batchSize, contextLength }: { readonly batchSize: number; readonly contextLength: number },
  random: () => number,
): Readonly<Record<'inputs' | 'targets', number[][]>> {
  const starts = Array.from({ length: batchSize }, () => Math.floor(random() * (ids.length - contextLength)));
  const window = (start: number): number[] => [...ids.subarray(start, start + contextLength)];
  return { inputs: starts.map(window), targets: starts.map((start) => window(start + 1)) };
}

/** All rows in one array, because a reader who trains for thousands of steps should not wait. */
function trainBigram(
  logits: Table,
  counts: Table,
  { steps, learningRate }: { readonly steps: number; readonly learningRate: number },
): number[][] {
  const vocabSize = logits.length;
  const table = Float64Array.from(logits.flat());
  const wanted = Float64Array.from(counts.flat());
  const totals = counts.map(sumOf);
  const rate = learningRate / sumOf(totals);
  const weights = new Float64Array(vocabSize);
  for (let step = 0; step < steps; step++) {
    for (let row = 0; row < vocabSize; row++) {
      const from = row * vocabSize;
      let largest = -Infinity;
      for (let j = 0; j < vocabSize; j++) largest = Math.max(largest, table[from + j]!);
      let sum = 0;
      for (let j = 0; j < vocabSize; j++) sum += weights[j] = Math.exp(table[from + j]! - largest);
      for (let j = 0; j < vocabSize; j++) {
        table[from + j]! -= rate * ((totals[row]! * weights[j]!) / sum - wanted[from + j]!);
      }
    }
  }
  return rowsOf(table, vocabSize);
}

export const chapter: Chapter = {
  number: 2,
  slug: '02-language-modelling',
  title: 'Language modelling',
  exercises: [
    {
      id: '2.1',
      title: 'counts with smoothing',
      names: ['bigramCounts', 'smooth'],
      difficulty: 1,
      minutes: 15,
      library: { bigramCounts, smooth },
    },
    {
      id: '2.2',
      title: 'log-softmax',
      names: ['logSoftmax'],
      difficulty: 2,
      minutes: 10,
      library: { logSoftmax: (logits: Tensor) => tf.logSoftmax(logits) },
    },
    {
      id: '2.3',
      title: 'cross-entropy and perplexity',
      names: ['crossEntropy', 'perplexity', 'bitsPerCharacter'],
      difficulty: 2,
      minutes: 20,
      library: {
        crossEntropy: meanCrossEntropy,
        perplexity: (nats: ArrayLike<number>) => Math.exp(sumOf(nats) / nats.length),
        bitsPerCharacter: (nats: ArrayLike<number>, characters: number) => sumOf(nats) / Math.LN2 / characters,
      },
      room: 'loss',
      plug: (answer, assembly) => {
        assembly.train = { ...assembly.train, loss: answer['crossEntropy'] as typeof meanCrossEntropy };
      },
    },
    {
      id: '2.4',
      title: 'gradient of the cross-entropy',
      names: ['crossEntropyGradient'],
      difficulty: 3,
      minutes: 15,
      library: { crossEntropyGradient },
    },
    {
      id: '2.5',
      title: 'a step with momentum',
      names: ['sgdStep'],
      difficulty: 1,
      minutes: 10,
      library: { sgdStep },
    },
    {
      id: '2.6',
      title: 'batches',
      names: ['randomBatch'],
      difficulty: 2,
      minutes: 15,
      library: { randomBatch },
    },
    {
      id: '2.7',
      title: 'a neural bigram',
      names: ['trainBigram'],
      difficulty: 3,
      minutes: 25,
      library: { trainBigram },
    },
  ],
};
