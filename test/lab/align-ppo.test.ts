/** @file PPO on a tiny model: what is rewarded becomes likely, distance costs, and what is broken stops it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  adaptedBeta,
  answerLogProbabilities,
  CharacterTokenizer,
  completionBatch,
  distinctN,
  grpo,
  loadModel,
  logProbabilities,
  measureAlignment,
  perplexity,
  policyOf,
  ppo,
  rollout,
  startBackend,
  supervisedFineTuning,
  Transformer,
  winRate,
  type AnswerReward,
  type Iterated,
  type IterationReport,
  type Policy,
  type PPOOptions,
  type Sample,
} from 'lab';
import { beforeAll, expect, it } from 'vitest';
import { relativeError } from './core-fixture.ts';

const config = { vocabSize: 11, contextLength: 16, layers: 1, width: 16, heads: 2, seed: 5 };
const prompts = Array.from({ length: 32 }, (_, i) => [1 + (i % 5)]);
const fours = (samples: readonly Sample[]): number[] => samples.map(({ completion }) => completion.filter((token) => token === 4).length);
const tokenizer = CharacterTokenizer.train('abcdefghijk');
const lesson = { prompt: [1], completion: [3] };
const groupOptions = { iterations: 12, groupSize: 8, maxTokens: 4, learningRate: 5e-3, epochs: 2, quiet: true };
const options: PPOOptions = { iterations: 8, maxTokens: 4, learningRate: 5e-3, beta: 0, epochs: 2, stepKlLimit: 1, quiet: true };

beforeAll(async () => void (await startBackend({ backend: 'wasm', threads: 2 })));

it('writes more and more of what is rewarded, and reports how far it has gone and what took the time', async () => {
  const policy = policyOf(new Transformer(config));
  const { reports, ended } = await ppo(policy, prompts, fours, options);
  expect(ended).toBe('finished');
  expect(reports.at(-1)!.reward).toBeGreaterThan(reports[0]!.reward + 1);
  expect(reports[0]!.kl).toBeCloseTo(0, 4);
  expect(reports.at(-1)!.kl).toBeGreaterThan(0.5);
  for (const { seconds } of reports) expect(Math.min(...Object.values(seconds))).toBeGreaterThan(0);
});

it('stays closer to its reference when distance costs', async () => {
  const far = async (beta: number): Promise<number> => {
    const policy = policyOf(new Transformer(config));
    const { reports } = await ppo(policy, prompts, fours, { ...options, beta });
    return reports.at(-1)!.kl;
  };
  expect(await far(3)).toBeLessThan(0.5 * (await far(0)));
});

it('does the same for the same seed', async () => {
  const run = async (): Promise<number[]> => {
    const { reports } = await ppo(policyOf(new Transformer(config)), prompts, fours, { ...options, iterations: 2 });
    return reports.flatMap(({ reward, kl, loss }) => [reward, kl, loss]);
  };
  expect(await run()).toEqual(await run());
});

it('ends when the KL passes the limit, and when a reward is no number, saying where', async () => {
  const limited = await ppo(policyOf(new Transformer(config)), prompts, fours, { ...options, klLimit: 0.2 });
  expect(limited.ended).toBe('kl limit');
  expect(limited.reports.length).toBeLessThan(8);
  let calls = 0;
  const breaks = (samples: readonly Sample[]): number[] => samples.map(() => (calls >= 64 ? NaN : calls++));
  const failing = ppo(policyOf(new Transformer(config)), prompts, breaks, options);
  await expect(failing).rejects.toThrow('PPO iteration 3: the reward of answer 0 is NaN');
});

it.each([
  ['PPO', (policy: Policy, reward: AnswerReward, more: Partial<PPOOptions>) => ppo(policy, prompts, reward, { ...options, ...more })],
  ['GRPO', (policy: Policy, reward: AnswerReward, more: Partial<PPOOptions>) =>
    grpo(policy, prompts.slice(0, 5), reward, { ...groupOptions, ...more })],
] as const)('%s goes on from a checkpoint as if it had not been stopped, and says which one is left when it breaks', async (label, learn) => {
  const folder = mkdtempSync(join(tmpdir(), 'lab-align-'));
  const path = join(folder, 'policy.safetensors');
  try {
    const whole = await learn(policyOf(new Transformer(config)), fours, { iterations: 4, targetKl: 1, beta: 0.1 });
    await learn(policyOf(new Transformer(config)), fours, { iterations: 2, targetKl: 1, beta: 0.1, checkpoint: { path, tokenizer } });
    const model = new Transformer({ ...config, seed: 6 });
    const policy = policyOf(model, new Transformer(config));
    const resumed = await learn(policy, fours, { iterations: 4, targetKl: 1, beta: 0.1, checkpoint: { path, tokenizer, resume: true } });
    const numbers = ({ reports }: Iterated<IterationReport & { readonly beta?: number }>): number[] =>
      reports.flatMap(({ reward, kl, beta = 0 }) => [reward, kl, beta]);
    expect(relativeError(numbers(resumed), numbers(whole))).toBeLessThan(1e-4);
    const { model: read } = await loadModel(path);
    const [kept] = await logProbabilities(read, completionBatch([lesson])).data();
    expect(kept).toBeCloseTo((await logProbabilities(model, completionBatch([lesson])).data())[0]!, 5);
    let calls = 0;
    const breaks: AnswerReward = (samples) => (++calls === 3 ? samples.map(() => NaN) : fours(samples));
    const broken = learn(policyOf(new Transformer(config)), breaks, { iterations: 5, checkpoint: { path, every: 2 } });
    await expect(broken).rejects.toThrow(new RegExp(`${label} iteration 3: .*NaN.*The checkpoint of iteration 2 is intact: ${path}`));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it('raises the price of distance when the policy is too far, and lowers it when it is near', () => {
  expect(adaptedBeta(1, 12, 6)).toBeCloseTo(1.02);
  expect(adaptedBeta(1, 0, 6)).toBeCloseTo(0.98);
  expect(adaptedBeta(1, 6, 6)).toBe(1);
});

it('keeps its manners where nothing is to be gained: equal rewards leave a fine-tuned model about where it is', async () => {
  const model = new Transformer(config);
  const threes = [{ prompt: [1], completion: [3, 3, 3, 3] }];
  await supervisedFineTuning(model, threes, { steps: 30, learningRate: 1e-2, quiet: true });
  const { reports } = await ppo(policyOf(model), prompts, (samples) => samples.map(() => 1), { ...options, beta: 0.1, learningRate: 1e-4 });
  expect(reports.at(-1)!.kl).toBeLessThan(0.1);
});

it('learns from groups of answers without a value model', async () => {
  const policy = policyOf(new Transformer(config));
  const { reports, ended } = await grpo(policy, prompts.slice(0, 5), fours, groupOptions);
  expect(ended).toBe('finished');
  expect(reports.at(-1)!.reward).toBeGreaterThan(reports[0]!.reward + 1);
  expect(reports[0]!.kl).toBeCloseTo(0, 4);
  const limited = await grpo(policy, prompts.slice(0, 5), fours, { ...groupOptions, klLimit: 0.01 });
  expect(limited.ended).toBe('kl limit');
  await expect(grpo(policy, prompts.slice(0, 5), (samples) => samples.map(() => NaN), groupOptions)).rejects.toThrow('GRPO iteration 1: a reward is NaN');
});

it('measures reward, distance, length and variety of what a policy writes', async () => {
  const model = new Transformer(config);
  const policy = policyOf(model);
  const samples = await rollout(model, prompts, { maxTokens: 4 });
  const measures = await measureAlignment(policy, samples, fours(samples), {
    proxyRewards: samples.map(() => 2),
    pretrainingText: [1, 2, 3, 4, 5],
  });
  expect(measures.proxyReward).toBe(2);
  expect(measures.perplexity).toBeCloseTo((await perplexity(model, [1, 2, 3, 4, 5], { quiet: true })).perplexity, 5);
  expect(measures.kl).toBeCloseTo(0, 5);
  // A reference that was asked otherwise finds the same answers otherwise likely.
  const marked = samples.map(({ prompt, completion }) => ({ prompt: [...prompt, 9], completion }));
  const apart = await measureAlignment(policy, marked, fours(samples), { asReferenceSees: samples });
  const sums = await Promise.all([marked, samples].map((some) => answerLogProbabilities(model, some)));
  const gains = sums[0]!.map((logP, i) => logP - sums[1]![i]!);
  expect(apart.kl).toBeCloseTo(gains.reduce((a, b) => a + b, 0) / gains.length, 5);
  expect(Math.abs(apart.kl)).toBeGreaterThan(1e-3);
  expect(measures.length).toBe(4);
  expect(measures.rewardInterval.low).toBeLessThanOrEqual(measures.reward);
  const written = [{ prompt: [1], completion: [1, 2, 1] }, { prompt: [1], completion: [1, 2] }];
  expect(distinctN(written, 1)).toBe(2 / 5);
  expect(distinctN(written, 2)).toBe(2 / 3);
  const { rate, interval } = winRate([1, 2, 3, 4], [0, 2, 4, 1]);
  expect(rate).toBe(0.625);
  expect(interval.high).toBeGreaterThan(rate);
});
