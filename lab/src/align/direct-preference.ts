/**
 * @file Direct preference optimization: the policy learns from pairs of answers, without a reward model and without writing
 * anything itself. Rafailov et al. 2023.
 */
import { tf, type Scalar, type Tensor1D } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import type { Batch, Batches } from '../data/index.ts';
import { train, type TrainOptions, type TrainResult } from '../train/index.ts';
import { checkFits, completionBatch, shuffledBatches } from './completions.ts';
import { countedTargets, sequenceSums } from './log-probabilities.ts';
import { directLoss, type DirectLossOptions } from './losses/direct.ts';
import { logProbabilities, referenceLogProbabilities, type Policy } from './policy.ts';
import { BatchModel } from './supervised.ts';

export interface PreferencePair {
  readonly prompt: readonly number[];
  readonly chosen: readonly number[];
  readonly rejected: readonly number[];
}

/** The chosen answers of all pairs, and behind them the rejected ones. @throws LabError for a pair of identical answers. */
export function pairBatch(pairs: readonly PreferencePair[]): Batch {
  for (const [i, { chosen, rejected }] of pairs.entries()) {
    if (chosen.join() === rejected.join()) throw new LabError(`Pair ${i} has the same answer twice: there is nothing to prefer.`);
  }
  return completionBatch(
    (['chosen', 'rejected'] as const).flatMap((side) =>
      pairs.map((pair) => ({ prompt: pair.prompt, completion: pair[side] })),
    ),
  );
}

/** Its loss wants to know on the host which targets count. */
class DirectModel extends BatchModel<Batch> {
  readonly #policy: Policy;
  readonly #options: DirectBatchOptions;

  constructor(policy: Policy, batches: Batches, options: DirectBatchOptions) {
    super(policy.model, batches);
    this.#policy = policy;
    this.#options = options;
  }

  override lossOf(batch: Batch): Scalar {
    return directBatchLoss(this.#policy, batch, this.#options);
  }
}

export interface DirectBatchOptions extends DirectLossOptions {
  /** In place of the library's `directLoss`; it is given what that would be. */
  readonly pairLoss?: typeof directLoss;
}

/** The loss of a batch of `pairBatch`. */
export function directBatchLoss(
  policy: Policy,
  batch: Batch,
  { pairLoss = directLoss, ...options }: DirectBatchOptions = {},
): Scalar {
  return tf.tidy(() => {
    const targets = countedTargets(batch);
    const reference = referenceLogProbabilities(policy, batch, targets);
    const gains = tf.sub<Tensor1D>(logProbabilities(policy.model, batch, targets), reference);
    const sums = sequenceSums(gains, targets);
    const ratios = options.kind === 'ipo' ? tf.div<Tensor1D>(sums, sequenceSums(tf.onesLike(gains), targets)) : sums;
    const pairs = batch.batchSize / 2;
    return pairLoss({ chosen: tf.slice(ratios, 0, pairs), rejected: tf.slice(ratios, pairs, pairs) }, options);
  });
}

export interface DirectOptions extends DirectBatchOptions, Omit<TrainOptions, 'loss' | 'validation'> {
  /** Pairs in a step (default 16). */
  readonly batchSize?: number;
  readonly seed?: number;
}

/**
 * @param policy its model is changed in place
 * @throws LabError for identical, empty or too long answers, before anything is changed; and as `train`.
 */
export async function directPreferenceOptimization(
  policy: Policy,
  pairs: readonly PreferencePair[],
  { kind = 'sigmoid', beta = 0.1, labelSmoothing = 0, pairLoss = directLoss, batchSize = 16, seed = 0, ...training }: DirectOptions,
): Promise<TrainResult> {
  pairBatch(pairs);
  const samples = pairs.flatMap(({ prompt, ...answers }) => [
    { prompt, completion: answers.chosen },
    { prompt, completion: answers.rejected },
  ]);
  checkFits(samples, policy.model);
  const batches = shuffledBatches(pairs, pairBatch, { batchSize, seed });
  const model = new DirectModel(policy, batches, { kind, beta, labelSmoothing, pairLoss });
  return train(model, model, { learningRate: 1e-4, weightDecay: 0, ...training });
}
