/**
 * @file The model that the chapters on quantization take apart: trained here, once, on real text; in its small form on stories.
 */
import { join } from 'node:path';
import { shakespeare, TokenDataset } from '../data/index.ts';
import type { Transformer, TransformerPreset } from '../model/index.ts';
import { CharacterTokenizer, type Tokenizer } from '../tokenizer/index.ts';
import { loadModel } from '../train/index.ts';
import { storiesText } from '../worlds/index.ts';
import { runExperiment, type Experiment, type ExperimentOptions } from './experiment.ts';
import { CHECKPOINT, trainedModel } from './trained-model.ts';

export interface StudySettings {
  readonly text: 'stories' | 'shakespeare';
  readonly model: TransformerPreset;
  readonly batchSize: number;
  readonly steps: number;
  readonly learningRate: number;
  readonly seed: number;
}

export interface StudyResult {
  readonly parameters: number;
  /** Nats per character on the whole validation text. */
  readonly validationLoss: number;
}

const TRAINING_SHARE = 0.9;

export const studyModelExperiment: Experiment<StudySettings, StudyResult> = {
  name: 'study-model',
  question: 'How well does a small Transformer learn a text, character by character?',
  version: 1,
  settings: {
    small: {
      text: 'stories',
      model: { layers: 2, width: 96, heads: 4, contextLength: 64, bias: false },
      batchSize: 16,
      steps: 400,
      learningRate: 4e-3,
      seed: 1,
    },
    full: {
      text: 'shakespeare',
      model: { layers: 4, width: 192, heads: 6, contextLength: 128, bias: false },
      batchSize: 12,
      steps: 2500,
      learningRate: 3e-3,
      seed: 1,
    },
  },
  async run(settings, context) {
    return trainedModel(await studyText(settings), settings, context);
  },
  describe: ({ parameters, validationLoss }) =>
    `${parameters.toLocaleString('en')} parameters, ${validationLoss.toFixed(4)} nats per character on the validation text`,
};

interface StudyText {
  readonly tokenizer: CharacterTokenizer;
  readonly training: TokenDataset;
  readonly validation: TokenDataset;
}

async function studyText({ text }: StudySettings): Promise<StudyText> {
  const parts = text === 'stories' ? await storiesText() : halves(await shakespeare());
  const tokenizer = CharacterTokenizer.train(parts.train + parts.validation);
  const [training, validation] = [parts.train, parts.validation].map(
    (part) => new TokenDataset(tokenizer.encode(part), tokenizer.vocabSize),
  ) as [TokenDataset, TokenDataset];
  return { tokenizer, training, validation };
}

function halves(text: string): { train: string; validation: string } {
  const cut = Math.floor(TRAINING_SHARE * text.length);
  return { train: text.slice(0, cut), validation: text.slice(cut) };
}

export interface Study {
  /** Not in training mode. */
  readonly model: Transformer;
  readonly tokenizer: Tokenizer;
  /** What it learned from, for calibration. */
  readonly training: TokenDataset;
  /** What it never saw. */
  readonly validation: TokenDataset;
  /** For the title of a figure: which model this is. */
  readonly caption: string;
}

/**
 * A trained model to take apart, with its texts: trained now unless it was before. The full one is there once
 * `npm run lab -- experiment study-model` has made it.
 */
export async function studyModel(options: ExperimentOptions = {}): Promise<Study> {
  const { settings, folder, caption } = await runExperiment(studyModelExperiment, options);
  const { model, tokenizer } = await loadModel(join(folder, CHECKPOINT));
  const { training, validation } = await studyText(settings);
  return { model, tokenizer, training, validation, caption: `${settings.text}, ${caption}` };
}
