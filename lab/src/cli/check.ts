/**
 * @file `npm run lab -- check 3.1`: the tests of exercises, on the answers in the saved notebooks.
 */
import { LabError } from '../base/index.ts';
import { checkSaved, selectExercises, textReport, theCourse } from '../course/index.ts';
import type { Command } from './command.ts';

export const check: Command = {
  name: 'check',
  summary: 'Test the answers in your saved notebooks.',
  usage: 'EXERCISE|CHAPTER|all …',
  options: {},
  examples: ['npm run lab -- check 3.1', 'npm run lab -- check 3 4', 'npm run lab -- check all'],
  async run(_, names) {
    if (names.length === 0) throw new LabError('Which exercises? For instance: npm run lab -- check 3.1, or 3, or all.');
    const course = theCourse();
    const verdicts = await checkSaved(selectExercises(names, course), course);
    for (const verdict of verdicts) console.log(textReport(verdict));
    const count = (state: string): number => verdicts.filter((verdict) => verdict.state === state).length;
    console.log(`\n${count('passed')} passed, ${count('failed')} failed, ${count('unwritten')} not written yet`);
    return count('passed') === verdicts.length ? 0 : 1;
  },
};
