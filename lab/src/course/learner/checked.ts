/**
 * @file Checks of saved notebooks that are remembered: the verdicts of exercises, with a digest of the cells they are about.
 */
import type { Course, Place } from '../catalog.ts';
import { filesOf } from '../catalog.ts';
import { gradeChapter } from '../grade.ts';
import { readNotebook, taggedCells } from '../notebook-file.ts';
import type { Verdict } from '../verdict.ts';
import { cellDigest } from './code-digest.ts';
import { recordChecks, recordsProgress, type CheckedCode } from './record.ts';

/** The digests of a saved notebook's exercise cells, by exercise. */
export function savedDigests(notebook: string): ReadonlyMap<string, string> {
  const digests = taggedCells(readNotebook(notebook)).flatMap(({ exercise, source }) =>
    exercise === undefined ? [] : [[exercise, cellDigest(source)] as const],
  );
  return new Map(digests);
}

export interface CheckSavedOptions {
  /** Asked when a chapter is tested: true when an interrupt may have ended the tests, so that they say nothing. */
  readonly wasInterrupted?: () => boolean;
}

/**
 * Tests exercises as their notebooks were last saved, and records the outcomes.
 *
 * @returns the verdicts of the chapters whose tests were not interrupted
 * @throws LabError when a notebook cannot be tested or the outcome not be recorded
 */
export async function checkSaved(
  places: readonly Place[],
  course: Course,
  { wasInterrupted = () => false }: CheckSavedOptions = {},
): Promise<Verdict[]> {
  const all: Verdict[] = [];
  for (const chapter of new Set(places.map((place) => place.chapter))) {
    const ids = places.filter((place) => place.chapter === chapter).map((place) => place.exercise.id);
    const digests = savedDigests(filesOf(chapter, course).notebook);
    const verdicts = await gradeChapter(chapter, ids, course);
    if (wasInterrupted()) break;
    const checks = verdicts.flatMap((verdict): CheckedCode[] => {
      const digest = digests.get(verdict.id);
      return digest === undefined ? [] : [{ verdict, digest }];
    });
    if (recordsProgress()) await recordChecks(checks, course);
    all.push(...verdicts);
  }
  return all;
}
