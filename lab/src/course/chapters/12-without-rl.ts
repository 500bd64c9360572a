/**
 * @file Chapter 12, alignment without PPO: its exercises, the library's functions in their place, and how the reader's loss of
 * DPO becomes the one that a model is trained with.
 */
import {
  bestOfAll,
  bestOfGroups,
  directLoss,
  hindsightSamples,
  type DirectOptions,
  type HindsightMarks,
  type PreferencePair,
  type RankedGroup,
  type Sample,
} from '../../align/index.ts';
import type { Scalar, Tensor1D } from '../../backend/index.ts';
import { mean } from '../../evaluate/bootstrap.ts';
import type { Answer, Assembly, Chapter } from '../exercise.ts';

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

function bestPolicy(reference: number[], rewards: number[], beta: number): number[] {
  const highest = Math.max(...rewards);
  const weights = reference.map((p, i) => p * Math.exp((rewards[i]! - highest) / beta));
  return weights.map((weight) => weight / sum(weights));
}

function implicitRewards(policy: number[][], reference: number[][], counts: number[][], beta: number): number[] {
  return policy.map((tokens, i) => beta * sum(tokens.map((logP, t) => (logP - reference[i]![t]!) * counts[i]![t]!)));
}

function dpoLoss(chosen: Tensor1D, rejected: Tensor1D, beta: number): Scalar {
  return directLoss({ chosen, rejected }, { beta });
}

function dpoWeights(chosen: number[], rejected: number[], beta: number): number[] {
  return chosen.map((gain, i) => beta / (1 + Math.exp(beta * (gain - rejected[i]!))));
}

function ipoLoss(chosen: Tensor1D, rejected: Tensor1D, beta: number): Scalar {
  return directLoss({ chosen, rejected }, { kind: 'ipo', beta });
}

/** The library ranks samples; what stands for one here is where it comes from. */
function groupsOf(rewards: number[][]): RankedGroup[] {
  return rewards.map((group, prompt) => ({
    samples: group.map((_, answer): Sample => ({ prompt: [prompt], completion: [answer] })),
    rewards: group,
  }));
}

function bestOfEach(rewards: number[][]): number[] {
  return bestOfGroups(groupsOf(rewards)).map(({ completion }) => completion[0]!);
}

function bestPlaces(rewards: number[][]): [number, number][] {
  return bestOfAll(groupsOf(rewards)).map(({ prompt, completion }) => [prompt[0]!, completion[0]!]);
}

function hindsight(pair: PreferencePair, marks: HindsightMarks): Sample[] {
  return hindsightSamples([pair], marks);
}

interface JudgedLogProbabilities {
  readonly policy: number[];
  readonly reference: number[];
  readonly reward: number;
}

function frontierPoint(answers: readonly JudgedLogProbabilities[]): { kl: number; reward: number } {
  const gone = answers.map(({ policy, reference }) => sum(policy.map((logP, t) => logP - reference[t]!)));
  return { kl: mean(gone), reward: mean(answers.map(({ reward }) => reward)) };
}

function hackedFrom(proxy: number[], truth: number[]): number {
  const top = truth.indexOf(Math.max(...truth));
  const end = truth.length - 1;
  return truth[end]! < truth[top]! && proxy[end]! > proxy[top]! ? top : -1;
}

/** The reader's loss in the place of the library's. */
function lossRoom(answer: Answer): Pick<DirectOptions, 'pairLoss'> {
  const loss = answer['dpoLoss'] as typeof dpoLoss;
  return { pairLoss: ({ chosen, rejected }, options) => loss(chosen, rejected, options?.beta ?? 0.1) };
}

export const chapter: Chapter = {
  number: 12,
  slug: '12-without-rl',
  title: 'Without reinforcement learning',
  exercises: [
    { id: '12.1', title: 'the best policy', names: ['bestPolicy'], difficulty: 2, minutes: 15, library: { bestPolicy } },
    {
      id: '12.2',
      title: 'the reward inside a policy',
      names: ['implicitRewards'],
      difficulty: 2,
      minutes: 15,
      library: { implicitRewards },
    },
    {
      id: '12.3',
      title: "DPO's loss",
      names: ['dpoLoss'],
      difficulty: 2,
      minutes: 15,
      library: { dpoLoss },
      room: "DPO's loss",
      plug: (answer: Answer, assembly: Assembly) => {
        assembly.direct = lossRoom(answer);
      },
    },
    { id: '12.4', title: 'what it learns from', names: ['dpoWeights'], difficulty: 3, minutes: 15, library: { dpoWeights } },
    { id: '12.5', title: 'IPO', names: ['ipoLoss'], difficulty: 1, minutes: 10, library: { ipoLoss } },
    {
      id: '12.6',
      title: "RAFT's ranking",
      names: ['bestOfEach', 'bestOfAll'],
      difficulty: 2,
      minutes: 15,
      library: { bestOfEach, bestOfAll: bestPlaces },
    },
    { id: '12.7', title: 'a chain of hindsight', names: ['hindsight'], difficulty: 3, minutes: 20, library: { hindsight } },
    { id: '12.8', title: 'a point of the figure', names: ['frontierPoint'], difficulty: 2, minutes: 10, library: { frontierPoint } },
    { id: '12.9', title: 'where the hack begins', names: ['hackedFrom'], difficulty: 2, minutes: 10, library: { hackedFrom } },
  ],
};
