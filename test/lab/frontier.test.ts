/** @file The experiment `frontier`: its world says what it means, its runs are put together rightly, and it can be gone on with. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  alignmentStart,
  answerKinds,
  frontierEntries,
  frontierExperiment,
  LabError,
  marketReward,
  PhraseMarket,
  Random,
  seedInterval,
  smallAlignmentStart,
  startBackend,
  type ExperimentContext,
  type FrontierRun,
  type FrontierSettings,
} from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';

const market = new PhraseMarket({ companies: 6, seed: 2 });
const random = new Random(1);
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

describe('the market in phrases', () => {
  it('writes every answer in tokens that are read back as the same text', () => {
    expect(new Set(market.vocabulary).size).toBe(market.vocabSize);
    for (const question of market.questions) {
      for (const kind of answerKinds) {
        const ids = market.answer(kind, question, random);
        expect(ids.at(-1)).toBe(market.end);
        const text = market.decode(ids);
        expect([...market.encode(text), market.end], text).toEqual(ids);
      }
    }
    expect(() => market.encode('Nobody knows.')).toThrow(LabError);
  });

  it("judges an answer as the market's own reward does, whatever mark the question wears", () => {
    const question = market.questions[3]!;
    for (const kind of answerKinds) {
      const completion = market.answer(kind, question, random);
      const own = marketReward(question.text, market.decode(completion), market.knowledge).total;
      expect(market.trueReward({ prompt: question.ids, completion })).toBe(own);
      expect(market.trueReward({ prompt: [...question.ids, ...market.marks.good], completion })).toBe(own);
    }
    // True, but of another question on the same company: worth less, and only who can read the question sees that.
    const other = market.questions.find(({ fact }) => fact.subject === question.fact.subject && fact !== question.fact)!;
    const beside = market.answer('good', other, random);
    for (const mark of [[], market.marks.good]) {
      expect(market.trueReward({ prompt: [...question.ids, ...mark], completion: beside })).toBeLessThan(0.8);
    }
  });

  it('finds the good answer best and the boastful one worst, which the flawed reward likes better', () => {
    const worth = (kind: (typeof answerKinds)[number], by: 'trueReward' | 'flawedReward'): number =>
      mean(market.questions.map((question) => market[by]({ prompt: question.ids, completion: market.answer(kind, question, random) })));
    const worths = answerKinds.map((kind) => worth(kind, 'trueReward'));
    expect(worth('good', 'trueReward')).toBe(1);
    expect(Math.max(...worths)).toBe(1);
    expect(worth('boastful', 'trueReward')).toBeCloseTo(Math.min(...worths), 1);
    expect(worth('boastful', 'flawedReward')).toBeGreaterThan(3 * worth('good', 'flawedReward'));
  });

  it('prefers by the given judge, draws the same for the same seed, and states nothing but the truth', () => {
    const pairs = market.preferences({ count: 40, seed: 3 });
    for (const { prompt, chosen, rejected } of pairs) {
      expect(market.trueReward({ prompt, completion: chosen })).toBeGreaterThan(market.trueReward({ prompt, completion: rejected }));
    }
    const careless = market.preferences({ count: 40, seed: 3, judge: market.flawedReward });
    expect(careless).not.toEqual(pairs);
    expect(market.preferences({ count: 40, seed: 3 })).toEqual(pairs);
    const statements = market.decode([...market.statements(30, 4).ids]).split('\n');
    const truths = market.questions.map(({ fact }) => fact);
    for (const said of statements.map((line) => line.trim()).filter((line) => line !== '')) {
      expect(truths.some(({ subject, object }) => said.startsWith(subject) && said.endsWith(`${object}.`)), said).toBe(true);
    }
  });
});

const run = (method: FrontierRun['method'], seed: number, rewards: readonly number[], more: Partial<FrontierRun> = {}): FrontierRun => ({
  method,
  seed,
  rewards,
  reward: mean(rewards),
  proxyReward: seed,
  kl: 1,
  length: 4,
  distinct1: 0.5,
  distinct2: 0.5,
  perplexity: 2,
  answers: 10,
  seconds: 1,
  path: [],
  ...more,
});

describe('the summary', () => {
  it('compares each seed with its own beginning, by Student, and wins answer by answer', () => {
    const runs = [1, 2, 3].flatMap((seed) => [
      run('SFT', seed, [0.5, 0.5]),
      run('DPO', seed, [0.5 + seed / 10, 0.5], { beta: 1 }),
      run('DPO', seed, [0.4, 0.4], { beta: 2 }),
    ]);
    const [sft, dpo, worse] = frontierEntries(runs);
    expect([sft!.name, dpo!.name, worse!.name]).toEqual(['SFT', 'DPO, β 1', 'DPO, β 2']);
    expect(dpo).toMatchObject({ seeds: 3, proxyReward: 2, answers: 10 });
    expect(dpo!.gain.mean).toBeCloseTo(0.1);
    // 0.05, 0.1, 0.15: a deviation of 0.05, and t = 4.303 with two degrees of freedom.
    expect(dpo!.gain.interval.high).toBeCloseTo(0.1 + (4.303 * 0.05) / Math.sqrt(3), 6);
    expect(dpo!.wins.rate).toBe(0.75);
    expect(worse!.wins.rate).toBe(0);
    expect(() => seedInterval([1])).toThrow('2 to 10 seeds, got 1');
  });
});

describe('the experiment', () => {
  beforeAll(async () => void (await startBackend({ backend: 'wasm', threads: 2 })));

  const settings: FrontierSettings = {
    ...frontierExperiment.settings.small,
    start: { ...smallAlignmentStart, companies: 4, pretrainingSteps: 5, fineTuningSteps: 10 },
    seeds: [1, 2],
    pairs: 40,
    rewardSteps: 5,
    methods: [
      { method: 'SFT' },
      { method: 'best-of-n', k: 2 },
      { method: 'RAFT', k: 2, rounds: 1, learningRate: 1e-3 },
      { method: 'DPO', beta: 1, steps: 2, learningRate: 1e-3 },
      { method: 'CoH', steps: 2, learningRate: 1e-3 },
      { method: 'PPO', beta: 0.1, rounds: 2, learningRate: 1e-3 },
      { method: 'GRPO', beta: 0.1, k: 2, rounds: 2, learningRate: 1e-3 },
    ],
    answers: 2,
    pushed: { method: 'PPO', beta: 0, rounds: 2, learningRate: 1e-3 },
    fewPairs: 4,
    fewSteps: 3,
  };

  it('runs every method with every seed, and goes on where it was interrupted', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lab-frontier-'));
    let left = 5;
    const stopping = (): void => {
      if (--left === 0) throw new LabError('interrupted');
    };
    const context = { folder, quiet: true, throwIfInterrupted: stopping } as unknown as ExperimentContext;
    try {
      await expect(frontierExperiment.run(settings, context)).rejects.toThrow('interrupted');
      const result = await frontierExperiment.run(settings, { ...context, throwIfInterrupted: () => {} });
      const names = ['SFT', 'best of 2', 'RAFT, 1 round', 'DPO, β 1', 'CoH, 2 steps', 'PPO, β 0.1', 'GRPO, β 0.1'];
      expect(result.entries.map(({ name }) => name)).toEqual(names);
      expect(result.entries.every(({ seeds }) => seeds === 2)).toBe(true);
      expect(result.pushed).toHaveLength(4);
      expect(result.rewardAccuracy).toHaveLength(2);
      const [sft, best, ...trained] = result.entries;
      expect(sft!.kl).toBeCloseTo(0, 5);
      expect(best!.kl).toBeCloseTo(Math.log(2) - 0.5, 10);
      for (const { kl, name } of trained) expect(Math.abs(kl), name).toBeGreaterThan(1e-6);
      for (const { path } of result.runs.filter(({ method }) => method === 'PPO')) expect(path).toHaveLength(2);
      expect(frontierExperiment.describe(result)).toContain('GRPO, β 0.1');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('begins with the same model each time', async () => {
    const weights = async (): Promise<unknown> => {
      const { model } = await alignmentStart(settings.start, { quiet: true });
      return Promise.all([...model.namedParameters().values()].map((variable) => variable.data()));
    };
    expect(await weights()).toEqual(await weights());
  });
});
