/**
 * @file log p(continuation | prompt): how likely a model finds texts that go on from the same beginning. The plain path reads
 * each from its first token on; the fast path reads what they share once and the rest of all of them as one batch.
 *
 * Shapes: B continuations, T tokens of the longest rest, D width, V vocabulary.
 */
import { tf, type Tensor3D } from '../backend/index.ts';
import { invariant, LabError } from '../base/index.ts';
import { tokensTensor, type Transformer } from '../model/index.ts';
import { SharedPrefixCache } from './shared-prefix-cache.ts';

/** A text as token ids, of which those from `from` on are judged, given all before them. */
export interface Continuation {
  readonly ids: readonly number[];
  readonly from: number;
}

/** Positions whose logits are there at once: with a large vocabulary more would not fit into memory. */
const JUDGED_AT_ONCE = 64;

/**
 * The plain path: one forward pass over the whole text.
 *
 * @returns Σ log p of the judged tokens, in nats
 */
export async function logLikelihood(model: Transformer, { ids, from }: Continuation): Promise<number> {
  check(model, [{ ids, from }]);
  const inputs = ids.slice(0, -1);
  return withoutDropout(model, async () => {
    const hidden = tf.tidy(() =>
      model.transform(model.embed(tokensTensor(inputs, [1, inputs.length], model.config.vocabSize))),
    );
    try {
      return await judged(model, hidden, 0, from - 1, ids.slice(from));
    } finally {
      hidden.dispose();
    }
  });
}

/**
 * The same of many texts, of which what they have in common at their beginning is read once.
 */
export async function logLikelihoods(
  model: Transformer,
  continuations: readonly Continuation[],
  options: ContinuationScorerOptions = {},
): Promise<number[]> {
  const scorer = new ContinuationScorer(model, options);
  try {
    return await scorer.score(continuations);
  } finally {
    scorer.dispose();
  }
}

export interface ContinuationScorerOptions {
  /** Continuations that are read at once (default 16). */
  readonly rows?: number;
}

/** Keeps what it read: questions behind the same examples, one after the other, cost their own tokens only. */
export class ContinuationScorer {
  readonly #model: Transformer;
  readonly #rows: number;
  readonly #cache: SharedPrefixCache;
  /** The tokens that the cache holds. */
  #read: readonly number[] = [];

  constructor(model: Transformer, { rows = 16 }: ContinuationScorerOptions = {}) {
    invariant(Number.isInteger(rows) && rows >= 1, `logLikelihoods: rows must be a whole number from 1 on, got ${rows}`);
    this.#model = model;
    this.#rows = rows;
    this.#cache = new SharedPrefixCache(model.config.contextLength);
  }

  /** @returns Σ log p of the judged tokens of each, in nats */
  async score(continuations: readonly Continuation[]): Promise<number[]> {
    check(this.#model, continuations);
    // The last token in common is read by every row: its prediction is the first one that is judged.
    const shared = Math.max(0, sharedTokens(continuations) - 1);
    return withoutDropout(this.#model, async () => {
      this.#readBeginning(continuations[0]?.ids.slice(0, shared) ?? []);
      const found: number[] = [];
      for (let first = 0; first < continuations.length; first += this.#rows) {
        found.push(...(await this.#ends(continuations.slice(first, first + this.#rows))));
      }
      return found;
    });
  }

  dispose(): void {
    this.#cache.dispose();
    this.#read = [];
  }

  #readBeginning(ids: readonly number[]): void {
    const common = inCommon(this.#read, ids);
    this.#cache.branching = false;
    this.#cache.truncate(common);
    this.#read = ids.slice(0, common);
    if (common === ids.length) return;
    tf.tidy(() => {
      const tokens = tokensTensor(ids.slice(common), [1, ids.length - common], this.#model.config.vocabSize);
      this.#model.transform(this.#model.embed(tokens, this.#cache), { cache: this.#cache });
    });
    this.#read = ids;
  }

  /** What follows the beginning, in rows that are filled up at their ends, where nothing looks at them. */
  async #ends(batch: readonly Continuation[]): Promise<number[]> {
    const model = this.#model;
    const start = this.#cache.length;
    const width = Math.max(...batch.map(({ ids }) => ids.length)) - 1 - start;
    const inputs = batch.flatMap(({ ids }) => Array.from({ length: width }, (_, t) => ids[start + t] ?? 0));
    this.#cache.branching = true;
    const hidden = tf.tidy(() => {
      const tokens = tokensTensor(inputs, [batch.length, width], model.config.vocabSize);
      return model.transform(model.embed(tokens, this.#cache), { cache: this.#cache }); // [B, T, D]
    });
    try {
      const found: number[] = [];
      for (const [row, { ids, from }] of batch.entries()) {
        found.push(await judged(model, hidden, row, from - 1 - start, ids.slice(from)));
      }
      return found;
    } finally {
      hidden.dispose();
    }
  }
}

async function withoutDropout<T>(model: Transformer, body: () => Promise<T>): Promise<T> {
  const wasTraining = model.training;
  model.eval();
  try {
    return await body();
  } finally {
    if (wasTraining) model.train();
  }
}

/**
 * Σ log p of the targets, of which the first is predicted at position `at` of a row.
 *
 * @param hidden the residual stream [B, T, D] before the final norm
 */
async function judged(
  model: Transformer,
  hidden: Tensor3D,
  row: number,
  at: number,
  targets: readonly number[],
): Promise<number> {
  const { width, vocabSize } = model.config;
  let sum = 0;
  for (let first = 0; first < targets.length; first += JUDGED_AT_ONCE) {
    const some = targets.slice(first, first + JUDGED_AT_ONCE);
    const logits = tf.tidy(() => {
      const rows = tf.slice(hidden, [row, at + first, 0], [1, some.length, width]);
      return model.project(model.finalNorm.forward<Tensor3D>(rows)); // [1, J, V]
    });
    const values = await logits.data();
    logits.dispose();
    some.forEach((target, i) => (sum += logSoftmaxAt(values.subarray(i * vocabSize, (i + 1) * vocabSize), target)));
  }
  return sum;
}

/** log softmax of one entry, in float64. */
function logSoftmaxAt(logits: ArrayLike<number>, target: number): number {
  let largest = -Infinity;
  for (let i = 0; i < logits.length; i++) largest = Math.max(largest, logits[i]!);
  let total = 0;
  for (let i = 0; i < logits.length; i++) total += Math.exp(logits[i]! - largest);
  return logits[target]! - largest - Math.log(total);
}

/** How many tokens all have in common at the beginning, before anything is judged. */
function sharedTokens(continuations: readonly Continuation[]): number {
  const first = continuations[0]?.ids ?? [];
  return continuations.reduce((shared, { ids, from }) => Math.min(shared, from, inCommon(first, ids)), first.length);
}

/** How many tokens two texts have in common at their beginnings. */
function inCommon(a: readonly number[], b: readonly number[]): number {
  const differs = a.findIndex((id, i) => id !== b[i]);
  return differs < 0 ? a.length : differs;
}

function check(model: Transformer, continuations: readonly Continuation[]): void {
  const { contextLength } = model.config;
  for (const { ids, from } of continuations) {
    invariant(
      Number.isInteger(from) && from >= 1 && from < ids.length,
      `logLikelihood: judging must begin between token 1 and the last, ${ids.length - 1}; got ${from}`,
    );
    if (ids.length - 1 > contextLength) {
      throw new LabError(
        `A prompt and its answer have ${ids.length} tokens, but the model reads ${contextLength} and predicts one more: ` +
          'give a shorter prompt, with fewer examples in it.',
      );
    }
  }
}
