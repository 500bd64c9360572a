/**
 * @file LLM-QAT: quantization-aware training without data. The model writes its own training text, and a copy of it with
 * fake-quantized weights, activations, keys and values learns to predict what the float model predicts. Liu et al. 2023.
 */
import { LabError } from '../../base/index.ts';
import type { Batches } from '../../data/index.ts';
import { Transformer } from '../../model/index.ts';
import { train, type TrainOptions, type TrainResult } from '../../train/index.ts';
import { DistilledModel, type DistillationLoss } from './distillation.ts';
import { quantizationAware, type QuantizationAwareOptions } from './quantization-aware.ts';
import { selfGeneratedSequences, sequenceBatches, type SelfGeneratedOptions } from './self-generated.ts';

export interface LLMQATOptions extends QuantizationAwareOptions {
  /** Default 4-8-4: weights, activations, keys and values. */
  readonly weights?: number | null;
  readonly activations?: number | null;
  readonly keyValues?: number | null;
  /** What to learn from: how the model should write it, or batches of any text. */
  readonly data?: SelfGeneratedOptions | Batches;
  /** Sequences in a batch of self-generated data (default 16). */
  readonly batchSize?: number;
  /** Sets student and teacher apart; `distillationLoss` unless told. */
  readonly distillation?: DistillationLoss;
  /**
   * How it is trained; the paper's 2e-5 is for models of 7 billion parameters; 1e-4 (default) suits those of a million, 1e-3
   * weights of 2 bits.
   */
  readonly training?: Partial<Omit<TrainOptions, 'loss'>>;
  readonly seed?: number;
  readonly quiet?: boolean;
}

export interface LLMQATResult {
  /** A copy of the model whose linear layers are `FakeQuantLinear`; yours to dispose of. */
  readonly student: Transformer;
  readonly training: TrainResult;
}

/**
 * @param model the teacher; it stays as it is
 * @throws LabError when it is interrupted while the data is written. An interrupted training gives the student as far as it is.
 */
export async function llmQAT(model: Transformer, options: LLMQATOptions = {}): Promise<LLMQATResult> {
  const { data = {}, batchSize = 16, distillation, training = {}, seed = 0, quiet = false, ...rest } = options;
  const aware = { weights: 4, activations: 8, keyValues: 4, ...rest };
  const student = copyOf(model);
  try {
    quantizationAware(student, aware);
    const batches =
      'next' in data
        ? data
        : sequenceBatches(await selfGeneratedSequences(model, { seed, quiet, ...data }), { batchSize, seed });
    const result = await train(new DistilledModel(student, model, distillation), batches, {
      steps: 300,
      learningRate: 1e-4,
      minimumLearningRate: 0,
      weightDecay: 0,
      quiet,
      ...training,
    });
    student.eval();
    return { student, training: result };
  } catch (error) {
    student.dispose();
    throw error;
  }
}

/**
 * Another model of the same configuration with the same parameters.
 *
 * @throws LabError when modules of it were replaced, so that the configuration no longer says what it is.
 */
export function copyOf(model: Transformer): Transformer {
  const copy = new Transformer(model.config);
  const kinds = (of: Transformer): string =>
    [...of.namedModules()].map(([path, { constructor }]) => `${path} ${constructor.name}`).join();
  if (kinds(copy) !== kinds(model)) {
    copy.dispose();
    throw new LabError(
      'copyOf: modules of this model were replaced (quantized?), so its configuration does not say how to build it.',
    );
  }
  copy.loadStateDict(model.stateDict());
  return copy.eval();
}
