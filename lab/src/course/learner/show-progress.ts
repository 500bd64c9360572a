/**
 * @file `await progress()` in a notebook: how far you are.
 */
import { notebook } from '../../base/index.ts';
import { selectExercises, theCourse } from '../catalog.ts';
import { courseProgress } from './progress.ts';
import { progressHtml, progressText } from './progress-report.ts';

/**
 * Shows every chapter with its exercises, and which comes next.
 *
 * @param names chapters or exercises to show in detail, as 3 or '3.2'; a line for each chapter unless told
 * @throws LabError when there is no such chapter or exercise, or the record of checks is damaged
 */
export async function progress(...names: readonly (string | number)[]): Promise<void> {
  const course = theCourse();
  const shown = names.length === 0 ? undefined : selectExercises(names.map(String), course).map(({ chapter }) => chapter);
  const all = await courseProgress(course);
  const text = progressText(all, shown);
  const display = notebook();
  if (display) display.bundle({ 'text/html': progressHtml(all, shown), 'text/plain': text });
  else console.log(text);
}
