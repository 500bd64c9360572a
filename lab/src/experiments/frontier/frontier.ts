/**
 * @file All methods of alignment from one model: what each gains in true reward, and how far it goes for that. And what becomes
 * of a policy that is pushed after a reward with a flaw.
 */
import { join } from 'node:path';
import { evaluateRewardModel, ScoreModel, trainRewardModel, type AnswerReward, type PreferencePair } from '../../align/index.ts';
import { LabError, Progress } from '../../base/index.ts';
import { readText, writeAtomically } from '../../files/index.ts';
import type { Experiment, ExperimentContext } from '../experiment.ts';
import { measuredRun, type FrontierRun } from './measure.ts';
import { align, type Ground, type MethodSettings, type PathPoint } from './methods.ts';
import { alignmentStart, smallAlignmentStart, type AlignmentStart, type AlignmentStartSettings } from './start.ts';
import { frontierEntries, type FrontierEntry } from './summary.ts';

export interface FrontierSettings {
  readonly start: AlignmentStartSettings;
  /** Each has pairs, a reward model and draws of its own. */
  readonly seeds: readonly number[];
  /** Judged by the true reward; the reward model, DPO and CoH learn from the same. */
  readonly pairs: number;
  readonly rewardSteps: number;
  readonly methods: readonly MethodSettings[];
  /** To each question, when a policy is measured. */
  readonly answers: number;
  /** PPO after rewards with a flaw. */
  readonly pushed: MethodSettings;
  /** Of which one of the flawed rewards learned, and in how many steps. */
  readonly fewPairs: number;
  readonly fewSteps: number;
}

/** What a policy was pushed after. */
export const flawedProxies = ['length and sure words', 'reward model of few pairs'] as const;
export type FlawedProxy = (typeof flawedProxies)[number];

export interface PushedRun {
  readonly proxy: FlawedProxy;
  readonly seed: number;
  readonly path: readonly PathPoint[];
}

export interface FrontierResult {
  readonly entries: readonly FrontierEntry[];
  readonly runs: readonly FrontierRun[];
  readonly pushed: readonly PushedRun[];
  /** Of the reward model of each seed: the share of unseen pairs of which it finds the better answer. */
  readonly rewardAccuracy: readonly number[];
}

const setTo = {
  best: (k: number): MethodSettings => ({ method: 'best-of-n', k }),
  raft: (rounds: number): MethodSettings => ({ method: 'RAFT', k: 4, rounds, learningRate: 1e-3 }),
  dpo: (beta: number): MethodSettings => ({ method: 'DPO', beta, steps: 100, learningRate: 7e-4 }),
  hindsight: (steps: number): MethodSettings => ({ method: 'CoH', steps, learningRate: 4e-3 }),
  ppo: (beta: number): MethodSettings => ({ method: 'PPO', beta, rounds: 16, learningRate: 1e-3 }),
  grpo: (beta: number): MethodSettings => ({ method: 'GRPO', k: 8, beta, rounds: 15, learningRate: 1e-3 }),
} as const;

const common = { start: smallAlignmentStart, seeds: [1, 2, 3], pairs: 2000, rewardSteps: 300, fewPairs: 30, fewSteps: 200 } as const;
const chase: MethodSettings = { method: 'PPO', beta: 0, rounds: 20, learningRate: 2e-3 };

export const frontierExperiment: Experiment<FrontierSettings, FrontierResult> = {
  name: 'frontier',
  question: 'What do the methods of alignment gain in true reward, and how far from the model they start from?',
  version: 1,
  settings: {
    small: {
      ...common,
      methods: [
        { method: 'SFT' },
        ...[2, 4, 16].map(setTo.best),
        ...[1, 3].map(setTo.raft),
        ...[1, 0.3].map(setTo.dpo),
        setTo.hindsight(150),
        ...[0.5, 0.15].map(setTo.ppo),
        setTo.grpo(0.3),
      ],
      answers: 16,
      pushed: chase,
    },
    full: {
      ...common,
      methods: [
        { method: 'SFT' },
        ...[2, 4, 8, 16, 64].map(setTo.best),
        ...[1, 2, 3, 8].map(setTo.raft),
        ...[2, 1, 0.5, 0.3].map(setTo.dpo),
        ...[150, 400].map(setTo.hindsight),
        ...[1, 0.5, 0.25, 0.15].map(setTo.ppo),
        ...[0.5, 0.3].map(setTo.grpo),
      ],
      answers: 64,
      pushed: { ...chase, rounds: 40 },
    },
  },
  async run(settings, context) {
    const start = await alignmentStart(settings.start, { quiet: context.quiet });
    try {
      return await new Frontier(start, settings, context).result();
    } finally {
      start.model.dispose();
    }
  },
  describe: ({ entries, rewardAccuracy }) => {
    const accuracy = rewardAccuracy.map((share) => `${(100 * share).toFixed(1)}%`).join(', ');
    return `${describeEntries(entries)}\naccuracy of the reward models on unseen pairs: ${accuracy}`;
  },
};

/** What is found so far; read again when an interrupted experiment goes on. */
interface Found {
  runs: FrontierRun[];
  pushed: PushedRun[];
  rewardAccuracy: number[];
}

