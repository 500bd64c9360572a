/**
 * @file The reader's model beside the library's: the same small model, the same text, the same seeds, and both losses. Parts
 * that do the same give the same curve, up to rounding.
 */
import { currentDevice, startBackend } from '../backend/index.ts';
import { randomBatches, sequentialBatches, TokenDataset } from '../data/index.ts';
import { Transformer, type TransformerConfig } from '../model/index.ts';
import { lineChart, type Figure } from '../plot/index.ts';
import { CharacterTokenizer } from '../tokenizer/index.ts';
import { evaluateLoss, train, type TrainOptions } from '../train/index.ts';
import { storiesText } from '../worlds/index.ts';

export interface CompareOptions {
  /** Updates of each model; 40 unless told. */
  readonly steps?: number;
  readonly seed?: number;
}

/** The losses of one model, in nats per character. */
export interface TrainingCurve {
  /** Of each step. */
  readonly losses: readonly number[];
  /** On text that it did not learn from, by the library's own loss. */
  readonly validation: number;
}

export interface MineComparison {
  readonly steps: number;
  readonly yours: TrainingCurve;
  readonly library: TrainingCurve;
}

/** What trains: `Mine`, or nothing for the library. */
interface Parts {
  transformer(config: TransformerConfig): Transformer;
  readonly train: Partial<TrainOptions>;
}

const SIZES = { layers: 2, width: 64, heads: 4, contextLength: 32, bias: false } as const;
const BATCH = { batchSize: 8, contextLength: SIZES.contextLength } as const;
/** Characters of the validation text that are measured on: a few seconds for an attention written in loops. */
const MEASURED = 2048;

const plain: Parts = { transformer: (config) => new Transformer(config), train: {} };

/** Trains both; the reader's options for the number of steps and for the output do not count. */
export async function compareTraining(mine: Parts, { steps = 40, seed = 1 }: CompareOptions = {}): Promise<MineComparison> {
  if (!currentDevice()) await startBackend();
  const text = await storiesText();
  const tokenizer = CharacterTokenizer.train(text.train + text.validation);
  const training = new TokenDataset(tokenizer.encode(text.train), tokenizer.vocabSize);
  const validation = new TokenDataset(tokenizer.encode(text.validation.slice(0, MEASURED)), tokenizer.vocabSize);
  const curve = async (parts: Parts): Promise<TrainingCurve> => {
    const model = parts.transformer({ ...SIZES, vocabSize: tokenizer.vocabSize, seed });
    try {
      const options = { learningRate: 3e-3, ...parts.train, steps, quiet: true };
      const { losses } = await train(model, randomBatches(training, { ...BATCH, seed }), options);
      const measured = await evaluateLoss(model, sequentialBatches(validation, BATCH));
      return { losses: losses.map(({ loss }) => loss), validation: measured };
    } finally {
      model.dispose();
    }
  };
  return { steps, yours: await curve(mine), library: await curve(plain) };
}

export function comparisonText({ steps, yours, library }: MineComparison): string {
  const [own, theirs] = [yours, library].map(({ validation }) => validation.toFixed(4));
  return `After ${steps} steps on stories: your model's loss is ${own}, the library's ${theirs} nats per character.`;
}

export function comparisonChart({ yours, library }: MineComparison): Figure {
  const axis = Array.from(library.losses, (_, step) => step + 1);
  return lineChart(
    { yours: { x: axis, y: yours.losses }, "the library's": { x: axis, y: library.losses } },
    { title: 'The model on your parts beside the library’s', x: 'step', y: 'loss (nats per character)' },
  );
}
