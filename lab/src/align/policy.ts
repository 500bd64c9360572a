/**
 * @file A policy: a model that learns, and the frozen reference that it is held to. The seam for adapters: with a LoRA the
 * reference is the same model with the adapter off.
 *
 * Shapes: B sequences, N targets that count.
 */
import { offTape, tf, type Tensor1D } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import type { Batch } from '../data/index.ts';
import type { Transformer } from '../model/index.ts';
import { copyOf } from '../quantize/index.ts';
import {
  countedTargets,
  readBatch,
  tokenLogProbabilities,
  type CountedTargets,
  type LogProbabilityOptions,
} from './log-probabilities.ts';

export interface Policy {
  /** What is trained and writes. */
  readonly model: Transformer;
  /** Runs `f` with the reference. */
  withReference<T>(f: (reference: Transformer) => T): T;
  /** Frees the reference, not the model. */
  dispose(): void;
}

/**
 * The model, and a copy of it, or another model, as its reference.
 *
 * @throws LabError when the reference has another vocabulary or a shorter context.
 */
export function policyOf(model: Transformer, reference?: Transformer): Policy {
  const held = (reference ?? copyOf(model)).eval();
  for (const size of ['vocabSize', 'contextLength'] as const) {
    const [mine, its] = [model.config[size], held.config[size]];
    if (size === 'vocabSize' ? mine === its : its >= mine) continue;
    throw new LabError(
      `The reference has a ${size} of ${its}, the policy one of ${mine}: they must read the same tokens. Take the model that the ` +
        'policy began as.',
    );
  }
  return { model, withReference: (f) => f(held), dispose: () => void (reference ?? held.dispose()) };
}

/** A model with adapters: its reference is itself without them. @param without runs a function with the adapters off */
export function adapterPolicy(model: Transformer, without: <T>(f: () => T) => T): Policy {
  return { model, withReference: (f) => without(() => f(model)), dispose: () => {} };
}

/** [N], on the tape: log π of the targets that count. */
export function logProbabilities(
  model: Transformer,
  batch: Batch,
  targets: CountedTargets = countedTargets(batch),
  options: LogProbabilityOptions = {},
): Tensor1D {
  return tf.tidy(() => tokenLogProbabilities(model, readBatch(model, batch), targets, options).logProbabilities);
}

/** The same of the reference, off the tape. */
export function referenceLogProbabilities(
  policy: Policy,
  batch: Batch,
  targets: CountedTargets = countedTargets(batch),
  options: LogProbabilityOptions = {},
): Tensor1D {
  return offTape(() => policy.withReference((reference) => logProbabilities(reference, batch, targets, options)));
}
