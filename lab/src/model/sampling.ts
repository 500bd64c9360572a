/**
 * @file From logits to the next token: sharpen or flatten, cut off the tail, draw. On plain numbers, the same for every backend.
 * Top-k: Fan et al. 2018. Top-p (nucleus): Holtzman et al. 2019. Repetition penalty: CTRL, Keskar et al. 2019, section 4.1.
 */
import { invariant } from '../base/index.ts';
import { kthLargest } from './select.ts';

export interface SamplingOptions {
  /** Divides the logits (default 1); 0 always takes the most likely token. */
  readonly temperature?: number;
  /** Only the k most likely tokens; all unless told. */
  readonly topK?: number;
  /** Only the fewest most likely tokens whose probabilities reach p together; all unless told. */
  readonly topP?: number;
  /** Tokens that were there get less likely: their logit is divided by this when positive, else multiplied (default 1: not). */
  readonly repetitionPenalty?: number;
  /** The tokens so far, for the penalty. */
  readonly previous?: ArrayLike<number>;
}

/** `nextTokenDistribution`, or another function of the same contract. */
export type Sampler = (logits: Float32Array, options: SamplingOptions) => Float32Array;

/**
 * The probability of each token to be the next. In the order of the transformers library: penalty, temperature, top-k, top-p.
 * Among equally likely tokens the lower id comes first.
 *
 * @param logits V numbers; left as they are
 * @returns V probabilities that sum to 1
 * @throws RangeError for options out of range.
 */
export function nextTokenDistribution(logits: Float32Array, options: SamplingOptions = {}): Float32Array {
  const { temperature = 1, topK = logits.length, topP = 1, repetitionPenalty = 1, previous = [] } = options;
  checkSamplingOptions(options);
  const scores = penalize(logits, repetitionPenalty, previous);
  const largest = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const weight = (score: number) => Math.exp((score - largest) / (temperature || 1));
  const k = temperature === 0 ? 1 : Math.min(topK, scores.length);
  if (k === scores.length && topP === 1) {
    const total = sum(scores, weight);
    return scores.map((score) => weight(score) / total);
  }
  // Sorted numbers, not sorted tokens: how many pass and the lowest score that does are all that is needed.
  const { descending, total } = k < scores.length ? theLargest(scores, k, weight) : theLikeliest(scores, topP, weight);
  const wanted = topP < 1 ? topP * total : Infinity;
  let kept = 0;
  let mass = 0;
  while (kept < descending.length && (kept === 0 || mass < wanted)) mass += weight(descending[kept++]!);
  const lowest = descending[kept - 1]!;
  let equals = kept - descending.indexOf(lowest);
  return scores.map((score) => (score > lowest || (score === lowest && equals-- > 0) ? weight(score) / mass : 0));
}

interface Candidates {
  /** Their scores, the largest first. */
  readonly descending: Float32Array;
  /** The weights of all that may be chosen, together. */
  readonly total: number;
}

type Weight = (score: number) => number;

/** The k largest scores: sorting them alone is many times faster than sorting a vocabulary. */
function theLargest(scores: Float32Array, k: number, weight: Weight): Candidates {
  const least = kthLargest(scores, k);
  const descending = sorted(scores.filter((score) => score >= least)).subarray(0, k);
  return { descending, total: sum(descending, weight) };
}

/**
 * The scores that a nucleus can need: tokens that each weigh less than (1 − p)/V of all weigh less than 1 − p together, and so
 * the others reach p without them.
 */
function theLikeliest(scores: Float32Array, topP: number, weight: Weight): Candidates {
  const total = sum(scores, weight);
  const least = ((1 - topP) * total) / scores.length;
  return { descending: sorted(scores.filter((score) => weight(score) >= least)), total };
}

function sorted(scores: Float32Array): Float32Array {
  return scores.slice().sort().reverse();
}

/**
 * Draws an index with its probability.
 *
 * @param random gives a uniform number in [0, 1)
 */
export function sampleFrom(distribution: ArrayLike<number>, random: { uniform(): number }): number {
  let total = 0;
  for (let i = 0; i < distribution.length; i++) total += distribution[i]!;
  invariant(total > 0 && Number.isFinite(total), `sampleFrom: the probabilities sum to ${total}`);
  let remaining = random.uniform() * total;
  let last = 0;
  for (let i = 0; i < distribution.length; i++) {
    const probability = distribution[i]!;
    if (probability === 0) continue;
    last = i;
    remaining -= probability;
    if (remaining < 0) return i;
  }
  return last;
}

/** @throws RangeError saying which option is out of range. */
export function checkSamplingOptions({ temperature = 1, topK = 1, topP = 1, repetitionPenalty = 1 }: SamplingOptions): void {
  invariant(temperature >= 0 && Number.isFinite(temperature), `temperature must be 0 or more, got ${temperature}`);
  invariant(Number.isInteger(topK) && topK >= 1, `topK must be a whole number from 1 on, got ${topK}`);
  invariant(topP > 0 && topP <= 1, `topP must be above 0 and at most 1, got ${topP}`);
  invariant(
    repetitionPenalty > 0 && Number.isFinite(repetitionPenalty),
    `repetitionPenalty must be positive, got ${repetitionPenalty}`,
  );
}

function penalize(logits: Float32Array, penalty: number, previous: ArrayLike<number>): Float32Array {
  if (penalty === 1) return logits;
  const penalized = logits.slice();
  for (const token of new Set(Array.from(previous))) {
    const logit = logits[token]!;
    penalized[token] = logit > 0 ? logit / penalty : logit * penalty;
  }
  return penalized;
}

function sum(scores: Float32Array, weight: Weight): number {
  let total = 0;
  for (const score of scores) total += weight(score);
  return total;
}
