/**
 * @file The ways to align one model, each with its settings: what they start from is the same, what they learn from is the same
 * people's judgement, and every method says how many answers it needed.
 */
import {
  bestOfGroups,
  bestOfKl,
  directPreferenceOptimization,
  grpo,
  hindsightPrompt,
  hindsightSamples,
  policyOf,
  ppo,
  pretrainingSamples,
  raft,
  rollout,
  sampleGroups,
  supervisedFineTuning,
  type AnswerReward,
  type PreferencePair,
  type Sample,
} from '../../align/index.ts';
import { LabError } from '../../base/index.ts';
import { mean } from '../../evaluate/bootstrap.ts';
import type { Transformer } from '../../model/index.ts';
import { copyOf } from '../../quantize/index.ts';
import type { AlignmentStart } from './start.ts';

/** One method with its settings; which of them it reads is the method's matter. */
export interface MethodSettings {
  readonly method: 'SFT' | 'best-of-n' | 'RAFT' | 'DPO' | 'CoH' | 'PPO' | 'GRPO';
  /** The price of distance: PPO, DPO, GRPO. */
  readonly beta?: number;
  /** Answers of which the best is taken: best-of-n, RAFT; or which are compared: GRPO. */
  readonly k?: number;
  /** Rounds of writing and learning: RAFT, PPO, GRPO. */
  readonly rounds?: number;
  /** Of learning: DPO, CoH. */
  readonly steps?: number;
  readonly learningRate?: number;
}

/** What every method is given. */
export interface Ground {
  readonly start: AlignmentStart;
  readonly pairs: readonly PreferencePair[];
  /** What stands for people where a method writes answers of its own. */
  readonly reward: AnswerReward;
  readonly seed: number;
}

/** A batch of answers that a method wrote and learned from. */
export interface PathPoint {
  /** Answers so far, these included. */
  readonly answers: number;
  readonly trueReward: number;
  readonly proxyReward: number;
  /** Nats an answer, where the method knows. */
  readonly kl?: number;
}

export interface Aligned {
  /** Its own; `dispose` it. */
  readonly model: Transformer;
  /** Answers to these prompts. */
  readonly write: (prompts: readonly (readonly number[])[], seed: number) => Promise<Sample[]>;
  /** How a prompt is asked, where it is not asked as it stands. */
  readonly asked?: (prompt: readonly number[]) => number[];
  /** From SFT, where a formula says it. */
  readonly kl?: number;
  /** Answers that were learned from or chosen among, other than those of the reward model. */
  readonly answers: number;
  readonly path: readonly PathPoint[];
}

export const MAX_TOKENS = 10;
/** PPO writes so many answers to each question in a round. */
const PPO_ANSWERS = 4;
/** RAFT takes so many steps on what it kept. */
const RAFT_STEPS = 10;
const BATCH = 32;

/** @throws LabError for a setting that the method needs and was not given. */
export async function align(settings: MethodSettings, ground: Ground): Promise<Aligned> {
  const { market, model: sft } = ground.start;
  const model = copyOf(sft);
  const writing = { maxTokens: MAX_TOKENS, endToken: market.end };
  const plain: Aligned = {
    model,
    write: (prompts, seed) => rollout(model, prompts, { ...writing, seed }),
    answers: 0,
    path: [],
  };
  switch (settings.method) {
    case 'SFT':
      return plain;
    case 'best-of-n': {
      const n = needed(settings, 'k');
      const write = async (prompts: readonly (readonly number[])[], seed: number): Promise<Sample[]> =>
        bestOfGroups(await sampleGroups(model, prompts, ground.reward, { ...writing, k: n, seed }));
      return { ...plain, write, kl: bestOfKl(n), answers: n };
    }
    case 'DPO':
      return { ...plain, answers: await learnPairs(model, settings, ground) };
    case 'CoH':
      return { ...plain, answers: await learnHindsight(model, settings, ground), asked: (prompt) => hindsightPrompt(prompt, market.marks) };
    default: {
      const path = await learnOwn(model, settings, ground, writing);
      return { ...plain, answers: path.at(-1)?.answers ?? 0, path };
    }
  }
}

async function learnPairs(model: Transformer, settings: MethodSettings, { start, pairs, seed }: Ground): Promise<number> {
  await directPreferenceOptimization(policyOf(model, start.model), pairs, {
    beta: needed(settings, 'beta'),
    steps: needed(settings, 'steps'),
    learningRate: needed(settings, 'learningRate'),
    batchSize: BATCH,
    seed,
    quiet: true,
  });
  return 2 * pairs.length;
}

async function learnHindsight(model: Transformer, settings: MethodSettings, { start, pairs, seed }: Ground): Promise<number> {
  const { market, text } = start;
  const first = pretrainingSamples(text, { count: Math.ceil(pairs.length / 4), length: 16, seed });
  await supervisedFineTuning(model, [...hindsightSamples(pairs, market.marks), ...first], {
    steps: needed(settings, 'steps'),
    learningRate: needed(settings, 'learningRate'),
    batchSize: BATCH,
    seed,
    quiet: true,
  });
  return 2 * pairs.length;
}

/** The methods that write answers and learn from what these are worth. */
async function learnOwn(
  model: Transformer,
  settings: MethodSettings,
  { start, reward, seed }: Ground,
  writing: { readonly maxTokens: number; readonly endToken: number },
): Promise<PathPoint[]> {
  const { market, model: sft } = start;
  const path: PathPoint[] = [];
  const watched: AnswerReward = async (samples) => {
    const rewards = await reward(samples);
    const answers = (path.at(-1)?.answers ?? 0) + samples.length;
    path.push({ answers, trueReward: mean(samples.map(market.trueReward)), proxyReward: mean(rewards) });
    return rewards;
  };
  const prompts = market.questions.map(({ ids }) => ids);
  const [rounds, learningRate] = [needed(settings, 'rounds'), needed(settings, 'learningRate')];
  const common = { ...writing, iterations: rounds, seed, quiet: true };
  if (settings.method === 'RAFT') {
    const training = { steps: RAFT_STEPS, learningRate, batchSize: BATCH, quiet: true };
    await raft(model, prompts, watched, { ...common, k: needed(settings, 'k'), training });
    return path;
  }
  const policy = policyOf(model, sft);
  const beta = needed(settings, 'beta');
  const { reports } =
    settings.method === 'GRPO'
      ? await grpo(policy, prompts, watched, { ...common, beta, learningRate, epochs: 2, groupSize: needed(settings, 'k') })
      : await ppo(policy, Array.from({ length: PPO_ANSWERS }, () => prompts).flat(), watched, {
          ...common,
          beta,
          learningRate,
          epochs: 2,
          batchSize: BATCH,
        });
  return path.map((point, i) => ({ ...point, kl: reports[i]!.kl }));
}

function needed(settings: MethodSettings, name: 'beta' | 'k' | 'rounds' | 'steps' | 'learningRate'): number {
  const value = settings[name];
  if (value === undefined) throw new LabError(`${settings.method} needs the setting '${name}'.`);
  return value;
}
