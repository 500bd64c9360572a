/**
 * @file Making a student's copy: a folder that starts and tests by the same two commands.
 */
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { mkdir, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { LabError } from '../../base/index.ts';
import { savingError } from '../../files/index.ts';
import type { Course } from '../catalog.ts';
import type { Chapter } from '../exercise.ts';
import { handOutOf, writtenFiles } from './hand-out.ts';

/**
 * The chapters that '0-5', '3', or '0-2,4' mean; all of them when nothing is given. A range takes what there is of it.
 *
 * @throws LabError that lists the chapters there are
 */
export function selectChapters(text: string | undefined, course: Course): Chapter[] {
  if (text === undefined) return [...course.chapters];
  const chosen = new Set<Chapter>();
  for (const part of text.split(',')) {
    const [, first, last] = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part) ?? [];
    const from = Number(first);
    const to = last === undefined ? from : Number(last);
    const found = course.chapters.filter(({ number }) => number >= from && number <= to);
    if (found.length === 0) {
      const list = course.chapters.map((chapter) => `  ${chapter.number}  ${chapter.title}`).join('\n');
      throw new LabError(`There is no chapter '${part.trim()}'. Give numbers as 0-5 or 0-2,4. There are:\n${list}`);
    }
    for (const chapter of found) chosen.add(chapter);
  }
  return course.chapters.filter((chapter) => chosen.has(chapter));
}

/** Refuses a folder that holds anything, or that lies among what would be handed out. */
function requireFree(folder: string, { root }: Course): void {
  const parent = dirname(folder);
  const inside = relative(realpathSync(root), join(existsSync(parent) ? realpathSync(parent) : parent, 'x')).split(/[\\/]/)[0]!;
  if (inside !== '..' && inside !== '.lab' && !/^[a-z]:/i.test(inside)) {
    throw new LabError(`${folder} lies inside the lab itself. Choose a folder beside it, as ../course.`);
  }
  if (!existsSync(folder)) return;
  if (readdirSync(folder).length > 0) {
    throw new LabError(`${folder} is not empty. Choose a new folder; for a copy that is there: npm run lab -- update`);
  }
}

export interface Release {
  readonly folder: string;
  readonly chapters: readonly Chapter[];
  readonly files: number;
}

/**
 * Writes a student's copy with these chapters, whole or not at all.
 *
 * @param folder must be empty or not there yet
 * @throws LabError when it is not, when a notebook is solved, or when the copy cannot be written
 */
export async function makeRelease(folder: string, chapters: readonly Chapter[], course: Course): Promise<Release> {
  const target = resolve(folder);
  requireFree(target, course);
  const written = [...writtenFiles(handOutOf(course, chapters))];
  const staging = `${target}.${process.pid}.tmp`;
  try {
    for (const [path, bytes] of written) {
      await mkdir(dirname(join(staging, path)), { recursive: true });
      await writeFile(join(staging, path), bytes);
    }
    if (existsSync(target)) await rmdir(target);
    await rename(staging, target);
  } catch (error) {
    throw savingError(error, target);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  return { folder: target, chapters, files: written.length };
}
