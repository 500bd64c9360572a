/**
 * @file Checkpoints of methods that write and learn in turns: one is a checkpoint of the policy that `loadModel` reads, and beside
 * its weights it holds what the training alone needs: the optimizer's moments, the value model, and where the draws were.
 */
import { existsSync } from 'node:fs';
import { tf, type Variable } from '../backend/index.ts';
import type { Random, RandomState } from '../base/index.ts';
import type { Transformer } from '../model/index.ts';
import { loadCheckpoint, restoreWeights, saveCheckpoint, tensorOf, type CheckpointOptions } from '../train/index.ts';
import { savedConfiguration } from '../train/load-model.ts';
import type { PolicyStep } from './policy-step.ts';

/** All that changes while a policy learns. */
export interface Learner {
  readonly model: Transformer;
  /** What learns with the policy and is no part of it: the value model. */
  readonly companions?: ReadonlyMap<string, Variable>;
  readonly step: PolicyStep;
  readonly random: Random;
  /** The price of distance, where it is adapted. */
  beta?: number;
}

/** What was reported so far; plain data. */
export interface IterationsSoFar<Report> {
  readonly reports: readonly Report[];
  readonly seconds: number;
}

interface Notes<Report> {
  readonly reports: readonly Report[];
  readonly beta?: number;
}

/** @throws LabError when a weight is not a finite number or the file cannot be written; an older checkpoint is then intact. */
export async function saveIterations<Report>(
  { path, tokenizer, notes }: CheckpointOptions,
  learner: Learner,
  { reports, seconds }: IterationsSoFar<Report>,
): Promise<void> {
  const moments = learner.step.state();
  const own: Notes<Report> = { reports, ...(learner.beta !== undefined && { beta: learner.beta }) };
  try {
    await saveCheckpoint(path, {
      parameters: learner.model.namedParameters(),
      optimizer: new Map([...moments, ...(learner.companions ?? [])]),
      state: { step: reports.length, losses: [], validationLosses: [], seconds, batches: learner.random.state, random: {} },
      configuration: savedConfiguration(learner.model.config),
      ...(tokenizer && { tokenizer }),
      notes: { ...notes, alignment: own },
    });
  } finally {
    tf.dispose([...moments.values()]);
  }
}

/**
 * Puts everything back as it was.
 *
 * @returns undefined where there is no checkpoint, or it is not wanted
 * @throws LabError when the file is damaged or is of another model
 */
export async function resumeIterations<Report>(
  { path, resume = false }: CheckpointOptions,
  learner: Learner,
): Promise<IterationsSoFar<Report> | undefined> {
  if (!resume || !existsSync(path)) return undefined;
  const checkpoint = await loadCheckpoint(path);
  const saved = new Map([...checkpoint.optimizer].map(([name, tensor]) => [name, tensorOf(tensor)]));
  try {
    restoreWeights(checkpoint, learner.model.namedParameters());
    await learner.step.load(saved);
    for (const [name, variable] of learner.companions ?? []) variable.assign(saved.get(name)!);
  } finally {
    tf.dispose([...saved.values()]);
  }
  const { reports, beta } = checkpoint.notes['alignment'] as Notes<Report>;
  learner.random.state = checkpoint.state.batches as RandomState;
  if (beta !== undefined) learner.beta = beta;
  return { reports, seconds: checkpoint.state.seconds };
}
