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
 * The same of many texts that begin alike, at least up to the first judged token of each.
 *
 * @param rows continuations that are read at once (default 16)
 */
export async function logLikelihoods(
  model: Transformer,
  continuations: readonly Continuation[],
  { rows = 16 }: { readonly rows?: number } = {},
): Promise<number[]> {
  check(model, continuations);
  invariant(Number.isInteger(rows) && rows >= 1, `logLikelihoods: rows must be a whole number from 1 on, got ${rows}`);
  // The last token of the shared part is read again by every row: its prediction is the first one that is judged.
  const shared = sharedTokens(continuations) - 1;
  const found: number[] = [];
  if (shared < 1) {
    for (const one of continuations) found.push(await logLikelihood(model, one));
    return found;
  }
  const cache = new SharedPrefixCache(model.config.contextLength);
  return withoutDropout(model, async () => {
    try {
      const prefix = tokensTensor(continuations[0]!.ids.slice(0, shared), [1, shared], model.config.vocabSize);
      tf.tidy(() => void model.transform(model.embed(prefix), { cache }));
      prefix.dispose();
      for (let first = 0; first < continuations.length; first += rows) {
        found.push(...(await ofBatch(model, continuations.slice(first, first + rows), cache)));
      }
      return found;
    } finally {
      cache.dispose();
    }
  });
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

/** The rests of some texts behind the cached prefix, filled up at their ends, where nothing looks at them. */
async function ofBatch(model: Transformer, batch: readonly Continuation[], cache: SharedPrefixCache): Promise<number[]> {
  const start = cache.length;
  const width = Math.max(...batch.map(({ ids }) => ids.length)) - 1 - start;
  const inputs = batch.flatMap(({ ids }) =>
    Array.from({ length: width }, (_, t) => (start + t < ids.length ? ids[start + t]! : 0)),
  );
  const hidden = tf.tidy(() => {
    const tokens = tokensTensor(inputs, [batch.length, width], model.config.vocabSize);
    return model.transform(model.embed(tokens, cache), { cache }); // [B, T, D]
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
  const [first, ...others] = continuations;
  if (!first) return 0;
  let shared = Math.min(...continuations.map(({ from }) => from));
  for (const { ids } of others) {
    const differs = first.ids.findIndex((id, i) => i < shared && id !== ids[i]);
    if (differs >= 0) shared = differs;
  }
  return shared;
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
