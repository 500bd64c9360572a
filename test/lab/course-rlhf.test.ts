/**
 * @file The answers of chapter 11 in their places: PPO runs on the reader's steps and comes to the numbers of the library, and
 * the reader's batches and loss are what a model is fine-tuned and a reward model is trained on.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  completionBatch,
  findExercise,
  Mine,
  pairwiseLoss,
  policyOf,
  ppo,
  ScoreModel,
  startBackend,
  supervisedFineTuning,
  type tf,
  theCourse,
  trainRewardModel,
  Transformer,
  type Answer,
  type Assembly,
  type PPOParts,
  type Sample,
} from 'lab';
import * as solution from '../../solutions/11-rlhf.ts';

beforeAll(async () => void (await startBackend({ backend: 'wasm', threads: 2 })));

const config = { vocabSize: 11, contextLength: 16, layers: 1, width: 16, heads: 2, seed: 5 };
const prompts = Array.from({ length: 12 }, (_, i) => [1 + (i % 5)]);
const fours = ({ completion }: Sample): number => completion.filter((token) => token === 4).length;
const rooms = ['11.5', '11.6', '11.7', '11.8', '11.9'];

function plugged(answers: Answer, ids: readonly string[] = rooms): Mine {
  const assembly: Assembly = { transformer: {}, train: {}, generate: {} };
  for (const id of ids) findExercise(id, theCourse()).exercise.plug?.(answers, assembly);
  return new Mine([], assembly);
}

/** Rewards, distances, losses and prices of two iterations on answers of different lengths. */
async function trained(parts: Partial<PPOParts>): Promise<number[]> {
  const model = new Transformer(config);
  const policy = policyOf(model);
  const options = { iterations: 3, maxTokens: 5, endToken: 3, learningRate: 5e-3, epochs: 2, batchSize: 6, targetKl: 0.2 };
  const { reports } = await ppo(policy, prompts, (samples) => samples.map(fours), { ...options, quiet: true, parts });
  policy.dispose();
  model.dispose();
  return reports.flatMap(({ reward, kl, loss, beta, clipFraction }) => [reward, kl, loss, beta, clipFraction]);
}

describe('the steps of PPO', () => {
  it('of the solutions come to the numbers of the library', async () => {
    const theirs = await trained(plugged(solution).ppo);
    const own = await trained({});
    for (const [i, value] of theirs.entries()) expect(value).toBeCloseTo(own[i]!, 4);
  });

  it.each([
    ['11.5', 'tokenRewards', (policy: number[]) => policy.map((logP) => -logP)],
    ['11.6', 'gae', (rewards: number[], values: number[]) => solution.gae(rewards, values, 0.5, 0.5)],
    ['11.7', 'whiten', (values: number[][]) => values],
    ['11.8', 'clippedObjective', (now: tf.Tensor1D, _: tf.Tensor1D, advantages: tf.Tensor1D) => now.mul(advantages).neg()],
    ['11.9', 'adaptBeta', () => 3],
  ])('are the ones that run: %s', async (id, name, wrong) => {
    expect(await trained(plugged({ ...solution, [name]: wrong }, [id]).ppo)).not.toEqual(await trained({}));
  });

  it('are the library’s as long as they are not written', () => {
    expect(plugged({}, []).ppo).toEqual({});
  });
});

it('fine-tunes on batches of one’s own', async () => {
  const samples = [{ prompt: [1, 2], completion: [3, 4, 3] }];
  const losses = async (batch?: typeof completionBatch): Promise<number[]> => {
    const model = new Transformer(config);
    const options = { steps: 3, quiet: true, ...(batch && { batch }) };
    const { losses: found } = await supervisedFineTuning(model, samples, options);
    model.dispose();
    return found.map(({ loss }) => loss);
  };
  const rows: typeof completionBatch = (drawn) => {
    const batch = completionBatch(drawn);
    const made = drawn.map(({ prompt, completion }) =>
      solution.completionRow([...prompt], [...completion], batch.contextLength, 0),
    );
    const joined = (key: 'inputs' | 'targets'): Int32Array => Int32Array.from(made.flatMap((row) => row[key]));
    return { ...batch, inputs: joined('inputs'), targets: joined('targets') };
  };
  expect(await losses(rows)).toEqual(await losses());
  const shortened: typeof completionBatch = (drawn) =>
    completionBatch(drawn.map(({ prompt, completion }) => ({ prompt: prompt.slice(0, 1), completion })));
  expect(await losses(shortened)).not.toEqual(await losses());
});

it('trains a reward model on a loss of one’s own', async () => {
  const pairs = [{ prompt: [1], chosen: [4, 3], rejected: [5, 5, 3], margin: 0.5 }];
  const model = new Transformer(config);
  const losses = async (pairLoss: typeof pairwiseLoss): Promise<number[]> => {
    const scores = new ScoreModel(model, 1);
    const { losses: found } = await trainRewardModel(scores, pairs, { steps: 3, centering: 0, quiet: true, pairLoss });
    scores.dispose();
    return found.map(({ loss }) => loss);
  };
  const theirs = await losses((chosen, rejected, { margins } = {}) => solution.pairLoss(chosen, rejected, margins!));
  const own = await losses(pairwiseLoss);
  for (const [i, loss] of theirs.entries()) expect(loss).toBeCloseTo(own[i]!, 5);
  expect(await losses((chosen, rejected) => pairwiseLoss(rejected, chosen))).not.toEqual(own);
  model.dispose();
});
