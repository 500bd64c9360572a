/**
 * @file Which tokens were better than expected: rewards and values of one sequence become advantages and returns.
 * Generalized advantage estimation: Schulman et al. 2016, equation 16. Group-relative: Shao et al. 2024 (GRPO), section 4.1.
 * On plain numbers: they come from the host and are few.
 */
import { invariant } from '../base/index.ts';
import { mean } from '../evaluate/bootstrap.ts';

export interface GaeOptions {
  /** What a reward one token later is worth (default 1). */
  readonly gamma?: number;
  /** 0 trusts the values, 1 the rewards (default 0.95). */
  readonly lambda?: number;
}

export interface Advantages {
  readonly advantages: Float64Array;
  /** What the values should have said: advantages + values, before any whitening. */
  readonly returns: Float64Array;
}

/**
 * δ_t = r_t + γ V_{t+1} − V_t and A_t = δ_t + γλ A_{t+1}; after the last real token there is nothing.
 *
 * @param rewards of each token of one completion, without padding @param values of the states before each
 */
export function generalizedAdvantages(rewards: ArrayLike<number>, values: ArrayLike<number>, options: GaeOptions = {}): Advantages {
  const { gamma = 1, lambda = 0.95 } = options;
  invariant(rewards.length === values.length, `generalizedAdvantages: ${rewards.length} rewards, ${values.length} values`);
  const advantages = new Float64Array(rewards.length);
  let after = 0;
  for (let t = rewards.length - 1; t >= 0; t--) {
    const delta = rewards[t]! + gamma * (values[t + 1] ?? 0) - values[t]!;
    advantages[t] = after = delta + gamma * lambda * after;
  }
  return { advantages, returns: advantages.map((advantage, t) => advantage + values[t]!) };
}

/** Of each token the penalty −β log π/π_reference, and at the last real one the score, too. @returns rewards, as many as tokens */
export function tokenRewards(policy: ArrayLike<number>, reference: ArrayLike<number>, score: number, beta: number): Float64Array {
  invariant(policy.length === reference.length && policy.length > 0, 'tokenRewards: log-probabilities of one or more tokens');
  const rewards = Float64Array.from(policy as ArrayLike<number> & Iterable<number>, (logP, t) => -beta * (logP - reference[t]!));
  rewards[rewards.length - 1]! += score;
  return rewards;
}

/**
 * Mean 0 and variance 1, with TRL's epsilon in the root and the unbiased variance. Give it real tokens alone: padding would
 * shrink the variance.
 *
 * @param keepMean leave the mean as it is (default false)
 */
export function whiten(values: readonly number[], keepMean = false): number[] {
  if (values.length < 2) return keepMean ? [...values] : values.map(() => 0);
  const center = mean(values);
  const variance = values.reduce((sum, value) => sum + (value - center) ** 2, 0) / (values.length - 1);
  return values.map((value) => (value - center) / Math.sqrt(variance + 1e-8) + (keepMean ? center : 0));
}

/** (r − mean)/(std + 1e-4) among the answers to one prompt, with the unbiased standard deviation; GRPO's advantages. */
export function groupAdvantages(rewards: readonly number[]): number[] {
  invariant(rewards.length >= 2, `groupAdvantages: a group has two answers or more, got ${rewards.length}`);
  const center = mean(rewards);
  const deviation = Math.sqrt(rewards.reduce((sum, reward) => sum + (reward - center) ** 2, 0) / (rewards.length - 1));
  return rewards.map((reward) => (reward - center) / (deviation + 1e-4));
}
