/**
 * @file What became of a model by alignment: how good its answers are, how far it went for that, and what it paid in variety.
 * Distinct-n: Li et al. 2016.
 */
import { tf } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import { bootstrapInterval, type BootstrapOptions, type ConfidenceInterval } from '../evaluate/index.ts';
import { completionBatch, type Sample } from './completions.ts';
import { countedTargets, sequenceSums } from './log-probabilities.ts';
import { logProbabilities, referenceLogProbabilities, type Policy } from './policy.ts';

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
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  return { interval: bootstrapInterval(wins, mean, options), rate: mean(wins) };
}

/** Of each answer Σ log π/π_reference, in nats: its mean over answers that the policy drew at temperature 1 is the KL. */
export async function sequenceKl(policy: Policy, samples: readonly Sample[], batchSize = 64): Promise<number[]> {
  const found: number[] = [];
  for (let start = 0; start < samples.length; start += batchSize) {
    const sums = tf.tidy(() => {
      const batch = completionBatch(samples.slice(start, start + batchSize));
      const targets = countedTargets(batch);
      const reference = referenceLogProbabilities(policy, batch, targets);
      return sequenceSums(tf.sub<tf.Tensor1D>(logProbabilities(policy.model, batch, targets), reference), targets);
    });
    found.push(...(await sums.data()));
    sums.dispose();
  }
  return found;
}

export interface AlignmentMeasures {
  /** Means over the answers. */
  readonly reward: number;
  readonly rewardInterval: ConfidenceInterval;
  /** Nats an answer. */
  readonly kl: number;
  /** Tokens. */
  readonly length: number;
  readonly distinct1: number;
  readonly distinct2: number;
}

/** @param samples what the policy wrote at temperature 1 @param rewards of them */
export async function measureAlignment(
  policy: Policy,
  samples: readonly Sample[],
  rewards: readonly number[],
  options: BootstrapOptions = {},
): Promise<AlignmentMeasures> {
  invariant(samples.length === rewards.length, `measureAlignment: ${samples.length} answers, ${rewards.length} rewards`);
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  return {
    reward: mean(rewards),
    rewardInterval: bootstrapInterval(rewards, mean, options),
    kl: mean(await sequenceKl(policy, samples)),
    length: mean(samples.map(({ completion }) => completion.length)),
    distinct1: distinctN(samples, 1),
    distinct2: distinctN(samples, 2),
  };
}
