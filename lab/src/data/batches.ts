/**
 * @file Windows of a corpus as batches: the model reads `inputs` and is asked for `targets`, the same text one token later.
 *
 * Shapes: B sequences, T tokens each, row after row in one flat array.
 */
import { invariant, LabError, Random, type RandomState } from '../base/index.ts';
import type { TokenDataset } from './dataset.ts';

export interface Batch {
  /** [B, T] */
  readonly inputs: Int32Array;
  /** [B, T]: targets[b, t] follows inputs[b, t] in the text. */
  readonly targets: Int32Array;
  readonly batchSize: number;
  readonly contextLength: number;
}

/** An endless source of batches that can be stopped and gone on with. */
export interface Batches {
  next(): Batch;
  /** Plain data: set it to what it was and the same batches follow again. */
  state: unknown;
}

export interface BatchOptions {
  /** Sequences in a batch. */
  readonly batchSize: number;
  /** Tokens in a sequence. */
  readonly contextLength: number;
}

export interface RandomBatchOptions extends BatchOptions {
  readonly seed?: number;
}

/**
 * Windows that start anywhere in the dataset, each place as likely as the other (as nanoGPT draws them).
 *
 * @throws LabError when the dataset is shorter than one context and the token after it.
 */
export function randomBatches(dataset: TokenDataset, options: RandomBatchOptions): Batches {
  const { batchSize, contextLength, seed = 0 } = options;
  checkSizes('randomBatches', dataset, options);
  const random = new Random(seed);
  return {
    next() {
      const starts = Array.from({ length: batchSize }, () => random.integer(dataset.length - contextLength));
      return windows(dataset, starts, contextLength);
    },
    get state() {
      return random.state;
    },
    set state(state: unknown) {
      random.state = state as RandomState;
    },
  };
}

/**
 * The dataset from beginning to end, window after window: every token but the first is predicted exactly once.
 * The last batches may be smaller, and the last window shorter.
 */
export function sequentialBatches(dataset: TokenDataset, options: BatchOptions): Iterable<Batch> {
  const { batchSize, contextLength } = options;
  checkSizes('sequentialBatches', dataset, { batchSize, contextLength: 1 });
  invariant(
    Number.isInteger(contextLength) && contextLength > 0,
    `sequentialBatches: contextLength ${contextLength} is not positive`,
  );
  return {
    *[Symbol.iterator]() {
      const predicted = dataset.length - 1;
      const whole = Math.floor(predicted / contextLength);
      for (let first = 0; first < whole; first += batchSize) {
        const count = Math.min(batchSize, whole - first);
        yield windows(
          dataset,
          Array.from({ length: count }, (_, i) => (first + i) * contextLength),
          contextLength,
        );
      }
      const rest = predicted - whole * contextLength;
      if (rest > 0) yield windows(dataset, [whole * contextLength], rest);
    },
  };
}

function checkSizes(who: string, dataset: TokenDataset, { batchSize, contextLength }: BatchOptions): void {
  for (const [name, size] of Object.entries({ batchSize, contextLength })) {
    invariant(Number.isInteger(size) && size > 0, `${who}: ${name} must be a positive integer, got ${size}`);
  }
  if (dataset.length < contextLength + 1) {
    throw new LabError(
      `${who}: the text has ${dataset.length} tokens, but a context of ${contextLength} and the token after it need ` +
        `${contextLength + 1}. Give more text or a shorter context.`,
    );
  }
}

function windows(dataset: TokenDataset, starts: readonly number[], contextLength: number): Batch {
  return batchOf(starts.map((start) => dataset.ids.subarray(start, start + contextLength + 1)));
}

/**
 * A batch of windows of the same length, a row each.
 *
 * @param rows each of T + 1 tokens
 */
export function batchOf(rows: readonly Int32Array[]): Batch {
  const contextLength = rows[0]!.length - 1;
  const inputs = new Int32Array(rows.length * contextLength);
  const targets = new Int32Array(rows.length * contextLength);
  rows.forEach((tokens, row) => {
    inputs.set(tokens.subarray(0, contextLength), row * contextLength);
    targets.set(tokens.subarray(1), row * contextLength);
  });
  return { inputs, targets, batchSize: rows.length, contextLength };
}
