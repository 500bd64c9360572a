/**
 * @file The model that the chapter on fine-tuning adapts. It is trained on news of a market. Behind some of them stands
 * how investors feel, and that is true; behind others what the mood is, and that is drawn by lot. So it has learned what good
 * and bad news are, and the words for a mood, but not to say the one by the other: that is left to fine-tuning.
 */
import { join } from 'node:path';
import { tf } from '../backend/index.ts';
import { LabError, Random } from '../base/index.ts';
import { completionBatch, type Sample } from '../align/index.ts';
import { TokenDataset } from '../data/index.ts';
import type { Transformer, TransformerPreset } from '../model/index.ts';
import { BPETokenizer, type Tokenizer } from '../tokenizer/index.ts';
import { loadModel } from '../train/index.ts';
import { marketKnowledge, marketSentiments, type MarketKnowledge, type MarketSentiment } from '../worlds/index.ts';
import { runExperiment, type Experiment, type ExperimentOptions } from './experiment.ts';
import { CHECKPOINT, trainedModel } from './trained-model.ts';

/** What the model can answer. */
export const moods = ['negative', 'neutral', 'positive'] as const;
export type Mood = (typeof moods)[number];

export interface SentimentSettings {
  readonly companies: number;
  /** Sentences that the model is trained on. */
  readonly sentences: number;
  readonly vocabSize: number;
  readonly model: TransformerPreset;
  readonly batchSize: number;
  readonly steps: number;
  readonly learningRate: number;
  /** Sentences with their true mood: to learn from, and to be judged by; as many of each mood. */
  readonly examples: { readonly training: number; readonly test: number };
  readonly seed: number;
}

export interface SentimentResult {
  readonly parameters: number;
  /** Nats per token of news that it did not see. */
  readonly validationLoss: number;
}

const QUESTION = ' The mood is';
const feelings: Readonly<Record<string, string>> = {
  negative: ' Investors are sorry.',
  neutral: ' Investors are calm.',
  positive: ' Investors are glad.',
};
/** The shares of the news behind which a feeling stands, and a mood. */
const FELT = 0.7;
const ASKED = 0.15;
/** Letters in a sentence: the short ones alone, so that a small model learns from many of them. */
const LONGEST = 60;
const VALIDATION_SENTENCES = 400;

export const sentimentModelExperiment: Experiment<SentimentSettings, SentimentResult> = {
  name: 'sentiment-model',
  question: 'How well does a small Transformer learn news of a market?',
  version: 1,
  settings: {
    small: {
      companies: 12,
      sentences: 7000,
      vocabSize: 512,
      model: { layers: 2, width: 64, heads: 4, contextLength: 48 },
      batchSize: 16,
      steps: 450,
      learningRate: 4e-3,
      examples: { training: 600, test: 300 },
      seed: 1,
    },
    full: {
      companies: 40,
      sentences: 20_000,
      vocabSize: 1024,
      model: { layers: 4, width: 128, heads: 4, contextLength: 48 },
      batchSize: 16,
      steps: 2000,
      learningRate: 3e-3,
      examples: { training: 1500, test: 600 },
      seed: 1,
    },
  },
  async run(settings, context) {
    return trainedModel(newsText(settings), settings, context);
  },
  describe: ({ parameters, validationLoss }) =>
    `${parameters.toLocaleString('en')} parameters, ${validationLoss.toFixed(4)} nats per token of news`,
};

interface NewsText {
  readonly tokenizer: BPETokenizer;
  readonly training: TokenDataset;
  readonly validation: TokenDataset;
}

/** Sentences, a line each; behind some a feeling that fits, or a mood that has nothing to do with them. */
function newsText({ companies, sentences, vocabSize, seed }: SentimentSettings): NewsText {
  const knowledge = marketKnowledge({ companies, seed });
  const random = new Random(seed);
  const records = shortNews(knowledge, sentences + VALIDATION_SENTENCES, seed);
  const lines = records.map(({ sentence, label }) => {
    const lot = random.uniform();
    const mood = `${QUESTION} ${random.pick(moods)}.`;
    const more = lot < FELT ? feelings[label]! : lot < FELT + ASKED ? mood : '';
    return `${sentence}${more}\n`;
  });
  const parts = [lines.slice(0, sentences), lines.slice(sentences)].map((part) => part.join(''));
  const tokenizer = BPETokenizer.train(parts[0]!, { vocabSize, quiet: true });
  const [training, validation] = parts.map((part) => new TokenDataset(tokenizer.encode(part), tokenizer.vocabSize));
  return { tokenizer, training: training!, validation: validation! };
}

