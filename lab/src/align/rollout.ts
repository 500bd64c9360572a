/**
 * @file Many answers at once: all sequences go through the model side by side, a token of each per step, with one key/value
 * cache. Prompts need not be equally long: what is common to their lengths is read first, and a longer prompt dictates its
 * remaining tokens while shorter ones are being answered, so that there is no padding and every token stands in its place.
 *
 * Shapes: B sequences, V vocabulary.
 */
import { tf } from '../backend/index.ts';
import { interruptible, invariant, LabError, Random } from '../base/index.ts';
import {
  checkSamplingOptions,
  nextTokenDistribution,
  sampleFrom,
  tokensTensor,
  type SamplingOptions,
  type Transformer,
} from '../model/index.ts';
import type { Sample } from './completions.ts';

export interface RolloutOptions extends Pick<SamplingOptions, 'temperature' | 'topK' | 'topP'> {
  /** Tokens in a completion, at most (default 32). */
  readonly maxTokens?: number;
  /** Ends a completion, and belongs to it. */
  readonly endToken?: number;
  /** Sequences that are written together (default 256). */
  readonly batchSize?: number;
  readonly seed?: number;
}

/**
 * @param prompts token ids of each; give one several times for several answers
 * @returns a completion of each, of one token or more
 * @throws LabError for an empty prompt, one that leaves no room for `maxTokens` in the context, or an interrupt.
 */
export async function rollout(
  model: Transformer,
  prompts: readonly (readonly number[])[],
  options: RolloutOptions = {},
): Promise<Sample[]> {
  const { maxTokens = 32, batchSize = 256, seed = 0, endToken, ...sampling } = options;
  invariant(Number.isInteger(maxTokens) && maxTokens >= 1, `rollout: maxTokens must be 1, 2, …, got ${maxTokens}`);
  checkSamplingOptions(sampling);
  const { contextLength } = model.config;
  for (const [i, prompt] of prompts.entries()) {
    if (prompt.length === 0) throw new LabError(`Prompt ${i} is empty: give at least one token to go on from.`);
    if (prompt.length + maxTokens - 1 <= contextLength) continue;
    throw new LabError(
      `Prompt ${i} has ${prompt.length} tokens, which leaves no room for ${maxTokens} more in a context of ${contextLength}: ` +
        'shorten the prompt or lower maxTokens.',
    );
  }
  const random = new Random(seed);
  const wasTraining = model.training;
  model.eval();
  try {
    return await interruptible(async (signal) => {
      const samples: Sample[] = [];
      for (let start = 0; start < prompts.length; start += batchSize) {
        const rows = prompts.slice(start, start + batchSize).map((prompt) => new Row(prompt, maxTokens, endToken));
        await write(model, rows, (logits) => sampleFrom(nextTokenDistribution(logits, sampling), random), async () => {
          await signal.breathe();
          if (signal.stopped) throw new LabError('rollout: interrupted before the end.');
        });
        samples.push(...rows.map(({ sample }) => sample));
      }
      return samples;
    });
  } finally {
    if (wasTraining) model.train();
  }
}

/** One sequence that is being written. */
class Row {
  readonly #prompt: readonly number[];
  readonly #completion: number[] = [];
  readonly #maxTokens: number;
  readonly #endToken: number | undefined;

  constructor(prompt: readonly number[], maxTokens: number, endToken: number | undefined) {
    this.#prompt = prompt;
    this.#maxTokens = maxTokens;
    this.#endToken = endToken;
  }

  get promptLength(): number {
    return this.#prompt.length;
  }

  get sample(): Sample {
    return { prompt: this.#prompt, completion: this.#completion };
  }

  get done(): boolean {
    const ended = this.#endToken !== undefined && this.#completion.at(-1) === this.#endToken;
    return ended || this.#completion.length === this.#maxTokens;
  }

  /** The token at a position; behind the end any. */
  token(at: number): number {
    return this.#prompt[at] ?? this.#completion[at - this.#prompt.length] ?? 0;
  }

  /** Whether the token at this position is to be drawn. */
  waitsFor(at: number): boolean {
    return at >= this.#prompt.length && !this.done;
  }

  push(token: number): void {
    this.#completion.push(token);
  }
}

async function write(
  model: Transformer,
  rows: readonly Row[],
  draw: (logits: Float32Array) => number,
  pause: () => Promise<void>,
): Promise<void> {
  const { vocabSize } = model.config;
  const cache = model.cache();
  try {
    let next = Math.min(...rows.map(({ promptLength }) => promptLength));
    for (let read = 0; rows.some(({ done }) => !done); next++) {
      const ids = rows.flatMap((row) => Array.from({ length: next - read }, (_, i) => row.token(read + i)));
      const logits = tf.tidy(() =>
        model.forward(tokensTensor(ids, [rows.length, next - read], vocabSize), { cache, lastOnly: true }),
      );
      read = next;
      const values = await logits.data<'float32'>();
      logits.dispose();
      for (const [i, row] of rows.entries()) {
        if (row.waitsFor(next)) row.push(draw(values.subarray(i * vocabSize, (i + 1) * vocabSize)));
      }
      await pause();
    }
  } finally {
    cache.dispose();
  }
}
