/**
 * @file Perplexity of a text that is longer than the context, with a sliding window: every window looks back as far as it can and
 * is only judged on the tokens that no earlier one has judged.
 *
 * Shapes: T tokens of a window, J judged ones, D width, V vocabulary.
 */
import { tf, type Tensor3D } from '../backend/index.ts';
import { interruptible, invariant, LabError, Progress } from '../base/index.ts';
import { tokensTensor, type Transformer } from '../model/index.ts';
import { crossEntropy } from '../ops/index.ts';

export interface PerplexityOptions {
  /** Tokens that the model sees at once; its context unless told. */
  readonly window?: number;
  /**
   * How many tokens the window moves on; half the window unless told. Smaller is slower and kinder, as every token has more before
   * it; 1 judges each with all that fits.
   */
  readonly stride?: number;
  readonly quiet?: boolean;
}

export interface Perplexity {
  /** e to the loss. */
  readonly perplexity: number;
  /** Nats a token. */
  readonly loss: number;
  /** How many were judged: all but the first, before which there is nothing. */
  readonly tokens: number;
}

/** Positions whose logits are there at once: with a large vocabulary those of a window would not fit into memory. */
const JUDGED_AT_ONCE = 64;

/** A window [start, end) of the text, judged from position `from` on. */
interface Window {
  readonly start: number;
  readonly from: number;
  readonly end: number;
}

/**
 * @param ids the text's tokens
 * @throws LabError for fewer than two tokens, or when it is interrupted; RangeError for a window that does not fit.
 */
export async function perplexity(model: Transformer, ids: ArrayLike<number>, options: PerplexityOptions = {}): Promise<Perplexity> {
  const { contextLength } = model.config;
  const { window = contextLength, quiet = false } = options;
  const { stride = Math.max(1, Math.floor(window / 2)) } = options;
  invariant(
    Number.isInteger(window) && window >= 2 && window <= contextLength,
    `perplexity: window must be from 2 to the model's context of ${contextLength}, got ${window}`,
  );
  invariant(Number.isInteger(stride) && stride >= 1 && stride < window, `perplexity: stride must be from 1 to ${window - 1}, got ${stride}`);
  if (ids.length < 2) throw new LabError(`The text has ${ids.length} tokens; perplexity needs two or more.`);
  const wasTraining = model.training;
  model.eval();
  const progress = new Progress({ total: ids.length, label: 'judging', unit: 'tokens', quiet });
  try {
    const sum = await interruptible(async (signal) => {
      let total = 0;
      for (const part of windows(ids.length, window, stride)) {
        total += await surprisal(model, ids, part);
        progress.update(part.end);
        await signal.breathe();
        if (signal.stopped) throw new LabError('perplexity: interrupted before the end.');
      }
      return total;
    });
    progress.done();
    const tokens = ids.length - 1;
    return { perplexity: Math.exp(sum / tokens), loss: sum / tokens, tokens };
  } finally {
    if (wasTraining) model.train();
  }
}

/** The first window is judged from its second token on, each further one on what it has beyond the one before. */
function* windows(length: number, size: number, stride: number): Generator<Window> {
  let from = 1;
  for (let start = 0; from < length; start += stride) {
    const end = Math.min(start + size, length);
    yield { start, from, end };
    from = end;
  }
}

/** The sum of −log p over the judged tokens of a window, in nats. */
async function surprisal(model: Transformer, ids: ArrayLike<number>, { start, from, end }: Window): Promise<number> {
  const { vocabSize, width } = model.config;
  const inputs = Array.prototype.slice.call(ids, start, end - 1) as number[];
  const hidden = tf.tidy(() => model.transform(model.embed(tokensTensor(inputs, [1, inputs.length], vocabSize)))); // [1, T, D]
  try {
    let sum = 0;
    for (let first = from; first < end; first += JUDGED_AT_ONCE) {
      const count = Math.min(JUDGED_AT_ONCE, end - first);
      const loss = tf.tidy(() => {
        const rows = tf.slice(hidden, [0, first - 1 - start, 0], [1, count, width]);
        const logits = model.project(model.finalNorm.forward<Tensor3D>(rows)); // [1, J, V]
        const targets = tokensTensor(Array.prototype.slice.call(ids, first, first + count) as number[], [1, count], vocabSize);
        return crossEntropy(logits, targets);
      });
      sum += (await loss.data())[0]! * count;
      loss.dispose();
    }
    return sum;
  } finally {
    hidden.dispose();
  }
}
