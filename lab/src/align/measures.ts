/**
 * @file What became of a model by alignment: how good its answers are, how far it went for that, and what it paid in variety.
 * Distinct-n: Li et al. 2016.
 */
import { offTape } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import { bootstrapInterval, perplexity, type BootstrapOptions, type ConfidenceInterval } from '../evaluate/index.ts';
import { mean } from '../evaluate/bootstrap.ts';
import type { Transformer } from '../model/index.ts';
import { completionBatch, type Sample } from './completions.ts';
import { countedTargets, sequenceSums } from './log-probabilities.ts';
import { logProbabilities, type Policy } from './policy.ts';

/** Different n-grams of the answers, as a share of all their n-grams; NaN where there is none. */
export function distinctN(samples: readonly Sample[], n: number): number {
  invariant(Number.isInteger(n) && n >= 1, `distinctN: n must be 1, 2, …, got ${n}`);
  const grams = samples.flatMap(({ completion }) =>
    completion.slice(n - 1).map((_, i) => completion.slice(i, i + n).join()),
  );
  return new Set(grams).size / grams.length;
}

export interface WinRate {
  /** Share of the prompts at which the first is better; equal ones count half. */
  readonly rate: number;
  readonly interval: ConfidenceInterval;
}

/** @param first rewards of one model's answers @param second of the other's, to the same prompts */
export function winRate(first: readonly number[], second: readonly number[], options: BootstrapOptions = {}): WinRate {
  invariant(first.length === second.length, `winRate: ${first.length} rewards of the first model, ${second.length} of the second`);
  const wins = first.map((reward, i) => (reward > second[i]! ? 1 : reward === second[i]! ? 0.5 : 0));
  return { interval: bootstrapInterval(wins, mean, options), rate: mean(wins) };
}

/** Of each answer Σ log π, in nats. */
export async function answerLogProbabilities(model: Transformer, samples: readonly Sample[], batchSize = 64): Promise<number[]> {
  const found: number[] = [];
  for (let start = 0; start < samples.length; start += batchSize) {
    const sums = offTape(() => {
      const batch = completionBatch(samples.slice(start, start + batchSize));
      const targets = countedTargets(batch);
      return sequenceSums(logProbabilities(model, batch, targets), targets);
    });
    found.push(...(await sums.data()));
    sums.dispose();
  }
  return found;
}

/**
 * Of each answer Σ log π/π_reference, in nats: its mean over answers that the policy drew at temperature 1 is the KL.
 *
 * @param asReferenceSees the same answers behind what the reference was asked, where that is not what the policy was asked
 *   (chain of hindsight puts a mark before an answer)
 */
export async function sequenceKl(
  policy: Policy,
  samples: readonly Sample[],
  asReferenceSees: readonly Sample[] = samples,
): Promise<number[]> {
  invariant(samples.length === asReferenceSees.length, `sequenceKl: ${samples.length} answers, ${asReferenceSees.length} of the reference`);
  const own = await answerLogProbabilities(policy.model, samples);
  const its = await policy.withReference((reference) => answerLogProbabilities(reference, asReferenceSees));
  return own.map((logP, i) => logP - its[i]!);
}

export interface AlignmentMeasures {
  /** Means over the answers. */
  readonly reward: number;
  readonly rewardInterval: ConfidenceInterval;
  /** By what the policy was trained with, if that was given. */
  readonly proxyReward?: number;
  /** Nats an answer. */
  readonly kl: number;
  /** Tokens. */
  readonly length: number;
  readonly distinct1: number;
  readonly distinct2: number;
  /** On the text that was learned first, if it was given: how much of it was forgotten. */
  readonly perplexity?: number;
}

export interface AlignmentMeasureOptions extends BootstrapOptions {
  /** What the policy was trained with, of the same answers. */
  readonly proxyRewards?: readonly number[];
  /** Token ids of the kind that the model learned first, which it has not seen. */
  readonly pretrainingText?: ArrayLike<number>;
  /** As `sequenceKl` has it. */
  readonly asReferenceSees?: readonly Sample[];
}

/** @param samples what the policy wrote at temperature 1 @param rewards of them, the true ones where they are known */
export async function measureAlignment(
  policy: Policy,
  samples: readonly Sample[],
  rewards: readonly number[],
  { proxyRewards, pretrainingText, asReferenceSees = samples, ...bootstrap }: AlignmentMeasureOptions = {},
): Promise<AlignmentMeasures> {
  for (const [name, given] of Object.entries({ rewards, ...(proxyRewards && { proxyRewards }) })) {
    invariant(samples.length === given.length, `measureAlignment: ${samples.length} answers, ${given.length} ${name}`);
  }
  const text = pretrainingText && (await perplexity(policy.model, pretrainingText, { quiet: true }));
  return {
    reward: mean(rewards),
    rewardInterval: bootstrapInterval(rewards, mean, bootstrap),
    ...(proxyRewards && { proxyReward: mean(proxyRewards) }),
    kl: mean(await sequenceKl(policy, samples, asReferenceSees)),
    length: mean(samples.map(({ completion }) => completion.length)),
    distinct1: distinctN(samples, 1),
    distinct2: distinctN(samples, 2),
    ...(text && { perplexity: text.perplexity }),
  };
}