/** So many sentences. */
function shortNews(knowledge: MarketKnowledge, count: number, seed: number): MarketSentiment[] {
  const found: MarketSentiment[] = [];
  for (let part = 0; found.length < count; part++) {
    const drawn = marketSentiments(knowledge, { count, seed: seed + 1000 * part, shape: 'phrase bank' });
    found.push(...drawn.filter(({ sentence }) => sentence.length <= LONGEST));
  }
  return found.slice(0, count);
}

/** A sentence of news, and the mood that it deserves. */
export interface MoodExample extends Sample {
  readonly sentence: string;
  readonly mood: Mood;
}

export interface SentimentStudy {
  /** Not in training mode. */
  readonly model: Transformer;
  readonly tokenizer: Tokenizer;
  readonly training: readonly MoodExample[];
  /** None of whose sentences is among those of `training`. */
  readonly test: readonly MoodExample[];
  /** News as the model was trained on, that it did not see: what fine-tuning may forget. */
  readonly news: TokenDataset;
  /** The token of each mood. */
  readonly moodTokens: readonly number[];
  /** For the title of a figure: which model this is. */
  readonly caption: string;
}

/** A trained model with something to learn: trained now unless it was before. */
export async function sentimentStudy(options: ExperimentOptions = {}): Promise<SentimentStudy> {
  const { settings, folder, caption } = await runExperiment(sentimentModelExperiment, options);
  const { model, tokenizer } = await loadModel(join(folder, CHECKPOINT));
  const { validation: news } = newsText(settings);
  const moodTokens = moods.map((mood) => {
    const ids = tokenizer.encode(` ${mood}`);
    if (ids.length === 1) return ids[0]!;
    throw new LabError(`' ${mood}' is ${ids.length} tokens, but must be one: give the tokenizer a larger vocabulary.`);
  });
  return { model, tokenizer, ...examplesOf(settings, tokenizer), news, moodTokens, caption };
}

function examplesOf(
  { companies, examples, seed }: SentimentSettings,
  tokenizer: Tokenizer,
): Pick<SentimentStudy, 'training' | 'test'> {
  const knowledge = marketKnowledge({ companies, seed });
  const total = examples.training + examples.test;
  const seen = new Set<string>();
  const byMood = new Map<string, MoodExample[]>(moods.map((mood) => [mood, []]));
  const places = total / moods.length;
  for (let more = 1; [...byMood.values()].some(({ length }) => length < places); more++) {
    for (const { sentence, label } of shortNews(knowledge, total, seed + 100_000 * more)) {
      const own = byMood.get(label)!;
      if (seen.has(sentence) || own.length >= places) continue;
      seen.add(sentence);
      const [prompt, completion] = [sentence + QUESTION, ` ${label}`].map((text) => [...tokenizer.encode(text)]);
      own.push({ sentence, mood: label as Mood, prompt: prompt!, completion: completion! });
    }
  }
  const cut = examples.training / moods.length;
  const random = new Random(seed);
  const part = (from: number, to: number): MoodExample[] =>
    random.shuffle([...byMood.values()].flatMap((own) => own.slice(from, to)));
  return { training: part(0, cut), test: part(cut, places) };
}

/** Which mood a model finds the most likely behind each example. */
export async function answeredMoods(
  model: Transformer,
  { moodTokens }: Pick<SentimentStudy, 'moodTokens'>,
  examples: readonly MoodExample[],
): Promise<Mood[]> {
  const answers: Mood[] = [];
  for (let first = 0; first < examples.length; first += 100) {
    const { inputs, lastTargets, batchSize, contextLength } = completionBatch(examples.slice(first, first + 100));
    const best = tf.tidy(() => {
      const logits = model.forward(tf.tensor2d(inputs, [batchSize, contextLength], 'int32'));
      const rows = Int32Array.from(lastTargets, (at, row) => row * contextLength + at);
      const flat = tf.reshape<tf.Rank.R2>(logits, [batchSize * contextLength, -1]);
      const last = tf.gather(flat, tf.tensor1d(rows, 'int32'));
      return tf.argMax(tf.gather(last, tf.tensor1d([...moodTokens], 'int32'), 1), 1);
    });
    for (const index of await best.data()) answers.push(moods[index]!);
    best.dispose();
  }
  return answers;
}
