/**
 * @file What students are given: the library, the data, and the notebooks and tests of some chapters. No solutions, no planted
 * mistakes, and no tests but those of the exercises.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LabError } from '../../base/index.ts';
import { filesOf, type Course } from '../catalog.ts';
import type { Chapter } from '../exercise.ts';
import { isStub } from '../learner/progress.ts';
import { readNotebook, taggedCells } from '../notebook-file.ts';
import { digestOf, originalOf, readManifest, MANIFEST, type ReleaseManifest } from './manifest.ts';
import { studentReadme } from './student-readme.ts';

export interface HandOut {
  readonly chapters: readonly number[];
  /** Contents by path from the root, with `/`. */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

const SINGLE_FILES = [
  '.gitignore',
  '.npmrc',
  'LICENSE',
  'package-lock.json',
  'tsconfig.json',
  'vitest.config.ts',
  'lab/package.json',
  'lab/tsconfig.json',
  'test/setup.ts',
];
const FOLDERS = ['lab/src', 'lab/setup', 'datasets'];
/** Parts of those folders that are made or fetched on each machine. */
const LEFT_OUT = /^datasets\/downloads\/|(^|\/)(__pycache__|node_modules|\.[^/]*)(\/|$)/;
/** They check the sources of the solutions, which are not there. */
const SCRIPTS_LEFT_OUT = ['typecheck', 'lint'];

function filesBelow(root: string, folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length).replaceAll('\\', '/').replace(/^\/+/, ''))
    .filter((path) => !LEFT_OUT.test(path))
    .sort();
}

/**
 * Gathers what is handed out.
 *
 * @throws LabError when a notebook holds an answer where its stub should be, naming the exercises
 */
export function handOutOf(course: Course, chapters: readonly Chapter[]): HandOut {
  const { root } = course;
  const paths = [...SINGLE_FILES, ...FOLDERS.flatMap((folder) => filesBelow(root, folder))];
  const files = new Map<string, Uint8Array>(paths.map((path) => [path, readFileSync(join(root, path))]));
  for (const chapter of chapters) {
    files.set(`notebooks/${chapter.slug}.ipynb`, unsolvedNotebook(chapter, course));
    files.set(`test/${chapter.slug}.test.ts`, readFileSync(filesOf(chapter, course).test));
  }
  files.set('package.json', studentPackage(readFileSync(join(root, 'package.json'), 'utf8')));
  files.set('README.md', Buffer.from(studentReadme(chapters)));
  return { chapters: chapters.map(({ number }) => number), files };
}

function studentPackage(text: string): Uint8Array {
  const { scripts, ...others } = JSON.parse(text) as { scripts: Record<string, string> };
  const kept = Object.entries(scripts).filter(([name]) => !SCRIPTS_LEFT_OUT.includes(name));
  return Buffer.from(`${JSON.stringify({ ...others, scripts: Object.fromEntries(kept) }, null, 2)}\n`);
}

/** The notebook without outputs, once it is sure that it gives nothing away. */
function unsolvedNotebook(chapter: Chapter, course: Course): Uint8Array {
  const file = filesOf(chapter, course).notebook;
  const notebook = readNotebook(file);
  const solved = taggedCells(notebook).flatMap(({ exercise, source }) =>
    exercise === undefined || isStub(source, exercise) ? [] : [exercise],
  );
  if (solved.length > 0) {
    throw new LabError(
      `${file} holds answers where students should find stubs: ${solved.join(', ')}. ` +
        `Put the stubs back first (npm run lab -- reset ${solved[0]}); nothing was handed out.`,
    );
  }
  const cells = notebook.cells.map((cell) =>
    cell.cell_type === 'code' ? { ...cell, outputs: [], execution_count: null } : cell,
  );
  return Buffer.from(`${JSON.stringify({ ...notebook, cells }, null, 1)}\n`);
}

/** Everything that is written into a copy, the manifest last. */
export function* writtenFiles({ chapters, files }: HandOut): Generator<readonly [path: string, bytes: Uint8Array]> {
  yield* files;
  for (const [path, bytes] of files) if (isNotebook(path)) yield [originalOf(path), bytes];
  yield [MANIFEST, manifestBytes({ chapters, files })];
}

export function isNotebook(path: string): boolean {
  return /^notebooks\/[^/]+\.ipynb$/.test(path);
}

function manifestBytes({ chapters, files }: HandOut): Uint8Array {
  const digests = [...files].map(([path, bytes]) => [path, digestOf(bytes)] as const);
  const manifest: ReleaseManifest = { version: 1, chapters, files: Object.fromEntries(digests) };
  return Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`);
}

/**
 * Reads a release that nobody has worked in.
 *
 * @throws LabError when the folder is none, or differs from what was handed out
 */
export function readHandOut(folder: string): HandOut {
  const manifest = readManifest(folder);
  if (!manifest) throw new LabError(`${folder} is not a copy that 'release' has made: it has no ${MANIFEST}.`);
  const files = new Map<string, Uint8Array>();
  for (const [path, digest] of Object.entries(manifest.files)) {
    const bytes = readIfThere(join(folder, path));
    if (!bytes || digestOf(bytes) !== digest) {
      const what = bytes ? 'changed' : 'missing';
      throw new LabError(`${folder} is not as it was handed out: ${path} is ${what}. Get a fresh copy.`);
    }
    files.set(path, bytes);
  }
  return { chapters: manifest.chapters, files };
}

export function readIfThere(file: string): Uint8Array | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
