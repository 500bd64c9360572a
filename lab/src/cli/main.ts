/**
 * @file `npm run lab -- COMMAND …`: finds the command, runs it, and turns its errors into a sentence and an exit status.
 * 0: done; 1: the command says no (a check failed); 2: bad arguments or bad input; 130: interrupted.
 */
import { LabError, messageOf } from '../base/index.ts';
import { check } from './check.ts';
import { helpText, readArguments, type Command } from './command.ts';
import { bench } from './bench.ts';
import { data } from './data.ts';
import { doctor } from './doctor.ts';
import { evaluate } from './evaluate.ts';
import { experimentCommand } from './experiment.ts';
import { exportModel } from './export.ts';
import { grade } from './grade.ts';
import { hintCommand, mineCommand, progressCommand, resetCommand, solutionCommand, watchCommand } from './learn.ts';
import { newChapter, newExercise } from './new.ts';
import { quality } from './quality.ts';
import { releaseCommand, updateCommand } from './release.ts';
import { sample } from './sample.ts';
import { serve } from './serve.ts';
import { train } from './train.ts';

const commands: readonly Command[] = [
  doctor,
  bench,
  train,
  sample,
  serve,
  evaluate,
  experimentCommand,
  exportModel,
  data,
  quality,
  check,
  watchCommand,
  progressCommand,
  mineCommand,
  hintCommand,
  solutionCommand,
  resetCommand,
  grade,
  releaseCommand,
  updateCommand,
  newChapter,
  newExercise,
];

function overview(): string {
  const width = Math.max(...commands.map((c) => c.name.length));
  return [
    'npm run lab -- COMMAND [options]',
    '',
    ...commands.map((c) => `  ${c.name.padEnd(width)}  ${c.summary}`),
    '',
    'npm run lab -- COMMAND --help explains one of them.',
  ].join('\n');
}

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === 'help') {
    console.log(overview());
    return name === undefined ? 2 : 0;
  }
  // The name of a command may have two words.
  const command = commands.find((c) => c.name === `${name} ${rest[0]}`) ?? commands.find((c) => c.name === name);
  if (!command) throw new LabError(`There is no command '${name}'.\n\n${overview()}`);
  const { values, positionals } = readArguments(command, rest);
  if (values['help'] === true) {
    console.log(helpText(command));
    return 0;
  }
  return command.run(values, positionals);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof LabError || error instanceof RangeError ? messageOf(error) : error);
  process.exitCode = 2;
}
