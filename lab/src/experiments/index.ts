/** @file Experiments that notebooks show and the command line runs in full. */
import { LabError } from '../base/index.ts';
import { runExperiment, type Experiment, type ExperimentOptions, type Finding } from './experiment.ts';
import { extractionExperiment } from './extraction.ts';
import { frontierExperiment } from './frontier/index.ts';
import { hallucinationExperiment } from './hallucination/index.ts';
import { peftTableExperiment } from './peft-table.ts';
import { quantizationTableExperiment } from './quantization-table.ts';
import { sentimentModelExperiment } from './sentiment-model.ts';
import { studyModelExperiment } from './study-model.ts';

export * from './experiment.ts';
export * from './extraction.ts';
export * from './frontier/index.ts';
export * from './hallucination/index.ts';
export * from './peft-table.ts';
export * from './quantization-table.ts';
export * from './sentiment-model.ts';
export * from './study-model.ts';

export const experiments = {
  extraction: extractionExperiment,
  frontier: frontierExperiment,
  hallucination: hallucinationExperiment,
  'peft-table': peftTableExperiment,
  'quantization-table': quantizationTableExperiment,
  'sentiment-model': sentimentModelExperiment,
  'study-model': studyModelExperiment,
} as const;

type Experiments = typeof experiments;
type FindingOf<E> = E extends Experiment<infer Settings, infer Result> ? Finding<Settings, Result> : never;

/**
 * Runs an experiment by its name, or finds what it found before: the full form if that was run here, else the small one.
 *
 * @throws LabError for a name that is not known, listing those that are.
 */
export function experiment<Name extends keyof Experiments>(
  name: Name,
  options: ExperimentOptions = {},
): Promise<FindingOf<Experiments[Name]>> {
  return runExperiment(experimentNamed(name) as Experiment, options) as Promise<FindingOf<Experiments[Name]>>;
}

export function experimentNamed(name: string): Experiments[keyof Experiments] {
  if (Object.hasOwn(experiments, name)) return experiments[name as keyof Experiments];
  throw new LabError(`There is no experiment '${name}'. Experiments: ${Object.keys(experiments).join(', ')}.`);
}
