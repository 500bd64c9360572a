/** @file What can be decided about the experiment on hallucination, in its two sizes. */
import type { ExperimentSize } from '../experiment.ts';
import type { TransformerPreset } from '../../model/index.ts';
import type { CrawlSettings } from './crawl.ts';

/** What a model learns from, or how: each of them is one training. */
export const treatments = [
  'raw',
  'cleaned',
  'deduplicated',
  'filtered',
  'textbook-like',
  'topic prefix',
  'sentence completion',
] as const;
export type Treatment = (typeof treatments)[number];

export interface HallucinationSettings {
  readonly companies: number;
  readonly crawl: CrawlSettings;
  /** Of the weights and of what is drawn: each treatment is trained once with each. */
  readonly seeds: readonly number[];
  readonly treatments: readonly Treatment[];
  readonly vocabSize: number;
  readonly model: TransformerPreset;
  /** The same for all treatments: they see as many tokens. */
  readonly batchSize: number;
  readonly steps: number;
  readonly learningRate: number;
  /** What each model writes: texts on companies, the tokens of each. */
  readonly texts: number;
  readonly textTokens: number;
  /** Beginnings of sentences on facts, which each model goes on with. */
  readonly probes: number;
  /** Of top-p sampling, tried on the raw model. */
  readonly topPs: readonly number[];
  /** For retrieval and abstention. Gently: few steps at a high rate make so small a model forget what it knew. */
  readonly tuning: {
    /** Begun sentences to be tuned on, as many to find out what is known, and as many for the test. */
    readonly questions: number;
    readonly steps: number;
    readonly preferenceSteps: number;
    readonly batchSize: number;
    readonly learningRate: number;
    readonly preferenceLearningRate: number;
  };
}

/** p of whatever is not about p itself: small models hardly write a sentence at more. */
export const USUAL_TOP_P = 0.5;
/** Where the factual nucleus begins, and what it is compared with. */
export const NUCLEUS_TOP_P = 0.9;

export const hallucinationSettings: Readonly<Record<ExperimentSize, HallucinationSettings>> = {
  small: {
    companies: 4,
    crawl: {
      clean: 240,
      boilerplate: 100,
      copies: 100,
      rumours: 200,
      garbled: 100,
      registers: ['encyclopedia', 'news wire'],
      seed: 1,
    },
    seeds: [1, 2, 3],
    treatments: ['raw', 'cleaned'],
    vocabSize: 512,
    model: { layers: 2, width: 64, heads: 4, contextLength: 64, position: 'rotary', bias: false },
    batchSize: 8,
    steps: 500,
    learningRate: 1e-2,
    texts: 64,
    textTokens: 48,
    probes: 80,
    topPs: [0.1, 0.5, 0.9, 1],
    tuning: {
      questions: 40,
      steps: 60,
      preferenceSteps: 40,
      batchSize: 8,
      learningRate: 4e-4,
      preferenceLearningRate: 5e-4,
    },
  },
  full: {
    companies: 8,
    crawl: { clean: 900, boilerplate: 350, copies: 350, rumours: 700, garbled: 350, seed: 1 },
    seeds: [1, 2, 3],
    treatments,
    vocabSize: 768,
    model: { layers: 3, width: 96, heads: 4, contextLength: 64, position: 'rotary', bias: false },
    batchSize: 12,
    steps: 1000,
    learningRate: 5e-3,
    texts: 96,
    textTokens: 64,
    probes: 240,
    topPs: [0.1, 0.3, 0.5, 0.7, 0.9, 1],
    tuning: {
      questions: 120,
      steps: 120,
      preferenceSteps: 40,
      batchSize: 16,
      learningRate: 3e-4,
      preferenceLearningRate: 5e-4,
    },
  },
};
