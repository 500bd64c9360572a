/**
 * @file The better of many answers: best-of-n shows them, RAFT learns from them. Dong et al. 2023 (RAFT), algorithm 1;
 * Stiennon et al. 2020 (best-of-n).
 */
import { invariant } from '../base/index.ts';
import type { Transformer } from '../model/index.ts';
import type { Sample } from './completions.ts';
import { rollout, type RolloutOptions } from './rollout.ts';
import { supervisedFineTuning, type SupervisedOptions } from './supervised.ts';

/** How good answers are: a number for each, from a formula, a reward model or people. */
export type AnswerReward = (samples: readonly Sample[]) => Promise<readonly number[]> | readonly number[];

/** K answers to each prompt, and what each is worth. */
export interface RankedGroup {
  readonly samples: readonly Sample[];
  readonly rewards: readonly number[];
}

export async function sampleGroups(
  model: Transformer,
  prompts: readonly (readonly number[])[],
  reward: AnswerReward,
  { k, ...options }: RolloutOptions & { readonly k: number },
): Promise<RankedGroup[]> {
  invariant(Number.isInteger(k) && k >= 1, `sampleGroups: k must be 1, 2, …, got ${k}`);
  const samples = await rollout(model, prompts.flatMap((prompt) => Array.from({ length: k }, () => prompt)), options);
  const rewards = await reward(samples);
  invariant(rewards.length === samples.length, `sampleGroups: ${samples.length} answers, ${rewards.length} rewards`);
  return prompts.map((_, i) => {
    const [start, end] = [i * k, (i + 1) * k];
    return { samples: samples.slice(start, end), rewards: rewards.slice(start, end) };
  });
}

/** The best answer to each prompt; of equal ones the first. */
export function bestOfGroups(groups: readonly RankedGroup[]): Sample[] {
  return groups.map(({ samples, rewards }) => samples[rewards.indexOf(Math.max(...rewards))]!);
}

/** As many answers as there are prompts, the best over all prompts: easy prompts may give several, hard ones none. */
export function bestOfAll(groups: readonly RankedGroup[]): Sample[] {
  const all = groups.flatMap(({ samples, rewards }) => samples.map((sample, i) => ({ sample, reward: rewards[i]! })));
  return all
    .toSorted((a, b) => b.reward - a.reward)
    .slice(0, groups.length)
    .map(({ sample }) => sample);
}

/**
 * log n − (n − 1)/n: how far best-of-n goes from the model it draws from, in nats, at most (where no two answers are worth the
 * same, exactly). Stiennon et al. 2020, appendix G.3.
 */
export function bestOfKl(n: number): number {
  invariant(Number.isInteger(n) && n >= 1, `bestOfKl: n must be 1, 2, …, got ${n}`);
  return Math.log(n) - (n - 1) / n;
}

export interface RaftOptions extends Omit<RolloutOptions, 'batchSize'> {
  /** Rounds of writing and learning (default 20). */
  readonly iterations?: number;
  /** Answers to each prompt (default 8). */
  readonly k?: number;
  /** 'local': the best answer to each prompt; 'global': the best over all prompts; or a choice of one's own (default 'local'). */
  readonly ranking?: 'local' | 'global' | ((groups: readonly RankedGroup[]) => readonly Sample[]);
  /** How each round learns. */
  readonly training: SupervisedOptions;
}

/**
 * Writes K answers to each prompt at temperature 0.85, keeps the best, learns them, again.
 *
 * @param model changed in place
 * @returns the mean reward of all answers of each round, before it learned from them
 */
export async function raft(
  model: Transformer,
  prompts: readonly (readonly number[])[],
  reward: AnswerReward,
  { iterations = 20, k = 8, ranking = 'local', training, seed = 0, temperature = 0.85, ...options }: RaftOptions,
): Promise<number[]> {
  const choose = typeof ranking === 'function' ? ranking : { local: bestOfGroups, global: bestOfAll }[ranking];
  const means: number[] = [];
  for (let round = 0; round < iterations; round++) {
    const groups = await sampleGroups(model, prompts, reward, { ...options, k, temperature, seed: seed + round });
    const rewards = groups.flatMap((group) => group.rewards);
    means.push(rewards.reduce((sum, value) => sum + value, 0) / rewards.length);
    const kept = choose(groups);
    const { interrupted } = await supervisedFineTuning(model, kept, { ...training, seed: seed + round });
    if (interrupted) break;
  }
  return means;
}
