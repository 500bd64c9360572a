/**
 * @file Data that a model writes for itself: what it was trained on is seldom at hand, but what it learned from it is. Every
 * sequence begins with another token of the vocabulary, goes on with the most likely tokens for a moment, so that it starts
 * sensibly, and is drawn from the model's own distribution from then on, so that it is varied. Liu et al. 2023 (LLM-QAT),
 * section 3.1 and generate_data.py.
 *
 * Shapes: B sequences at a time, T tokens.
 */
import { tf } from '../../backend/index.ts';
import { interruptible, invariant, LabError, Progress, Random, type RandomState } from '../../base/index.ts';
import { batchOf, type Batches } from '../../data/index.ts';
import { nextTokenDistribution, sampleFrom, tokensTensor, type Transformer } from '../../model/index.ts';

export interface SelfGeneratedOptions {
  /** How many sequences; one for each token and each number of greedy tokens unless told, as in the paper. */
  readonly sequences?: number;
  /** Tokens in each, the first included (default: the context and the token after it). */
  readonly length?: number;
  /** Up to which length tokens are the most likely ones: in turn, a round of the vocabulary each (default 3, 4, 5). */
  readonly greedyLengths?: readonly number[];
  /** How many are written together (default 64). */
  readonly batchSize?: number;
  readonly seed?: number;
  readonly quiet?: boolean;
}

/**
 * @returns the sequences, [T] each
 * @throws LabError when it is interrupted; RangeError for sizes that make no sense.
 */
export async function selfGeneratedSequences(model: Transformer, options: SelfGeneratedOptions = {}): Promise<Int32Array[]> {
  const { contextLength, vocabSize } = model.config;
  const { length = contextLength + 1, greedyLengths = [3, 4, 5], batchSize = 64, seed = 0, quiet = false } = options;
  const { sequences: count = vocabSize * greedyLengths.length } = options;
  for (const [name, size] of Object.entries({
    sequences: count,
    length,
    batchSize,
    'the number of greedyLengths': greedyLengths.length,
  })) {
    invariant(Number.isInteger(size) && size > 0, `selfGeneratedSequences: ${name} must be a positive integer, got ${size}`);
  }
  invariant(
    length <= contextLength + 1,
    `selfGeneratedSequences: a context of ${contextLength} can be followed by one token, so ${length} tokens are too many`,
  );
  const random = new Random(seed);
  const progress = new Progress({ total: count, label: 'writing', unit: 'sequences', quiet });
  const wasTraining = model.training;
  model.eval();
  try {
    return await interruptible(async (signal) => {
      const sequences: Int32Array[] = [];
      while (sequences.length < count) {
        const rows = Array.from({ length: Math.min(batchSize, count - sequences.length) }, (_, row) => {
          const number = sequences.length + row;
          const tokens = new Int32Array(length);
          tokens[0] = number % vocabSize;
          return { tokens, greedyUntil: greedyLengths[Math.floor(number / vocabSize) % greedyLengths.length]! };
        });
        await write(model, rows, random, async () => {
          await signal.breathe();
          if (signal.stopped) throw new LabError('selfGeneratedSequences: interrupted before the end.');
        });
        sequences.push(...rows.map(({ tokens }) => tokens));
        progress.update(sequences.length);
      }
      progress.done();
      return sequences;
    });
  } finally {
    if (wasTraining) model.train();
  }
}

interface Row {
  /** [T], the first token there, the others to be written. */
  readonly tokens: Int32Array;
  readonly greedyUntil: number;
}

/** Writes all rows at once, a token of each per step. */
async function write(model: Transformer, rows: readonly Row[], random: Random, pause: () => Promise<void>): Promise<void> {
  const { vocabSize } = model.config;
  const cache = model.cache();
  try {
    for (let at = 1; at < rows[0]!.tokens.length; at++) {
      const last = rows.map(({ tokens }) => tokens[at - 1]!);
      const logits = tf.tidy(() => model.forward(tokensTensor(last, [rows.length, 1], vocabSize), { cache }));
      const values = await logits.data<'float32'>();
      logits.dispose();
      for (const [row, { tokens, greedyUntil }] of rows.entries()) {
        const ofRow = values.subarray(row * vocabSize, (row + 1) * vocabSize);
        tokens[at] = sampleFrom(nextTokenDistribution(ofRow, { temperature: at < greedyUntil ? 0 : 1 }), random);
      }
      await pause();
    }
  } finally {
    cache.dispose();
  }
}

/**
 * Batches of whole sequences, each as likely as the other.
 *
 * @param sequences [T + 1] each: T tokens to read, and the same one later to predict
 */
export function sequenceBatches(
  sequences: readonly Int32Array[],
  { batchSize, seed = 0 }: { readonly batchSize: number; readonly seed?: number },
): Batches {
  const contextLength = (sequences[0]?.length ?? 0) - 1;
  invariant(contextLength > 0, 'sequenceBatches: there must be sequences of at least two tokens');
  const odd = sequences.findIndex(({ length }) => length !== contextLength + 1);
  invariant(
    odd < 0,
    () => `sequenceBatches: sequence ${odd} has ${sequences[odd]!.length} tokens, the first ${contextLength + 1}`,
  );
  const random = new Random(seed);
  return {
    next() {
      return batchOf(Array.from({ length: batchSize }, () => sequences[random.integer(sequences.length)]!));
    },
    get state() {
      return random.state;
    },
    set state(state: unknown) {
      random.state = state as RandomState;
    },
  };
}
