/**
 * @file Sentence-completion loss: nothing is learned from the beginning of a sentence, which many endings would fit, and all
 * from its end, where the fact stands. Lee et al. 2022 (FactualityPrompts), section 5.2.
 *
 * Shapes: B sequences, T tokens.
 */
import { Random, type RandomState } from '../base/index.ts';
import type { Batch, Batches } from '../data/index.ts';
import { SentencePlaces } from '../model/index.ts';
import { crossEntropy } from '../ops/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import type { LossFunction } from './gradients.ts';

/** The target of a token that is not learned. */
const UNLEARNED = -100;

export interface SentenceCompletionOptions {
  /** Where learning begins: in the middle of each sentence (default), or anywhere between its first and its last quarter. */
  readonly pivot?: 'half' | 'random';
  /** Decides random pivots (default 0). */
  readonly seed?: number;
}

/** The mean cross-entropy of the tokens that are learned. For `train({ loss })`, with the batches below. */
export const sentenceCompletionLoss: LossFunction = (logits, targets) =>
  crossEntropy(logits, targets, { ignoreIndex: UNLEARNED });

/** The same batches with targets that say what is learned. A sentence that a window cuts counts as far as the window shows it. */
export function sentenceCompletionBatches(
  batches: Batches,
  tokenizer: Tokenizer,
  { pivot = 'half', seed = 0 }: SentenceCompletionOptions = {},
): Batches {
  const places = new SentencePlaces(tokenizer);
  const random = new Random(seed);
  const share = (): number => (pivot === 'half' ? 0.5 : 0.25 + 0.5 * random.uniform());
  return {
    next: () => masked(batches.next(), places, share),
    get state() {
      return { batches: batches.state, random: random.state };
    },
    set state(state: unknown) {
      const saved = state as { batches: unknown; random: RandomState };
      batches.state = saved.batches;
      random.state = saved.random;
    },
  };
}

function masked(batch: Batch, places: SentencePlaces, share: () => number): Batch {
  const { inputs, batchSize, contextLength } = batch;
  const targets = batch.targets.slice();
  for (let row = 0; row < batchSize; row++) {
    const start = row * contextLength;
    // The window as text: the first token, which is no target, and all targets.
    const tokens = [inputs[start]!, ...batch.targets.subarray(start, start + contextLength)];
    const place = places.of(tokens);
    for (let first = 0, next = 1; first < tokens.length; first = next, next++) {
      while (next < tokens.length && place[next]! > 0) next++;
      const pivot = first + Math.floor((next - first) * share());
      for (let token = Math.max(first, 1); token < pivot; token++) targets[start + token - 1] = UNLEARNED;
    }
  }
  return { ...batch, targets };
}
