/**
 * @file Points: an exercise is worth its difficulty (1 to 5), shared out evenly over its tests, hidden ones included.
 */
import type { Chapter, Exercise } from '../exercise.ts';
import { verdictOf, type VerdictState } from '../verdict.ts';
import type { Finding, GradedRow } from './examine.ts';

export interface ExerciseResult {
  readonly id: string;
  readonly title: string;
  readonly state: VerdictState;
  readonly points: number;
  /** The most points there are. */
  readonly worth: number;
  readonly rows: readonly GradedRow[];
  /** Why no test was run. */
  readonly problem?: string;
}

export interface StudentResult {
  readonly student: string;
  /** Of the answers and of what they were graded with; the same digest is the same result. */
  readonly digest: string;
  readonly points: number;
  readonly worth: number;
  readonly exercises: readonly ExerciseResult[];
  /** What was odd about what was handed in. */
  readonly notes: readonly string[];
}

/** To two decimals, so that shares of thirds add up as one expects. */
function rounded(points: number): number {
  return Math.round(points * 100) / 100;
}

export function exerciseResult(exercise: Exercise, finding: Finding): ExerciseResult {
  const { id, title, difficulty: worth } = exercise;
  if ('problem' in finding) return { id, title, state: 'failed', points: 0, worth, rows: [], problem: finding.problem };
  const { rows } = finding;
  const { state } = verdictOf(exercise, rows);
  const passed = rows.filter((row) => row.state === 'passed').length;
  // A stub may pass what only asks for an error.
  const share = state === 'unwritten' || rows.length === 0 ? 0 : passed / rows.length;
  return { id, title, state, points: rounded(worth * share), worth, rows };
}

/** A student's exercises together, in the course's order. */
export function studentResult(
  student: string,
  digest: string,
  chapters: readonly Chapter[],
  findings: ReadonlyMap<string, Finding>,
  notes: readonly string[],
): StudentResult {
  const missing = (id: string): Finding => ({ problem: `exercise ${id} was not handed in` });
  const exercises = chapters.flatMap((chapter) =>
    chapter.exercises.map((exercise) => exerciseResult(exercise, findings.get(exercise.id) ?? missing(exercise.id))),
  );
  const sum = (key: 'points' | 'worth'): number => rounded(exercises.reduce((total, exercise) => total + exercise[key], 0));
  return { student, digest, points: sum('points'), worth: sum('worth'), exercises, notes };
}
