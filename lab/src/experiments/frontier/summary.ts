/**
 * @file The runs of all seeds put together: means with intervals, each method beside the model that it started from.
 */
import { winRate, type WinRate } from '../../align/index.ts';
import { invariant } from '../../base/index.ts';
import { mean } from '../../evaluate/bootstrap.ts';
import type { ConfidenceInterval } from '../../evaluate/index.ts';
import type { FrontierRun } from './measure.ts';
import type { MethodSettings } from './methods.ts';

/** Means over the seeds. */
export interface FrontierEntry {
  readonly method: MethodSettings['method'];
  /** `PPO, β 0.1`: the method, and the setting by which it is told from others of its kind. */
  readonly name: string;
  readonly seeds: number;
  readonly trueReward: number;
  readonly proxyReward: number;
  /** Of the true reward over SFT's with the same seed, over the seeds, by Student's t. */
  readonly gain: { readonly mean: number; readonly interval: ConfidenceInterval };
  /** Against SFT's answers to the same questions: all seeds together. */
  readonly wins: WinRate;
  readonly kl: number;
  readonly length: number;
  readonly distinct1: number;
  readonly distinct2: number;
  readonly perplexity: number;
  readonly answers: number;
  readonly seconds: number;
}

/** The 97.5% quantile of Student's t by the degrees of freedom, from 1: with three seeds two, and 4.3 in place of 1.96. */
const STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];

/** The 95% interval of a mean of few values, each of a seed of its own. */
export function seedInterval(values: readonly number[]): ConfidenceInterval {
  const [n, center] = [values.length, mean(values)];
  const quantile = STUDENT[n - 2];
  invariant(quantile !== undefined, `seedInterval: 2 to ${STUDENT.length + 1} seeds, got ${n}`);
  const variance = values.reduce((sum, value) => sum + (value - center) ** 2, 0) / (n - 1);
  const half = quantile * Math.sqrt(variance / n);
  return { low: center - half, high: center + half, level: 0.95 };
}

/** An entry for each method and setting, in the order of their first runs. */
export function frontierEntries(runs: readonly FrontierRun[]): FrontierEntry[] {
  const sft = new Map(runs.filter(({ method }) => method === 'SFT').map((run) => [run.seed, run]));
  const names = new Set(runs.map(settingName));
  return [...names].map((name) => {
    const own = runs.filter((run) => settingName(run) === name);
    const of = (key: 'reward' | 'proxyReward' | 'kl' | 'length' | 'distinct1' | 'distinct2' | 'perplexity' | 'answers' | 'seconds') =>
      mean(own.map((run) => run[key]));
    const gains = own.map((run) => run.reward - sft.get(run.seed)!.reward);
    return {
      method: own[0]!.method,
      name,
      seeds: own.length,
      trueReward: of('reward'),
      proxyReward: of('proxyReward'),
      gain: { mean: mean(gains), interval: seedInterval(gains) },
      wins: winRate(own.flatMap(({ rewards }) => rewards), own.flatMap(({ seed }) => sft.get(seed)!.rewards)),
      kl: of('kl'),
      length: of('length'),
      distinct1: of('distinct1'),
      distinct2: of('distinct2'),
      perplexity: of('perplexity'),
      answers: of('answers'),
      seconds: of('seconds'),
    };
  });
}

/** `DPO, β 0.1`: by what makes it go further or less far. */
export function settingName({ method, beta, k, rounds, steps }: MethodSettings): string {
  if (method === 'SFT') return method;
  if (method === 'best-of-n') return `best of ${k}`;
  if (method === 'RAFT') return `RAFT, ${rounds} ${rounds === 1 ? 'round' : 'rounds'}`;
  return method === 'CoH' ? `CoH, ${steps} steps` : `${method}, β ${beta}`;
}
