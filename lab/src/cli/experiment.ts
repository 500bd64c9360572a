/**
 * @file `npm run lab -- experiment`: runs in full what a notebook shows in small.
 */
import { relative } from 'node:path';
import { stopBackend } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import { experimentNamed, experiments, findingOf, runExperiment, type Experiment } from '../experiments/index.ts';
import type { Command, Values } from './command.ts';
import { backendOptions, startChosenBackend } from './model.ts';

export const experimentCommand: Command = {
  name: 'experiment',
  summary: 'Run an experiment of the notebooks in full; its figures then show that. Without a name: list them.',
  usage: '[NAME] [options]',
  options: {
    small: { type: 'boolean', help: 'the small form, as a notebook runs it' },
    again: { type: 'boolean', help: 'from the start, although its result is known' },
    ...backendOptions,
  },
  examples: ['npm run lab -- experiment', 'npm run lab -- experiment study-model'],
  async run(values, [name, ...more]) {
    if (more.length > 0) throw new LabError(`experiment takes one name, got '${[name, ...more].join(' ')}'.`);
    return name === undefined ? list() : runOne(experimentNamed(name) as Experiment, values);
  },
};

async function list(): Promise<number> {
  for (const experiment of Object.values(experiments) as Experiment[]) {
    console.log(`${experiment.name}: ${experiment.question}`);
    for (const size of ['small', 'full'] as const) {
      const found = await findingOf(experiment, size);
      console.log(`  ${size.padEnd(5)}  ${found ? experiment.describe(found.result).replaceAll('\n', '\n         ') : 'not run yet'}`);
    }
  }
  return 0;
}

async function runOne(experiment: Experiment, values: Values): Promise<number> {
  await startChosenBackend(values);
  try {
    const size = values['small'] === true ? 'small' : 'full';
    const { result, caption, folder } = await runExperiment(experiment, { size, again: values['again'] === true });
    console.log(`${experiment.question}\n\n${experiment.describe(result)}\n\n${caption}: ${relative(process.cwd(), folder)}`);
    return 0;
  } finally {
    await stopBackend();
  }
}
