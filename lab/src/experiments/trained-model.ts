/** @file How experiments train a model that chapters take apart: checkpoint by checkpoint, so that it goes on where it stopped. */
import { join } from 'node:path';
import { randomBatches, sequentialBatches, type TokenDataset } from '../data/index.ts';
import { Transformer, type TransformerPreset } from '../model/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { evaluateLoss, train } from '../train/index.ts';
import type { ExperimentContext } from './experiment.ts';

/** The trained model's file in the experiment's folder. */
export const CHECKPOINT = 'model.safetensors';

export interface TrainedModelSettings {
  readonly model: TransformerPreset;
  readonly batchSize: number;
  readonly steps: number;
  readonly learningRate: number;
  readonly seed: number;
}

export interface TrainedModelText {
  readonly tokenizer: Tokenizer;
  readonly training: TokenDataset;
  readonly validation: TokenDataset;
}

export interface TrainedModelResult {
  readonly parameters: number;
  /** Nats per token of the validation text. */
  readonly validationLoss: number;
}

export async function trainedModel(
  { tokenizer, training, validation }: TrainedModelText,
  { model: preset, batchSize, steps, learningRate, seed }: TrainedModelSettings,
  { folder, quiet, throwIfInterrupted }: ExperimentContext,
): Promise<TrainedModelResult> {
  const model = new Transformer({ ...preset, vocabSize: tokenizer.vocabSize, seed });
  const sizes = { batchSize, contextLength: preset.contextLength };
  const checkpoint = { path: join(folder, CHECKPOINT), every: 500, resume: true, tokenizer };
  try {
    await train(model, randomBatches(training, { ...sizes, seed }), { steps, learningRate, checkpoint, quiet });
    throwIfInterrupted();
    const validationLoss = await evaluateLoss(model, sequentialBatches(validation, sizes));
    return { parameters: model.parameterCount(), validationLoss };
  } finally {
    model.dispose();
  }
}
