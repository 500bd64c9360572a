/**
 * @file What was handed in, by student: each entry of the folder is one student's notebook, folder or zip archive. Links are
 * never followed: they may lead to another's work.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { basename, extname, join, relative } from 'node:path';
import { LabError, messageOf } from '../../base/index.ts';
import type { Course } from '../catalog.ts';
import { MOST_BYTES, takeIn, type HandedIn } from './intake.ts';
import { readZip } from './zip.ts';

export interface Submission {
  /** The name of the file or folder, without `.ipynb` or `.zip`. */
  readonly student: string;
  /** One notebook a chapter. */
  readonly notebooks: readonly HandedIn[];
  /** Sentences for the student: what could not be read and why. */
  readonly notes: readonly string[];
}

interface Found {
  readonly name: string;
  read(): Buffer;
}

/** Where notebooks lie in a folder at most: student/notebooks/chapter.ipynb and a folder around it. */
const DEEPEST = 6;
const MOST_FILES = 200;

/**
 * @param path a folder with an entry a student; or one student's notebook or archive
 * @throws LabError when there is nothing there
 */
export function readSubmissions(path: string, course: Course): Submission[] {
  const entries = listing(path);
  const count = new Map<string, number>();
  for (const entry of entries) count.set(plainName(entry), (count.get(plainName(entry)) ?? 0) + 1);
  // Where anna.zip and anna/ are both there, they keep their full names.
  return entries.map((entry) => {
    const name = plainName(entry);
    return readSubmission(entry, count.get(name) === 1 ? name : basename(entry), course);
  });
}

function listing(path: string): string[] {
  let entries: string[];
  try {
    entries = lstatSync(path).isDirectory() ? readdirSync(path).map((name) => join(path, name)) : [path];
  } catch (error) {
    throw new LabError(`The submissions cannot be read: ${messageOf(error)}`);
  }
  const visible = entries.filter((entry) => !/^[.~]|^__MACOSX$/.test(basename(entry)) && isSubmission(entry)).sort();
  if (visible.length === 0)
    throw new LabError(
      `There are no submissions in ${path}: it should hold a notebook, a folder or a zip archive for each student.`,
    );
  return visible;
}

function isSubmission(entry: string): boolean {
  const stat = lstatSync(entry);
  return stat.isDirectory() || stat.isSymbolicLink() || /\.(ipynb|zip)$/i.test(entry);
}

function plainName(entry: string): string {
  return basename(entry).replace(/\.(ipynb|zip)$/i, '');
}

function readSubmission(entry: string, student: string, course: Course): Submission {
  const notes: string[] = [];
  const byChapter = new Map<string, { name: string; handedIn: HandedIn }>();
  let found: Found[] = [];
  try {
    found = filesOf(entry, notes);
  } catch (error) {
    notes.push(`${basename(entry)} was not read: ${messageOf(error)}`);
  }
  for (const file of found) {
    try {
      const handedIn = takeIn(file.name, file.read(), course);
      const slug = handedIn.chapter.slug;
      const first = byChapter.get(slug);
      if (!first || (basename(file.name) === `${slug}.ipynb` && basename(first.name) !== `${slug}.ipynb`))
        byChapter.set(slug, { name: file.name, handedIn });
      if (first) {
        const taken = byChapter.get(slug)!.name;
        const left = taken === file.name ? first.name : file.name;
        notes.push(`There are two notebooks of chapter ${handedIn.chapter.number}: ${taken} was graded, ${left} was not.`);
      }
    } catch (error) {
      notes.push(messageOf(error));
    }
  }
  if (found.length === 0 && notes.length === 0) notes.push('No notebook (.ipynb) was handed in.');
  const notebooks = [...byChapter.values()].map(({ handedIn }) => handedIn);
  return { student, notebooks, notes: [...notes, ...notebooks.flatMap((notebook) => notebook.notes)] };
}

function isNotebook(name: string): boolean {
  return (
    /\.ipynb$/i.test(name) &&
    !/(^|[\\/])(\.ipynb_checkpoints|__MACOSX|\.[^\\/]*)[\\/]/.test(name) &&
    !basename(name).startsWith('._')
  );
}

/** The notebooks of one entry, in the order of their names. */
function filesOf(entry: string, notes: string[]): Found[] {
  const stat = lstatSync(entry);
  if (stat.isSymbolicLink()) throw new LabError('it is a symbolic link; hand in the file itself');
  if (stat.isDirectory()) return inFolder(entry, entry, notes, 0).slice(0, MOST_FILES);
  if (extname(entry).toLowerCase() !== '.zip') return [{ name: basename(entry), read: () => readPlain(entry) }];
  const files = readZip(readPlain(entry), isNotebook).sort((a, b) => (a.name < b.name ? -1 : 1));
  return files.slice(0, MOST_FILES).map(({ name, bytes }) => ({ name, read: () => bytes }));
}

function inFolder(root: string, folder: string, notes: string[], depth: number): Found[] {
  if (depth > DEEPEST) return [];
  const names = readdirSync(folder).sort();
  return names.flatMap((name): Found[] => {
    const path = join(folder, name);
    const inside = relative(root, path);
    const stat = lstatSync(path);
    if (stat.isSymbolicLink()) {
      notes.push(`${inside} is a symbolic link and was not read; hand in the file itself.`);
      return [];
    }
    if (stat.isDirectory())
      return name.startsWith('.') || name === 'node_modules' ? [] : inFolder(root, path, notes, depth + 1);
    return stat.isFile() && isNotebook(inside) ? [{ name: inside, read: () => readPlain(path) }] : [];
  });
}

/** Reads a plain file, and no other: what has become a link or a pipe since it was listed is refused. */
function readPlain(path: string): Buffer {
  const handle = openSync(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
  try {
    const stat = fstatSync(handle);
    if (!stat.isFile()) throw new LabError(`${basename(path)} is not a plain file.`);
    if (stat.size > MOST_BYTES)
      throw new LabError(`${basename(path)} has ${Math.round(stat.size / 2 ** 20)} MiB, too much for a notebook.`);
    return readFileSync(handle);
  } finally {
    closeSync(handle);
  }
}
