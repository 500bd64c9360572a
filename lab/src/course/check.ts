/**
 * @file `await check('3.2')`: tests the reader's own function, as it lives in the notebook now.
 */
import { escapeMarkup, messageOf, notebook } from '../base/index.ts';
import { filesOf, findExercise, theCourse, type Course } from './catalog.ts';
import type { Answer } from './exercise.ts';
import { liveDigest } from './learner/code-digest.ts';
import { recordChecks, recordsProgress } from './learner/record.ts';
import { htmlReport, textReport } from './report.ts';
import { runExercise, type RunOptions } from './runner.ts';
import { verdictOf, type Verdict } from './verdict.ts';

/** All top-level names of the running notebook. */
export function liveNames(): Answer {
  return (globalThis as { __tslab__?: { exports?: Answer } }).__tslab__?.exports ?? {};
}

/** Runs an exercise's tests on these answers, in this process. */
export async function judge(id: string, answers: Answer, course: Course, options?: RunOptions): Promise<Verdict> {
  const { chapter, exercise } = findExercise(id, course);
  return verdictOf(exercise, await runExercise(filesOf(chapter, course).test, id, answers, options));
}

/**
 * Tests the notebook's functions for this exercise and shows the outcome. It does not throw, so that a notebook always
 * runs to its end; with LAB_STRICT=1 (for graders) it throws unless every test passes.
 */
export async function check(id: string): Promise<void> {
  let verdict: Verdict;
  let note = '';
  try {
    verdict = await judge(id, liveNames(), theCourse());
    note = await remember(verdict, theCourse());
  } catch (error) {
    verdict = { id, title: '', state: 'failed', rows: [], problem: messageOf(error) };
  }
  const text = textReport(verdict) + note;
  const display = notebook();
  if (display) display.bundle({ 'text/html': htmlReport(verdict) + escapeMarkup(note), 'text/plain': text });
  else console.log(text);
  if (process.env['LAB_STRICT'] && verdict.state !== 'passed') throw new Error(text);
}

/** Records what a check came to; returns what is to be said where that fails, which is no fault of the answer. */
async function remember(verdict: Verdict, course: Course): Promise<string> {
  if (!recordsProgress()) return '';
  try {
    const digest = liveDigest(findExercise(verdict.id, course).exercise, liveNames());
    if (digest !== undefined) await recordChecks([{ verdict, digest }], course);
    return '';
  } catch (error) {
    return `\n(${messageOf(error)})`;
  }
}
