/**
 * @file The reference answer of an exercise, for who has passed it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { LabError } from '../../base/index.ts';
import { filesOf, findExercise, type Course } from '../catalog.ts';
import { solutionRegions } from '../notebook-file.ts';
import { readProgress } from './record.ts';

export interface SolutionOptions {
  /** Also to who has not passed it. */
  readonly spoil?: boolean;
}

/**
 * The solution as it would stand in the notebook; undefined when the exercise has not passed yet.
 *
 * @throws LabError when there is no such exercise, or no solution
 */
export async function solutionFor(
  id: string,
  course: Course,
  { spoil = false }: SolutionOptions = {},
): Promise<string | undefined> {
  const { chapter } = findExercise(id, course);
  const file = filesOf(chapter, course).solution;
  if (!existsSync(file)) throw new LabError('This copy of the lab was handed out without solutions.');
  if (!spoil && (await readProgress(course)).exercises[id]?.passed === undefined) return undefined;
  const region = solutionRegions(readFileSync(file, 'utf8')).get(id);
  if (region === undefined) throw new LabError(`${file} has no region for exercise ${id}.`);
  return region;
}
