/**
 * @file A Transformer with one number a token in place of logits: as a reward model it is read at the last real token, as a
 * value model at every token. Ouyang et al. 2022, section 3.5.
 *
 * Shapes: B sequences, T tokens, D width.
 */
import { tf, type Scalar, type Tensor1D, type Tensor3D, type Variable } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import type { Batch } from '../data/index.ts';
import { calibration, type Calibration } from '../evaluate/index.ts';
import type { Transformer } from '../model/index.ts';
import { Linear } from '../nn/index.ts';
import { copyOf } from '../quantize/index.ts';
import { train, type TrainOptions, type TrainResult } from '../train/index.ts';
import { checkFits, completionBatch, shuffledBatches, type BatchesOf, type CompletionBatch, type Sample } from './completions.ts';
import { readBatch } from './log-probabilities.ts';
import { pairwiseLoss } from './losses/preference.ts';
import { pairBatch, type PreferencePair } from './direct-preference.ts';
import { BatchModel, TrainableModel } from './supervised.ts';

export class ScoreModel extends TrainableModel {
  readonly head: Linear;

  /** @param model begins as a copy of it @param seed of the head's first weights */
  constructor(model: Transformer, seed = 0) {
    super(copyOf(model));
    this.head = new Linear(model.config.width, 1, { random: seed });
  }

  override namedParameters(): ReadonlyMap<string, Variable> {
    const head = [...this.head.namedParameters()].map(([path, variable]): [string, Variable] => [`score.${path}`, variable]);
    return new Map([...[...super.namedParameters()].filter(([path]) => !path.startsWith('head.')), ...head]);
  }

  /** A number at each of these places of the batch [B·T]: [N]. */
  at(batch: Batch, positions: Int32Array): Tensor1D {
    return tf.tidy(() => {
      const { width } = this.model.config;
      const rows = tf.gather(tf.reshape(readBatch(this.model, batch), [-1, width]), tf.tensor1d(positions, 'int32'));
      return tf.reshape(this.head.forward(rows), [-1]);
    });
  }

  /** The score of whole sequences, read where their last token stands, whatever padding is behind it: [B]. */
  scores(samples: readonly Sample[]): Tensor1D {
    return this.at(...wholeSequences(samples));
  }

  /** The same as numbers, some samples at a time. */
  async score(samples: readonly Sample[], batchSize = 64): Promise<number[]> {
    const found: number[] = [];
    for (let start = 0; start < samples.length; start += batchSize) {
      const scores = this.scores(samples.slice(start, start + batchSize));
      found.push(...(await scores.data()));
      scores.dispose();
    }
    return found;
  }

  /** Taught pairs through `trainRewardModel`; by itself it has no loss. */
  override loss(): Scalar {
    throw new LabError('ScoreModel: train it with trainRewardModel.');
  }

  override forward(): Tensor3D {
    throw new LabError('ScoreModel: it has scores and no logits.');
  }

  dispose(): void {
    this.model.dispose();
    this.head.dispose();
  }
}

/** Inputs with the last token in them (a batch to learn from has it as a target only), and where it stands. */
function wholeSequences(samples: readonly Sample[]): [CompletionBatch, Int32Array] {
  // One token more, so that the last real one is among the inputs.
  const batch = completionBatch(samples.map(({ prompt, completion }) => ({ prompt, completion: [...completion, 0] })));
  return [batch, batch.lastTargets.map((at, row) => row * batch.contextLength + at)];
}

export interface RewardModelOptions extends Omit<TrainOptions, 'loss' | 'validation'> {
  /** Pairs in a step (default 16). */
  readonly batchSize?: number;
  /** What (r_chosen + r_rejected)² counts for (default 0.01). */
  readonly centering?: number;
  readonly seed?: number;
  /** In place of `pairwiseLoss`. */
  readonly pairLoss?: typeof pairwiseLoss;
}

export interface ScoredPair extends PreferencePair {
  /** How much better the chosen answer is, in units of the score. */
  readonly margin?: number;
}

interface PairsBatch extends Batch {
  readonly pairs: readonly ScoredPair[];
}

class PairwiseModel extends BatchModel<PairsBatch> {
  readonly #scores: ScoreModel;
  readonly #lossOf: (chosen: Tensor1D, rejected: Tensor1D, margins: Tensor1D) => Scalar;

  constructor(
    scores: ScoreModel,
    batches: BatchesOf<PairsBatch>,
    lossOf: (chosen: Tensor1D, rejected: Tensor1D, margins: Tensor1D) => Scalar,
  ) {
    super(scores.model, batches);
    this.#scores = scores;
    this.#lossOf = lossOf;
  }

  override namedParameters(): ReadonlyMap<string, Variable> {
    return this.#scores.namedParameters();
  }

  override lossOf({ pairs }: PairsBatch): Scalar {
    const scores = this.#scores.scores(samplesOf(pairs));
    const margins = tf.tensor1d(pairs.map(({ margin = 0 }) => margin));
    const n = pairs.length;
    return this.#lossOf(tf.slice(scores, 0, n), tf.slice(scores, n, n), margins);
  }
}

function samplesOf(pairs: readonly PreferencePair[]): Sample[] {
  return (['chosen', 'rejected'] as const).flatMap((side) =>
    pairs.map((pair) => ({ prompt: pair.prompt, completion: pair[side] })),
  );
}

/** @param model changed in place @throws LabError for identical, empty or too long answers; and as `train` */
export async function trainRewardModel(
  model: ScoreModel,
  pairs: readonly ScoredPair[],
  { batchSize = 16, centering = 0.01, seed = 0, pairLoss = pairwiseLoss, ...training }: RewardModelOptions,
): Promise<TrainResult> {
  pairBatch(pairs);
  checkFits(samplesOf(pairs).map(({ prompt, completion }) => ({ prompt, completion: [...completion, 0] })), model.model);
  const batches = shuffledBatches(pairs, (drawn) => ({ ...pairBatch(drawn), pairs: drawn }), { batchSize, seed });
  const learner = new PairwiseModel(model, batches, (chosen, rejected, margins) =>
    pairLoss(chosen, rejected, { margins, centering }),
  );
  return train(learner, learner, { weightDecay: 0, ...training });
}

export interface RewardModelReport {
  /** The share of pairs whose chosen answer scores higher. */
  readonly accuracy: number;
  /** Of pairs that it prefers with 70%, are 70% so? By σ of the difference of scores. */
  readonly calibration: Calibration;
}

/** How well a reward model agrees with pairs that it has not seen. */
export async function evaluateRewardModel(model: ScoreModel, pairs: readonly PreferencePair[]): Promise<RewardModelReport> {
  if (pairs.length === 0) throw new LabError('evaluateRewardModel: there is no pair to judge.');
  const scores = await model.score(samplesOf(pairs));
  const gains = pairs.map((_, i) => scores[i]! - scores[i + pairs.length]!);
  const confidences = gains.map((gain) => 1 / (1 + Math.exp(-Math.abs(gain))));
  return {
    accuracy: gains.filter((gain) => gain > 0).length / pairs.length,
    calibration: calibration(confidences, gains.map((gain) => gain > 0)),
  };
}
