/**
 * @file Prompts and the completions behind them, as batches: what is to be learned is marked, prompts and padding are not.
 *
 * Padding stands on the right: no token sees what comes after it, so that nothing needs to be masked in attention.
 * Shapes: B sequences, T tokens.
 */
import { invariant, LabError, Random, type RandomState } from '../base/index.ts';
import type { Batch, Batches } from '../data/index.ts';
import type { Transformer } from '../model/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';

/** Token ids of a prompt and of what is said to it, the end mark included if there is one. */
export interface Sample {
  readonly prompt: readonly number[];
  readonly completion: readonly number[];
  /** Where only some of the completion counts: 1 or 0 for each of its tokens; all unless told. */
  readonly counts?: readonly number[];
}

/** The target of a token that is not learned: PyTorch's ignoreIndex. */
export const IGNORED = -100;

/** Sequences side by side; `targets` are `IGNORED` in prompts and in padding. */
export interface CompletionBatch extends Batch {
  /** [B]: at which position of `inputs` the last real token would be read; its target is the last token. */
  readonly lastTargets: Int32Array;
  /** [B]: how many targets count. */
  readonly lengths: Int32Array;
}

/**
 * @param padding any token: what stands there is never learned nor seen (default 0)
 * @throws LabError for an empty prompt or completion, saying which.
 */
export function completionBatch(samples: readonly Sample[], padding = 0): CompletionBatch {
  invariant(samples.length > 0, 'completionBatch: no sample was given');
  const batchSize = samples.length;
  const contextLength = Math.max(...samples.map(({ prompt, completion }) => prompt.length + completion.length)) - 1;
  const inputs = new Int32Array(batchSize * contextLength).fill(padding);
  const targets = new Int32Array(batchSize * contextLength).fill(IGNORED);
  const lastTargets = new Int32Array(batchSize);
  const lengths = new Int32Array(batchSize);
  for (const [row, { prompt, completion, counts }] of samples.entries()) {
    if (prompt.length === 0) throw new LabError(`Sample ${row} has an empty prompt: give at least one token to go on from.`);
    if (completion.length === 0) throw new LabError(`Sample ${row} has an empty completion: there is nothing to learn in it.`);
    invariant(!counts || counts.length === completion.length, `completionBatch: sample ${row} has ${counts?.length} counts`);
    const start = row * contextLength;
    const tokens = [...prompt, ...completion];
    inputs.set(tokens.slice(0, -1), start);
    for (const [i, token] of completion.entries()) {
      if (counts?.[i] === 0) continue;
      targets[start + prompt.length - 1 + i] = token;
      lengths[row]!++;
    }
    lastTargets[row] = tokens.length - 2;
  }
  return { inputs, targets, batchSize, contextLength, lastTargets, lengths };
}

/** How an instruction is written for a model that knows no chat: the answer follows on a line of its own. */
export interface InstructionFormat {
  /** `{prompt}` stands for the instruction. */
  readonly template: string;
  /** Written behind an answer, so that the model learns to stop. */
  readonly end: string;
}

/** Question and answer, a line each. */
export const plainInstructions: InstructionFormat = { template: 'Question: {prompt}\nAnswer:', end: '\n' };

/** The tokens of an instruction and its answer. @throws LabError for an empty answer. */
export function instructionSample(
  tokenizer: Tokenizer,
  { prompt, answer }: { readonly prompt: string; readonly answer: string },
  format: InstructionFormat = plainInstructions,
): Sample {
  if (answer.trim() === '') throw new LabError(`The answer to '${prompt}' is empty: there is nothing to learn in it.`);
  const [before, after] = format.template.split('{prompt}');
  invariant(after !== undefined, `instructionSample: the template '${format.template}' has no {prompt} in it`);
  return {
    prompt: [...tokenizer.encode(before! + prompt + after)],
    completion: [...tokenizer.encode(` ${answer.trim()}${format.end}`)],
  };
}

/** @throws LabError when a sample is longer than the model's context, saying which and by how much. */
export function checkFits(samples: readonly Sample[], model: Transformer, maximumNew = 0): void {
  const { contextLength } = model.config;
  for (const [i, { prompt, completion }] of samples.entries()) {
    const length = prompt.length + Math.max(completion.length, maximumNew);
    if (length - 1 <= contextLength) continue;
    throw new LabError(
      `Sample ${i} has ${prompt.length} tokens of prompt and ${length - prompt.length} of completion, but the context holds ` +
        `${contextLength}: shorten it, or give the model a longer context.`,
    );
  }
}

/** Batches that hold more than inputs and targets. */
export interface BatchesOf<B extends Batch> extends Batches {
  next(): B;
}

/**
 * Batches of whole items, in an order that the seed decides, every item once before any comes again.
 *
 * @param make turns the drawn items into a batch
 */
export function shuffledBatches<T, B extends Batch>(
  items: readonly T[],
  make: (drawn: readonly T[]) => B,
  { batchSize, seed = 0 }: { readonly batchSize: number; readonly seed?: number },
): BatchesOf<B> {
  if (items.length === 0) throw new LabError('There is nothing to learn from: no sample was given.');
  const random = new Random(seed);
  let order: number[] = [];
  return {
    next() {
      const drawn: T[] = [];
      while (drawn.length < Math.min(batchSize, items.length)) {
        if (order.length === 0) order = random.shuffle(items.map((_, i) => i));
        drawn.push(items[order.pop()!]!);
      }
      return make(drawn);
    },
    get state() {
      return { random: random.state, order: [...order] };
    },
    set state(state: unknown) {
      const saved = state as { random: RandomState; order: number[] };
      random.state = saved.random;
      order = [...saved.order];
    },
  };
}
