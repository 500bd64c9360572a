/**
 * @file How well a model predicts a text that it was not trained on.
 */
import { tf } from '../backend/index.ts';
import { interruptible, LabError, type Interruption } from '../base/index.ts';
import type { Batch } from '../data/index.ts';
import { batchTensors, lossOfModel, type LossFunction, type Trainable } from './gradients.ts';

export interface EvaluateOptions {
  /** Cross-entropy unless told; must be a mean over the tokens of a batch. */
  readonly loss?: LossFunction;
}

/**
 * The mean loss per predicted token, in nats, without dropout. Batches of different sizes count by their tokens.
 *
 * @throws LabError when there is no batch, or when it is interrupted.
 */
export async function evaluateLoss(model: Trainable, batches: Iterable<Batch>, options: EvaluateOptions = {}): Promise<number> {
  const mean = await interruptible((signal) => meanLoss(model, batches, options.loss, signal));
  if (mean === undefined) throw new LabError('evaluateLoss: interrupted before the end.');
  return mean;
}

/** The same inside a loop that is listening already; undefined when it was stopped before the end. */
export async function meanLoss(
  model: Trainable,
  batches: Iterable<Batch>,
  lossOf: LossFunction | undefined,
  signal: Interruption,
): Promise<number | undefined> {
  const wasTraining = model.training;
  let sum = 0;
  let tokens = 0;
  model.eval();
  try {
    for (const batch of batches) {
      if (signal.stopped) return undefined;
      const loss = tf.tidy(() => {
        const { inputs, targets } = batchTensors(batch);
        return lossOfModel(model, inputs, targets, lossOf);
      });
      const count = batch.batchSize * batch.contextLength;
      sum += (await loss.data())[0]! * count;
      tokens += count;
      loss.dispose();
      await signal.breathe();
    }
  } finally {
    if (wasTraining) model.train();
  }
  if (tokens === 0) throw new LabError('evaluateLoss: there is no batch to evaluate on.');
  return sum / tokens;
}
