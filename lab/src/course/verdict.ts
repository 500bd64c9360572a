/**
 * @file What the tests of an exercise amount to, and how that is said.
 */
import type { Row } from './runner.ts';

export type VerdictState = 'passed' | 'failed' | 'unwritten';

export interface Verdict {
  readonly id: string;
  readonly title: string;
  readonly state: VerdictState;
  readonly rows: readonly Row[];
  /** Why there are no rows: the cell does not compile, the tests were killed. */
  readonly problem?: string;
}

/** A stub anywhere means that the exercise still waits; otherwise every test has to pass. */
export function verdictOf(
  place: { readonly id: string; readonly title: string },
  rows: readonly Row[],
  problem?: string,
): Verdict {
  const unwritten = problem === undefined && rows.some((row) => row.state === 'unwritten');
  const passed = problem === undefined && rows.length > 0 && rows.every((row) => row.state === 'passed');
  const state = unwritten ? 'unwritten' : passed ? 'passed' : 'failed';
  return { id: place.id, title: place.title, state, rows, ...(problem !== undefined && { problem }) };
}

/** '3.1 causal mask: all 5 tests pass', '… 2 of 5 tests fail', '… not written yet'. */
export function headline({ id, title, state, rows, problem }: Verdict): string {
  const count = (wanted: Row['state']): number => rows.filter((row) => row.state === wanted).length;
  const tests = `${rows.length} ${rows.length === 1 ? 'test' : 'tests'}`;
  const name = `${id} ${title}`.trim();
  if (state === 'unwritten') return `${name}: not written yet`;
  if (state === 'passed') return `${name}: ${rows.length === 1 ? 'the test passes' : `all ${tests} pass`}`;
  if (problem !== undefined || rows.length === 0) return `${name}: could not be tested`;
  const notRun = count('skipped');
  return `${name}: ${count('failed')} of ${tests} fail${count('failed') === 1 ? 's' : ''}${notRun > 0 ? `, ${notRun} not run` : ''}`;
}
