/**
 * @file What an exercise and a chapter are: the entry that every part of the course reads (checks, map, tests).
 */
import type { DirectOptions, PPOParts } from '../align/index.ts';
import type { GenerateOptions, Transformer, TransformerConfig } from '../model/index.ts';
import type { SweepOptions } from '../quantize/index.ts';
import type { EngineOptions } from '../serve/index.ts';
import type { TrainOptions } from '../train/index.ts';

/** The functions that answer an exercise, by name. */
// The functions of different exercises have nothing in common but that they can be called.
// oxlint-disable-next-line typescript/no-explicit-any
export type Answer = Readonly<Record<string, any>>;

/** Where an answer takes its place in the real thing: options that `mine()` collects from every passed exercise. */
export interface Assembly {
  transformer: Partial<TransformerConfig>;
  train: Partial<TrainOptions>;
  generate: Partial<GenerateOptions>;
  /** For `directPreferenceOptimization`. */
  direct?: Pick<DirectOptions, 'pairLoss'>;
  /** For GPTQ and `quantizeModel`. */
  quantize?: Partial<SweepOptions>;
  /** For `ppo`, as its `parts`. */
  ppo?: Partial<PPOParts>;
  /** For `Engine.forModel`. */
  serve?: Partial<EngineOptions>;
  /** Done to every model once it is made: answers that replace one kind of module, if the model has it. */
  finish?: readonly ((model: Transformer) => void)[];
}

export interface Exercise {
  /** '3.1': the chapter and the place in it. Its tests stand in one `describe('3.1 …')`. */
  readonly id: string;
  readonly title: string;
  /** What the reader's cell defines and the solution exports. */
  readonly names: readonly string[];
  readonly difficulty: 1 | 2 | 3 | 4 | 5;
  readonly minutes: number;
  /** The library's own functions under the exercise's contract. */
  readonly library: Readonly<Record<string, unknown>>;
  /** What the answer becomes in the model, for the map: 'attention', 'layer norm'. */
  readonly room?: string;
  /** Puts an answer that passed into the model, the trainer or the sampler. */
  plug?(answer: Answer, assembly: Assembly): void;
}

export interface Chapter {
  readonly number: number;
  /** The name that notebook, solutions, tests and mistakes share: '03-attention'. */
  readonly slug: string;
  readonly title: string;
  readonly exercises: readonly Exercise[];
}

/** Wrong and right answers for one exercise; each names only what differs from the solution. */
export interface ExerciseMistakes {
  /** The key is the id of the hint that must be given for it, and no other. */
  readonly mistakes: Readonly<Record<string, Answer>>;
  /** Right answers, written differently from the solution. */
  readonly right: readonly Answer[];
}

/** `test/mistakes/03-attention.ts`: the exercises of a chapter by id. */
export type ChapterMistakes = Readonly<Record<string, ExerciseMistakes>>;
