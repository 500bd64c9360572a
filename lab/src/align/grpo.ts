/**
 * @file Group-relative policy optimization: no value model; an answer is as good as it is better than the other answers to its
 * prompt. Shao et al. 2024 (DeepSeekMath), section 4.1.
 *
 * Shapes: N tokens that were written, over all answers.
 */
import { offTape, tf, type Scalar, type Tensor1D } from '../backend/index.ts';
import { LabError, Random } from '../base/index.ts';
import { groupAdvantages } from './advantages.ts';
import type { CheckpointOptions } from '../train/index.ts';
import { completionBatch } from './completions.ts';
import type { Learner } from './iteration-checkpoint.ts';
import { iterate, type Iterated, type IterationReport } from './iterations.ts';
import { countedTargets, sequenceSums } from './log-probabilities.ts';
import { clippedObjective } from './losses/clipped.ts';
import { klEstimate } from './losses/kl.ts';
import { PolicyStep } from './policy-step.ts';
import { logProbabilities, referenceLogProbabilities, type Policy } from './policy.ts';
import { sampleGroups, type AnswerReward, type RankedGroup } from './ranking.ts';
import type { RolloutOptions } from './rollout.ts';

export interface GRPOOptions extends Pick<RolloutOptions, 'maxTokens' | 'endToken' | 'seed'> {
  readonly iterations: number;
  /** Answers to each prompt, G (default 8). */
  readonly groupSize?: number;
  /** Divides the logits, in writing and in learning alike (default 1). */
  readonly temperature?: number;
  /** Times that each batch of answers is learned (default 1). */
  readonly epochs?: number;
  /** Default 1e-4, for models of 10⁵ to 10⁶ parameters. */
  readonly learningRate?: number;
  /** What the k3 estimate of the distance counts for in the loss (default 0.04). */
  readonly beta?: number;
  readonly clip?: number;
  /** End the training when the KL of an answer is larger, in nats (default 50). */
  readonly klLimit?: number;
  /** Saved every ten iterations unless told, and after the last. */
  readonly checkpoint?: CheckpointOptions;
  readonly quiet?: boolean;
}

export interface GRPOReport extends IterationReport {
  readonly loss: number;
}

export type GRPOResult = Iterated<GRPOReport>;

/** @param policy its model is changed in place @throws LabError when a reward or a loss is not a finite number */
export async function grpo(
  policy: Policy,
  prompts: readonly (readonly number[])[],
  reward: AnswerReward,
  options: GRPOOptions,
): Promise<GRPOResult> {
  const { iterations, groupSize = 8, learningRate = 1e-4, klLimit = 50, quiet = false, seed = 0, checkpoint, ...rest } = options;
  const { temperature = 1, maxTokens, endToken } = rest;
  const writing = { temperature, ...(maxTokens !== undefined && { maxTokens }), ...(endToken !== undefined && { endToken }) };
  const step = new PolicyStep(policy.model.namedParameters(), { learningRate });
  const random = new Random(seed);
  const learner: Learner = { model: policy.model, step, random };
  policy.model.eval();
  try {
    return await iterate({ label: 'GRPO', iterations, klLimit, checkpoint, quiet }, learner, async (iteration) => {
      const groups = await sampleGroups(policy.model, prompts, reward, { ...writing, k: groupSize, seed: random.uint32() });
      return { iteration, ...(await learn(policy, groups, step, options, `GRPO iteration ${iteration}`)) };
    });
  } finally {
    step.dispose();
  }
}

async function learn(
  policy: Policy,
  groups: readonly RankedGroup[],
  step: PolicyStep,
  { beta = 0.04, clip = 0.2, epochs = 1, temperature = 1 }: GRPOOptions,
  when: string,
): Promise<Omit<GRPOReport, 'iteration'>> {
  const rewards = groups.flatMap((group) => group.rewards);
  const bad = rewards.find((value) => !Number.isFinite(value));
  if (bad !== undefined) throw new LabError(`${when}: a reward is ${bad}; the weights are those before.`);
  const samples = groups.flatMap((group) => group.samples);
  const batch = completionBatch(samples);
  const targets = countedTargets(batch);
  const ofAnswers = groups.flatMap((group) => groupAdvantages(group.rewards));
  const [before, reference, distance] = tf.tidy(() => {
    const now = logProbabilities(policy.model, batch, targets, { temperature });
    const held = referenceLogProbabilities(policy, batch, targets, { temperature });
    return [now, held, offTape(() => tf.mean<Scalar>(sequenceSums(tf.sub<Tensor1D>(now, held), targets)))] as const;
  }) as [Tensor1D, Tensor1D, Scalar];
  try {
    let loss = 0;
    for (let epoch = 0; epoch < epochs; epoch++) {
      loss = await step.take(() => {
        const advantages = tf.tensor1d(Array.from(targets.rows, (row) => ofAnswers[row]!));
        const now = logProbabilities(policy.model, batch, targets, { temperature });
        const terms = clippedObjective(now, before, advantages, { clip });
        const all = tf.add<Tensor1D>(terms, tf.mul(klEstimate(now, reference, 'k3'), beta));
        // Each answer counts alike, whatever its length.
        const lengths = tf.tensor1d(Array.from(batch.lengths));
        return tf.mean<Scalar>(tf.div(sequenceSums(all, targets), lengths));
      }, when);
    }
    const reward = rewards.reduce((sum, value) => sum + value, 0) / rewards.length;
    return { reward, kl: (await distance.data())[0]!, loss };
  } finally {
    tf.dispose([before, reference, distance]);
  }
}
