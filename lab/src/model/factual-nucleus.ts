/**
 * @file Factual-nucleus sampling: the later a word comes in its sentence, the more it is bound by what stands before, and the
 * less should be left to chance. Lee et al. 2022 (FactualityPrompts), section 4.
 */
import { invariant } from '../base/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { nextTokenDistribution, type Sampler } from './sampling.ts';
import { SentencePlaces } from './sentences.ts';

export interface FactualNucleusOptions {
  /** p of a sentence's first token (default 0.9, as all of these from the paper). */
  readonly topP?: number;
  /** λ: what p is multiplied by from token to token (default 0.9). */
  readonly decay?: number;
  /** ω: what p does not fall below (default 0.3). */
  readonly floor?: number;
}

/**
 * p of the token at a place of its sentence: max(ω, p λ^place), where the paper's t is place + 1.
 *
 * @throws RangeError for numbers that are no probabilities.
 */
export function factualTopP(place: number, { topP = 0.9, decay = 0.9, floor = 0.3 }: FactualNucleusOptions = {}): number {
  for (const [name, value] of Object.entries({ topP, decay, floor })) {
    invariant(value > 0 && value <= 1, `factualTopP: ${name} must be above 0 and at most 1, got ${value}`);
  }
  return Math.max(floor, topP * decay ** place);
}

/** For `generate({ sampler })`: top-p with a p that falls in each sentence; every other option is as it was. */
export function factualNucleus(tokenizer: Tokenizer, options: FactualNucleusOptions = {}): Sampler {
  const places = new SentencePlaces(tokenizer);
  factualTopP(0, options);
  return (logits, sampling) => {
    const place = places.of(sampling.previous ?? []).at(-1)!;
    return nextTokenDistribution(logits, { ...sampling, topP: factualTopP(place, options) });
  };
}
