/**
 * @file How many predicted programs are right: by what they compute (execution accuracy) and by what they are (program
 * accuracy), as FinQA and ConvFinQA report them.
 */
import { LabError } from '../../base/index.ts';
import { type ProgramValue, runProgram, type ProgramTable } from './run.ts';
import { sameProgram } from './same.ts';

export interface PredictedProgram {
  readonly predicted: string | readonly string[];
  /** The right program. */
  readonly gold: string | readonly string[];
  readonly table: ProgramTable;
  /** What the right program gives, rounded to 5 digits; computed when it is not there. */
  readonly answer?: ProgramValue | undefined;
}

export interface ProgramScores {
  /** Share of the programs that run and give exactly the rounded answer. */
  readonly execution: number;
  /** Share of the programs that are the same as the right one. */
  readonly program: number;
  /** Share of the programs that do not run. */
  readonly invalid: number;
}

/** @throws LabError for no programs. */
export function scorePrograms(items: readonly PredictedProgram[]): ProgramScores {
  if (items.length === 0) throw new LabError('scorePrograms: there are no programs to score.');
  let [execution, program, invalid] = [0, 0, 0];
  for (const { predicted, gold, table, answer = runProgram(gold, table).answer } of items) {
    const found = runProgram(predicted, table).answer;
    if (found === 'n/a') invalid++;
    else if (found === answer) execution++;
    if (found !== 'n/a' && sameProgram(gold, predicted)) program++;
  }
  return { execution: execution / items.length, program: program / items.length, invalid: invalid / items.length };
}
