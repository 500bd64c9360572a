/**
 * @file `bench align`: writing answers to 16 prompts side by side, beside the same one by one: both with a key/value cache. And
 * what of an iteration of PPO goes into writing, scoring and learning.
 */
import { policyOf, ppo, rollout, ScoreModel, type PPOReport } from '../align/index.ts';
import { Random } from '../base/index.ts';
import { presets, Transformer } from '../model/index.ts';
import { measure, timesOf, type BenchRow } from './measure.ts';

const [PROMPTS, VOCAB_SIZE, MAX_TOKENS] = [16, 512, 32];
const RUNS = { warmUp: 1, leastRuns: 5, mostRuns: 20, budgetMs: 8000 };

/** One round of writing, scored by a reward model of the policy's size, and learned four times over, as TRL does. */
const [PPO_PROMPTS, PPO_RUNS] = [32, { warmUp: 1, leastRuns: 3, mostRuns: 10, budgetMs: 15_000 }];

export async function benchAlign(backend: string): Promise<BenchRow[]> {
  const model = new Transformer({ ...presets.nano, vocabSize: VOCAB_SIZE });
  try {
    return [await batchedRollout(model, backend), ...(await iterationSplit(model, backend))];
  } finally {
    model.dispose();
  }
}

async function batchedRollout(model: Transformer, backend: string): Promise<BenchRow> {
  const prompts = randomPrompts(PROMPTS);
  const alone = await measure(async () => {
    for (const prompt of prompts) await rollout(model, [prompt], { maxTokens: MAX_TOKENS });
  }, RUNS);
  const together = await measure(async () => void (await rollout(model, prompts, { maxTokens: MAX_TOKENS })), RUNS);
  const tokensPerSecond = (1000 * PROMPTS * MAX_TOKENS) / together.medianMs;
  const ratio = alone.medianMs / together.medianMs;
  const shape = shapeOf(PROMPTS);
  return { name: 'batched rollout', backend, shape, ...together, tokensPerSecond, baseline: 'one by one', ratio };
}

/** The whole iteration, and each of its parts beside it. */
async function iterationSplit(model: Transformer, backend: string): Promise<BenchRow[]> {
  const prompts = randomPrompts(PPO_PROMPTS);
  const policy = policyOf(model);
  const [values, judge] = [new ScoreModel(model, 1), new ScoreModel(model, 2)];
  const reports: PPOReport[] = [];
  const options = { iterations: 1, maxTokens: MAX_TOKENS, learningRate: 1e-5, quiet: true };
  try {
    const times = await measure(async () => {
      const done = await ppo(policy, prompts, (samples) => judge.score(samples), options, values);
      reports.push(...done.reports);
    }, PPO_RUNS);
    const measured = reports.slice(PPO_RUNS.warmUp);
    const shape = shapeOf(PPO_PROMPTS);
    const parts = (['rollout', 'score', 'update'] as const).map((part): BenchRow => {
      const found = timesOf(measured.map(({ seconds }) => 1000 * seconds[part]), times.peakBytes);
      const ratio = times.medianMs / found.medianMs;
      return { name: `PPO: ${part}`, backend, shape, ...found, baseline: 'the whole iteration', ratio };
    });
    return [{ name: 'PPO iteration', backend, shape, ...times }, ...parts];
  } finally {
    policy.dispose();
    values.dispose();
    judge.dispose();
  }
}

function randomPrompts(count: number): number[][] {
  const random = new Random(1);
  return Array.from({ length: count }, () => Array.from({ length: 8 + random.integer(9) }, () => random.integer(VOCAB_SIZE)));
}

function shapeOf(prompts: number): string {
  return `${prompts} prompts of 8 to 16 tokens, ${MAX_TOKENS} new ones each`;
}
