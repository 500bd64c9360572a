/**
 * @file Chapter 11, RLHF: its exercises, the library's functions in their place, and how the reader's answers become the steps
 * of the PPO that trains a model.
 */
import {
  adaptedBeta,
  clippedObjective,
  completionBatch,
  generalizedAdvantages,
  klEstimate,
  pairwiseLoss,
  tokenRewards,
  whiten,
  type PPOParts,
} from '../../align/index.ts';
import { tf, type Scalar, type Tensor1D } from '../../backend/index.ts';
import type { Answer, Assembly, Chapter } from '../exercise.ts';

/** The library's batch is as long as its longest sample; this row may be longer. */
function completionRow(
  prompt: number[],
  completion: number[],
  length: number,
  padding: number,
): { inputs: number[]; targets: number[] } {
  const { inputs, targets } = completionBatch([{ prompt, completion }], padding);
  const filled = (row: Int32Array, rest: number): number[] => Array.from({ length }, (_, i) => row[i] ?? rest);
  return { inputs: filled(inputs, padding), targets: filled(targets, -100) };
}

function pairLoss(chosen: Tensor1D, rejected: Tensor1D, margins: Tensor1D): Scalar {
  return pairwiseLoss(chosen, rejected, { margins });
}

/** The library knows its samples by their length. Where a batch has room for one token more, the last real one is read. */
function scoreColumns(rows: number[][], prompts: number[], end: number): number[] {
  return rows.map((row, i) => {
    const behind = row.slice(prompts[i]);
    const at = behind.indexOf(end);
    const completion = at < 0 ? behind : behind.slice(0, at + 1);
    return completionBatch([{ prompt: row.slice(0, prompts[i]), completion: [...completion, end] }]).lastTargets[0]!;
  });
}

function klEstimates(policy: number[], reference: number[]): { k1: number[]; k2: number[]; k3: number[] } {
  const by = (estimator: 'k1' | 'k2' | 'k3'): number[] =>
    tf.tidy(() => Array.from(klEstimate(tf.tensor1d(policy), tf.tensor1d(reference), estimator).dataSync()));
  return { k1: by('k1'), k2: by('k2'), k3: by('k3') };
}

function gae(
  rewards: number[],
  values: number[],
  gamma: number,
  lambda: number,
): { advantages: number[]; returns: number[] } {
  const { advantages, returns } = generalizedAdvantages(rewards, values, { gamma, lambda });
  return { advantages: Array.from(advantages), returns: Array.from(returns) };
}

function whitenMasked(values: number[][], mask: number[][]): number[][] {
  const white = whiten(values.flatMap((row, i) => row.filter((_, t) => mask[i]![t] === 1)));
  return values.map((row, i) => row.map((_, t) => (mask[i]![t] === 1 ? white.shift()! : 0)));
}

/** Rows of different lengths, side by side with padding, and back: what the reader's function is asked for. */
function withPadding(whitenPadded: typeof whitenMasked): PPOParts['whiten'] {
  return (rows) => {
    const length = Math.max(...rows.map((row) => row.length));
    const padded = (value: (row: readonly number[], t: number) => number): number[][] =>
      rows.map((row) => Array.from({ length }, (_, t) => value(row, t)));
    const white = whitenPadded(padded((row, t) => row[t] ?? 0), padded((row, t) => (t < row.length ? 1 : 0)));
    return rows.map((row, i) => white[i]!.slice(0, row.length));
  };
}

type Objective = (now: Tensor1D, before: Tensor1D, advantages: Tensor1D, clip: number) => Tensor1D;

function plugPart(assembly: Assembly, part: Partial<PPOParts>): void {
  assembly.ppo = { ...assembly.ppo, ...part };
}

export const chapter: Chapter = {
  number: 11,
  slug: '11-rlhf',
  title: 'RLHF',
  exercises: [
    {
      id: '11.1',
      title: 'what is to be learned',
      names: ['completionRow'],
      difficulty: 2,
      minutes: 15,
      library: { completionRow },
    },
    { id: '11.2', title: 'the loss of a pair', names: ['pairLoss'], difficulty: 2, minutes: 15, library: { pairLoss } },
    {
      id: '11.3',
      title: 'where the score stands',
      names: ['scoreColumns'],
      difficulty: 2,
      minutes: 10,
      library: { scoreColumns },
    },
    {
      id: '11.4',
      title: 'how far from the reference',
      names: ['klEstimates'],
      difficulty: 1,
      minutes: 10,
      library: { klEstimates },
    },
    {
      id: '11.5',
      title: 'a reward for each token',
      names: ['tokenRewards'],
      difficulty: 2,
      minutes: 10,
      library: { tokenRewards: (...given: Parameters<typeof tokenRewards>) => Array.from(tokenRewards(...given)) },
      room: "PPO's rewards",
      plug: ({ tokenRewards: own }: Answer, assembly: Assembly) => {
        const rewards = own as (policy: number[], reference: number[], score: number, beta: number) => number[];
        const part: PPOParts['tokenRewards'] = (policy, reference, score, beta) =>
          rewards(Array.from(policy), Array.from(reference), score, beta);
        plugPart(assembly, { tokenRewards: part });
      },
    },
    {
      id: '11.6',
      title: 'advantages',
      names: ['gae'],
      difficulty: 3,
      minutes: 20,
      library: { gae },
      room: "PPO's advantages",
      plug: ({ gae: own }: Answer, assembly: Assembly) => {
        const part: PPOParts['advantages'] = (rewards, values, { gamma = 1, lambda = 0.95 }) => {
          const { advantages, returns } = (own as typeof gae)(Array.from(rewards), Array.from(values), gamma, lambda);
          return { advantages: Float64Array.from(advantages), returns: Float64Array.from(returns) };
        };
        plugPart(assembly, { advantages: part });
      },
    },
    {
      id: '11.7',
      title: 'whitening under a mask',
      names: ['whiten'],
      difficulty: 2,
      minutes: 15,
      library: { whiten: whitenMasked },
      room: "PPO's whitening",
      plug: ({ whiten: own }: Answer, assembly: Assembly) =>
        plugPart(assembly, { whiten: withPadding(own as typeof whitenMasked) }),
    },
    {
      id: '11.8',
      title: 'the clipped objective',
      names: ['clippedObjective'],
      difficulty: 3,
      minutes: 20,
      library: {
        clippedObjective: ((now, before, advantages, clip) =>
          clippedObjective(now, before, advantages, { clip })) satisfies Objective,
      },
      room: "PPO's objective",
      plug: ({ clippedObjective: own }: Answer, assembly: Assembly) => {
        const part: PPOParts['objective'] = (now, before, advantages, { clip = 0.2 }) =>
          (own as Objective)(now, before, advantages, clip);
        plugPart(assembly, { objective: part });
      },
    },
    {
      id: '11.9',
      title: 'a price that follows the distance',
      names: ['adaptBeta'],
      difficulty: 1,
      minutes: 10,
      library: { adaptBeta: adaptedBeta },
      room: "PPO's price of distance",
      plug: ({ adaptBeta }: Answer, assembly: Assembly) => {
        plugPart(assembly, { adaptBeta: adaptBeta as typeof adaptedBeta });
      },
    },
  ],
};
