/**
 * @file Where all methods of alignment start from: a small model that has learned the market's statements, and then to answer
 * as people do, well and badly.
 */
import { pretrainingSamples, supervisedFineTuning, type Sample } from '../../align/index.ts';
import { randomBatches, type TokenDataset } from '../../data/index.ts';
import { Transformer, type TransformerPreset } from '../../model/index.ts';
import { train } from '../../train/index.ts';
import { PhraseMarket } from './phrase-market.ts';

export interface AlignmentStartSettings {
  /** Of the market; two questions on each. */
  readonly companies: number;
  readonly model: TransformerPreset;
  readonly pretrainingSteps: number;
  readonly fineTuningSteps: number;
}

export const smallAlignmentStart: AlignmentStartSettings = {
  companies: 8,
  model: { layers: 1, width: 48, heads: 4, contextLength: 32, position: 'rotary', bias: false },
  pretrainingSteps: 100,
  fineTuningSteps: 400,
};

export interface AlignmentStart {
  readonly market: PhraseMarket;
  /** Not in training mode. */
  readonly model: Transformer;
  /** What it learned first. */
  readonly text: TokenDataset;
  /** The same kind of text, which it never saw. */
  readonly unseenText: TokenDataset;
  /** What it was fine-tuned on. */
  readonly lessons: readonly Sample[];
}

const [STATEMENTS, UNSEEN, LESSONS] = [2000, 200, 2400];
/** Windows of the first text among the lessons, so that it is not forgotten. */
const REMINDERS = 300;

/** Trains the model; a few seconds. */
export async function alignmentStart(
  { companies, model: preset, pretrainingSteps, fineTuningSteps }: AlignmentStartSettings = smallAlignmentStart,
  { quiet = false }: { readonly quiet?: boolean } = {},
): Promise<AlignmentStart> {
  const market = new PhraseMarket({ companies });
  const [text, unseenText] = [market.statements(STATEMENTS, 1), market.statements(UNSEEN, 2)];
  const lessons = market.lessons(LESSONS, 3);
  const model = new Transformer({ ...preset, vocabSize: market.vocabSize, seed: 1 });
  const windows = randomBatches(text, { batchSize: 16, contextLength: 16, seed: 1 });
  await train(model, windows, { steps: pretrainingSteps, learningRate: 5e-3, quiet });
  const reminders = pretrainingSamples(text, { count: REMINDERS, length: 16, seed: 1 });
  await supervisedFineTuning(model, [...lessons, ...reminders], { steps: fineTuningSteps, learningRate: 8e-3, batchSize: 32, quiet });
  return { market, model: model.eval(), text, unseenText, lessons };
}
