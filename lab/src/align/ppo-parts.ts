/**
 * @file The steps of PPO that can be exchanged: each is a function of plain numbers or tensors, and `ppo` runs on others where
 * they are given.
 */
import type { Tensor1D } from '../backend/index.ts';
import { generalizedAdvantages, tokenRewards, whiten, type Advantages, type GaeOptions } from './advantages.ts';
import { clippedObjective, type RatioClip } from './losses/clipped.ts';

export interface PPOParts {
  /** From one answer's log-probabilities under the policy and its reference, its score and β: a reward for each token. */
  tokenRewards(policy: ArrayLike<number>, reference: ArrayLike<number>, score: number, beta: number): ArrayLike<number>;
  /** Of one answer's tokens. */
  advantages(rewards: ArrayLike<number>, values: ArrayLike<number>, options: GaeOptions): Advantages;
  /** The advantages of all answers, a row each, and of real tokens alone. */
  whiten(rows: readonly (readonly number[])[]): readonly (readonly number[])[];
  /** What is minimized, for each token: [N]. */
  objective(now: Tensor1D, before: Tensor1D, advantages: Tensor1D, options: RatioClip): Tensor1D;
  /** The next β, from this one, the KL of an answer and the KL that is wanted. */
  adaptBeta(beta: number, kl: number, target: number): number;
}

/** All tokens of all answers together. */
function whitenRows(rows: readonly (readonly number[])[]): number[][] {
  const white = whiten(rows.flat());
  return rows.map((row) => white.splice(0, row.length));
}

/** β (1 + 0.1 e), where e = KL/target − 1, at most ±0.2 of it. Ziegler et al. 2019, section 2.2. */
export function adaptedBeta(beta: number, kl: number, target: number): number {
  return beta * (1 + 0.1 * Math.min(0.2, Math.max(-0.2, kl / target - 1)));
}

/** The library's own. */
export const ppoParts: PPOParts = {
  tokenRewards,
  advantages: generalizedAdvantages,
  whiten: whitenRows,
  objective: clippedObjective,
  adaptBeta: adaptedBeta,
};
