/**
 * @file How far the reader is: every exercise with its state, out of the saved notebooks and the record of checks. Nothing of
 * the reader's is run for it.
 */
import { existsSync, statSync } from 'node:fs';
import { messageOf } from '../../base/index.ts';
import { filesOf, theCourse, type Course } from '../catalog.ts';
import type { Chapter, Exercise } from '../exercise.ts';
import { readNotebook, taggedCells } from '../notebook-file.ts';
import { cellDigest } from './code-digest.ts';
import { readProgress, type ExerciseRecord, type ProgressRecord } from './record.ts';

/**
 * - passed: the saved cell is the one that passed
 * - unsaved: it passed in the running notebook, which was not saved since
 * - changed: it passed once, and the saved cell is another one
 * - failed: the saved cell, or the one before it, was checked and did not pass
 * - waiting: it needs another exercise that is not written yet
 * - written: never checked
 * - open: the stub
 * - missing: the notebook has no such cell
 */
export type ExerciseState = 'passed' | 'unsaved' | 'changed' | 'failed' | 'waiting' | 'written' | 'open' | 'missing';

export interface ExerciseProgress {
  readonly exercise: Exercise;
  readonly state: ExerciseState;
  /** Seconds spent before it passed, as far as the checks tell. */
  readonly seconds: number;
}

export interface ChapterProgress {
  readonly chapter: Chapter;
  readonly exercises: readonly ExerciseProgress[];
  /** Why the notebook could not be read. */
  readonly problem?: string;
}

export interface CourseProgress {
  readonly chapters: readonly ChapterProgress[];
  /** What is not done yet in the chapter of the latest pass, or after it, or at all. */
  readonly next?: { readonly chapter: Chapter; readonly exercise: Exercise };
}

/** Whether nothing is left to do. */
export function isDone({ state }: Pick<ExerciseProgress, 'state'>): boolean {
  return state === 'passed' || state === 'unsaved';
}

/** Whether a cell still holds the stub that the exercise came with. */
export function isStub(source: string, id: string): boolean {
  return source.includes(`lab.todo('${id}')`) || source.includes(`lab.todo("${id}")`);
}

/** @throws LabError when the record of checks is damaged; a notebook that is becomes its chapter's `problem` */
export async function courseProgress(course: Course = theCourse()): Promise<CourseProgress> {
  const record = await readProgress(course);
  const chapters = course.chapters.map((chapter) => chapterProgress(chapter, course, record));
  const next = nextOf(chapters, record);
  return { chapters, ...(next && { next }) };
}

function nextOf(chapters: readonly ChapterProgress[], { exercises }: ProgressRecord): CourseProgress['next'] {
  const passedAt = ({ exercise }: ExerciseProgress): string => exercises[exercise.id]?.passed?.at ?? '';
  const latest = chapters.map((one) => one.exercises.map(passedAt).reduce((a, b) => (a > b ? a : b), ''));
  const current = latest.indexOf(latest.reduce((a, b) => (a > b ? a : b), ''));
  const ordered = [...chapters.slice(current), ...chapters.slice(0, current)];
  const open = ordered.flatMap(({ chapter, exercises: own }) =>
    own.filter((one) => !isDone(one)).map(({ exercise }) => ({ chapter, exercise })),
  );
  return open[0];
}

function chapterProgress(chapter: Chapter, course: Course, record: ProgressRecord): ChapterProgress {
  const { cells, changed, problem } = savedCells(filesOf(chapter, course).notebook);
  const exercises = chapter.exercises.map((exercise): ExerciseProgress => {
    const known = record.exercises[exercise.id];
    return { exercise, state: stateOf(exercise.id, cells.get(exercise.id), known, changed), seconds: known?.seconds ?? 0 };
  });
  return { chapter, exercises, ...(problem !== undefined && { problem }) };
}

interface SavedCells {
  /** The sources by exercise. */
  readonly cells: ReadonlyMap<string, string>;
  /** When the notebook was saved, in milliseconds since 1970. */
  readonly changed: number;
  readonly problem?: string;
}

function savedCells(file: string): SavedCells {
  try {
    const tagged = taggedCells(readNotebook(file));
    const cells = tagged.flatMap(({ exercise, source }) => (exercise === undefined ? [] : [[exercise, source] as const]));
    return { cells: new Map(cells), changed: statSync(file).mtimeMs };
  } catch (error) {
    const problem = existsSync(file) ? messageOf(error) : 'there is no notebook';
    return { cells: new Map(), changed: Infinity, problem };
  }
}

function stateOf(id: string, source: string | undefined, known: ExerciseRecord | undefined, changed: number): ExerciseState {
  if (source === undefined) return 'missing';
  const digest = cellDigest(source);
  if (known?.passed?.digest === digest) return 'passed';
  if (known?.passed && known.state === 'passed' && Date.parse(known.passed.at) > changed) return 'unsaved';
  if (isStub(source, id)) return 'open';
  if (known?.passed && known.digest !== digest) return 'changed';
  if (known?.state === 'unwritten') return known.digest === digest ? 'waiting' : 'written';
  return known ? 'failed' : 'written';
}
