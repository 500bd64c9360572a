/** @file One training of the experiment: documents by a treatment, so many steps, the same for all. */
import { LabError } from '../../base/index.ts';
import { randomBatches, TokenDataset } from '../../data/index.ts';
import { Transformer } from '../../model/index.ts';
import type { Tokenizer } from '../../tokenizer/index.ts';
import { sentenceCompletionBatches, sentenceCompletionLoss, train } from '../../train/index.ts';
import type { CrawlDocument } from './crawl.ts';
import type { HallucinationSettings, Treatment } from './settings.ts';

export interface Learned {
  readonly model: Transformer;
  /** Tokens of the documents, and how often each was seen. */
  readonly tokens: number;
  readonly epochs: number;
  /** Of the last steps, on what it learns from: texts differ, so it compares with nothing. */
  readonly loss: number;
}

export interface LearnOptions {
  readonly treatment: Treatment;
  readonly seed: number;
  readonly quiet: boolean;
}

/** @throws LabError when it is interrupted: a model that has learned half of it says nothing about the treatment. */
export async function learn(
  documents: readonly CrawlDocument[],
  tokenizer: Tokenizer,
  settings: HallucinationSettings,
  { treatment, seed, quiet }: LearnOptions,
): Promise<Learned> {
  const { batchSize, steps, learningRate, model: preset } = settings;
  const { contextLength } = preset;
  const { vocabSize } = tokenizer;
  const dataset = new TokenDataset(tokenizer.encode(documents.map(({ text }) => `${text}\n\n`).join('')), vocabSize);
  const model = new Transformer({ ...preset, vocabSize, seed });
  const windows = randomBatches(dataset, { batchSize, contextLength, seed });
  const onEndings = treatment === 'sentence completion';
  const batches = onEndings ? sentenceCompletionBatches(windows, tokenizer) : windows;
  const { losses, interrupted } = await train(model, batches, {
    steps,
    learningRate,
    quiet,
    ...(onEndings && { loss: sentenceCompletionLoss }),
  });
  if (interrupted) {
    model.dispose();
    throw new LabError(`Interrupted while seed ${seed} of '${treatment}' was learning. Run it again to go on from there.`);
  }
  const last = losses.slice(-20);
  return {
    model,
    tokens: dataset.length,
    epochs: (steps * batchSize * contextLength) / dataset.length,
    loss: last.reduce((sum, one) => sum + one.loss, 0) / last.length,
  };
}
