/**
 * @file What can be decided about a training, what stands unless told (nanoGPT's values), and what comes out.
 */
import { invariant } from '../base/index.ts';
import type { Batch } from '../data/index.ts';
import type { MatmulPrecision } from '../ops/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { AdamW } from './adamw.ts';
import type { LossPoint } from './checkpoint.ts';
import type { LossFunction } from './gradients.ts';
import type { LossScaleOptions } from './loss-scale.ts';
import type { OptimizerFactory } from './optimizer.ts';
import { warmupCosine, type Schedule, type WarmupCosineOptions } from './schedule.ts';

export interface StepReport extends LossPoint {
  readonly learningRate: number;
  /** What the loss was multiplied by, where loss scaling is on. */
  readonly lossScale?: number;
  /** True when its gradients overflowed, so that nothing was changed. */
  readonly skipped?: boolean;
}

export interface CheckpointOptions {
  readonly path: string;
  /** Steps between saves; the last step, and the one after which training is interrupted, are always saved. */
  readonly every?: number;
  /** Go on from the checkpoint at `path` if there is one. */
  readonly resume?: boolean;
  /** Saved along, so that the checkpoint can be sampled from. */
  readonly tokenizer?: Tokenizer;
  /** Saved along: plain data of the caller's. */
  readonly notes?: Readonly<Record<string, unknown>>;
}

export interface ValidationOptions {
  /** Called for each measurement; the same text each time makes the numbers comparable. */
  readonly batches: () => Iterable<Batch>;
  /** Steps between measurements; after the last step there is always one. */
  readonly every: number;
}

export interface TrainOptions {
  /** Updates in all, those before a resumed checkpoint included. */
  readonly steps: number;
  /** Highest learning rate; 0.001 suits small models. */
  readonly learningRate?: number;
  /** Where the cosine ends; a tenth of the highest unless told. */
  readonly minimumLearningRate?: number;
  /** Steps until the highest rate is reached; 100 unless told, fewer in short runs. */
  readonly warmupSteps?: number;
  readonly weightDecay?: number;
  readonly beta1?: number;
  readonly beta2?: number;
  /** Gradients longer than this are shortened to it; Infinity: never. */
  readonly clipNorm?: number;
  /**
   * 'mixed': weights, their updates and all sums are float32, and matrix products take operands rounded to float16; the loss is
   * scaled. On webgpu alone. Micikevicius et al. 2018 (default 'float32').
   */
  readonly precision?: MatmulPrecision;
  /** Scale the loss so that small gradients are not lost; unless told, with mixed precision only. */
  readonly lossScale?: boolean | LossScaleOptions;
  /** Batches that count as one: their gradients are averaged before the step. */
  readonly accumulate?: number;
  /** In place of warmup and cosine: the learning rate of a step, from what was asked for by the options above. */
  readonly schedule?: (step: number, rates: WarmupCosineOptions) => number;
  /** In place of AdamW. */
  readonly optimizer?: OptimizerFactory;
  /** In place of the cross-entropy. */
  readonly loss?: LossFunction;
  readonly validation?: ValidationOptions;
  readonly checkpoint?: CheckpointOptions;
  /** After each step, in order, but maybe one step late: reading the loss does not hold up the device. */
  readonly onStep?: (report: StepReport) => void;
  /** After each measurement on the validation text. */
  readonly onValidation?: (report: LossPoint) => void;
  /** No progress bar and no live curve. */
  readonly quiet?: boolean;
}

export interface TrainResult {
  readonly losses: readonly LossPoint[];
  readonly validationLosses: readonly LossPoint[];
  /** Steps made in all. */
  readonly steps: number;
  /** Time spent in all, earlier parts of a resumed training included. */
  readonly seconds: number;
  /** Of this part of the training, without its measurements and saves. */
  readonly tokensPerSecond: number;
  readonly interrupted: boolean;
}

/** The options with everything decided. */
export interface TrainPlan extends TrainOptions {
  readonly clipNorm: number;
  readonly accumulate: number;
  readonly precision: MatmulPrecision;
  /** undefined: the loss is not scaled. */
  readonly lossScaling: LossScaleOptions | undefined;
  readonly schedule: Schedule;
  readonly optimizer: OptimizerFactory;
}

/** @throws RangeError for numbers that make no sense. */
export function trainPlan(options: TrainOptions): TrainPlan {
  const {
    steps,
    learningRate = 1e-3,
    warmupSteps = Math.min(100, Math.floor(steps / 10)),
    clipNorm = 1,
    accumulate = 1,
    precision = 'float32',
  } = options;
  const { lossScale = precision === 'mixed' } = options;
  const { minimumLearningRate: minimum = learningRate / 10, weightDecay = 0.1, beta1 = 0.9, beta2 = 0.99 } = options;
  const counts = {
    steps,
    accumulate,
    'validation.every': options.validation?.every,
    'checkpoint.every': options.checkpoint?.every,
  };
  for (const [name, count] of Object.entries(counts)) {
    invariant(
      count === undefined || (Number.isInteger(count) && count > 0),
      `train: ${name} must be a positive integer, got ${count}`,
    );
  }
  const rates = { learningRate, warmupSteps, steps, minimum };
  const { schedule } = options;
  return {
    ...options,
    clipNorm,
    accumulate,
    precision,
    lossScaling: lossScale === true ? {} : lossScale || undefined,
    schedule: schedule ? (step) => schedule(step, rates) : warmupCosine(rates),
    optimizer: options.optimizer ?? ((parameters) => new AdamW(parameters, { weightDecay, beta1, beta2 })),
  };
}