class Frontier {
  readonly #start: AlignmentStart;
  readonly #settings: FrontierSettings;
  readonly #context: ExperimentContext;
  readonly #path: string;
  #found: Found = { runs: [], pushed: [], rewardAccuracy: [] };

  constructor(start: AlignmentStart, settings: FrontierSettings, context: ExperimentContext) {
    this.#start = start;
    this.#settings = settings;
    this.#context = context;
    this.#path = join(context.folder, 'runs.json');
  }

  async result(): Promise<FrontierResult> {
    this.#found = await readFound(this.#path);
    const { seeds, methods: all } = this.#settings;
    const total = seeds.length * (all.length + flawedProxies.length);
    const progress = new Progress({ total, from: this.#count(), label: 'frontier', unit: 'runs', quiet: this.#context.quiet });
    for (const seed of seeds) await this.#seed(seed, () => progress.update(this.#count()));
    progress.done();
    return { entries: frontierEntries(this.#found.runs), ...this.#found };
  }

  #count(): number {
    return this.#found.runs.length + this.#found.pushed.length;
  }

  async #seed(seed: number, next: () => void): Promise<void> {
    const { methods: all, answers, pairs: count, pushed } = this.#settings;
    const done = this.#found.runs.filter((run) => run.seed === seed).length;
    const pushedDone = this.#found.pushed.filter((run) => run.seed === seed).length;
    if (done === all.length && pushedDone === flawedProxies.length) return;
    const { market } = this.#start;
    const pairs = market.preferences({ count, seed: 100 + seed });
    const judge = await this.#rewardModel(pairs, this.#settings.rewardSteps, seed);
    const ground: Ground = { start: this.#start, pairs, reward: (samples) => judge.score(samples, 256), seed };
    try {
      if (this.#found.rewardAccuracy.length < seedNumber(this.#settings, seed)) {
        const { accuracy } = await evaluateRewardModel(judge, market.preferences({ count: 300, seed: 200 + seed }));
        this.#found.rewardAccuracy.push(accuracy);
      }
      for (const method of all.slice(done)) {
        this.#found.runs.push(await measuredRun(method, ground, answers));
        await this.#keep(next);
      }
    } finally {
      judge.dispose();
    }
    for (const proxy of flawedProxies.slice(pushedDone)) {
      this.#found.pushed.push({ proxy, seed, path: await this.#pushed(proxy, pushed, ground) });
      await this.#keep(next);
    }
  }

  async #keep(next: () => void): Promise<void> {
    this.#context.throwIfInterrupted();
    await writeAtomically(this.#path, [Buffer.from(JSON.stringify(this.#found))]);
    next();
  }

  async #rewardModel(pairs: readonly PreferencePair[], steps: number, seed: number): Promise<ScoreModel> {
    const judge = new ScoreModel(this.#start.model, seed);
    await trainRewardModel(judge, pairs, { steps, learningRate: 3e-3, batchSize: 32, seed, quiet: true });
    this.#context.throwIfInterrupted();
    return judge;
  }

  async #pushed(proxy: FlawedProxy, settings: MethodSettings, ground: Ground): Promise<readonly PathPoint[]> {
    const { market } = this.#start;
    const { fewPairs, fewSteps } = this.#settings;
    const few = proxy === 'reward model of few pairs' ? ground.pairs.slice(0, fewPairs) : undefined;
    const judge = few && (await this.#rewardModel(few, fewSteps, ground.seed));
    const reward: AnswerReward = judge ? (samples) => judge.score(samples, 256) : (samples) => samples.map(market.flawedReward);
    try {
      const { model, path } = await align(settings, { ...ground, reward });
      model.dispose();
      return path;
    } finally {
      judge?.dispose();
    }
  }
}

function seedNumber({ seeds }: FrontierSettings, seed: number): number {
  return seeds.indexOf(seed) + 1;
}

async function readFound(path: string): Promise<Found> {
  try {
    return JSON.parse(await readText(path)) as Found;
  } catch (error) {
    if (error instanceof LabError || error instanceof SyntaxError) return { runs: [], pushed: [], rewardAccuracy: [] };
    throw error;
  }
}

function describeEntries(entries: readonly FrontierEntry[]): string {
  const percent = (share: number): string => `${(100 * share).toFixed(0)}%`;
  return entries
    .map(({ name, trueReward, gain, proxyReward, kl, wins, length, distinct2, perplexity, answers, seconds }) => {
      const { low, high } = gain.interval;
      const gained = name === 'SFT' ? '' : ` (SFT ${signed(gain.mean)}: ${signed(low)} … ${signed(high)})`;
      const won = `wins ${percent(wins.rate)} (${percent(wins.interval.low)} … ${percent(wins.interval.high)})`;
      const found = [
        `true reward ${trueReward.toFixed(3)}${gained}`.padEnd(52),
        `proxy ${proxyReward.toFixed(2)}`.padEnd(12),
        `KL ${kl.toFixed(2)}`.padEnd(9),
        won.padEnd(22),
        `length ${length.toFixed(1)}`,
        `distinct-2 ${distinct2.toFixed(3)}`,
        `perplexity ${perplexity.toFixed(2)}`.padEnd(17),
        `${answers} answers`.padEnd(13),
        `${seconds.toFixed(1)} s`,
      ];
      return `${name.padEnd(15)} ${found.join('  ')}`;
    })
    .join('\n');
}

function signed(value: number): string {
  return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;
}
