/**
 * @file Beginning an exercise anew: its cell gets back the stub that it came with, and the answer is kept beside.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { LabError, messageOf } from '../../base/index.ts';
import { writeAtomically } from '../../files/index.ts';
import { filesOf, findExercise, type Course } from '../catalog.ts';
import { readNotebook, sourceOf, taggedCells, type NotebookDocument } from '../notebook-file.ts';
import { saveNotebook, withSource } from './edit-notebook.ts';
import { isStub } from './progress.ts';

/** Versions of a notebook that are looked through for a stub. */
const VERSIONS = 300;

function git(root: string, ...args: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync('git', ['-C', root, ...args], { encoding: 'utf8', maxBuffer: 2 ** 28 });
  return status === 0 ? stdout : undefined;
}

/** The notebook as it was handed out, or its older versions, newest first. */
function* originals(notebook: string, { root }: Pick<Course, 'root'>): Generator<NotebookDocument> {
  const inRoot = relative(root, notebook);
  const handedOut = join(root, '.release', inRoot);
  if (existsSync(handedOut)) yield readNotebook(handedOut);
  const commits = git(root, 'log', '--format=%H', `-n${VERSIONS}`, '--', inRoot)?.split('\n') ?? [];
  for (const commit of commits.filter((line) => line !== '')) {
    try {
      yield JSON.parse(git(root, 'show', `${commit}:./${inRoot.replaceAll('\\', '/')}`) ?? '') as NotebookDocument;
    } catch {
      continue; // deleted in that commit, or saved with merge markers
    }
  }
}

/** @throws LabError when no copy of the notebook holds it */
function findStub(id: string, notebook: string, course: Course): string {
  for (const original of originals(notebook, course)) {
    const stub = taggedCells(original).find((cell) => cell.exercise === id && isStub(cell.source, id));
    if (stub) return stub.source;
  }
  throw new LabError(
    `The stub of ${id} is nowhere to be found: this folder was not made by release, and its git history has none. ` +
      `Copy the cell from a fresh copy of ${relative(course.root, notebook)}.`,
  );
}

export interface Reset {
  /** Where the old answer is; undefined when the cell held the stub already. */
  readonly kept?: string;
}

/**
 * Puts the stub of an exercise back into its saved notebook. The old answer goes to `.lab/answers/`.
 *
 * @throws LabError when there is no such exercise or cell, or no copy of the stub; nothing is changed then
 */
export async function resetExercise(id: string, course: Course, now = new Date()): Promise<Reset> {
  const { chapter } = findExercise(id, course);
  const { notebook: file } = filesOf(chapter, course);
  const notebook = readNotebook(file);
  const cell = notebook.cells.find(({ cell_type: type, metadata }) => type === 'code' && metadata?.lab?.exercise === id);
  if (!cell) throw new LabError(`${relative(course.root, file)} has no cell for exercise ${id}.`);
  const stub = findStub(id, file, course);
  const answer = sourceOf(cell);
  if (answer === stub) return {};
  const kept = join(course.root, '.lab', 'answers', `${id}-${now.toISOString().replace(/[:.]/g, '-')}.ts`);
  try {
    await writeAtomically(kept, [Buffer.from(`${answer}\n`)]);
  } catch (error) {
    throw new LabError(`${messageOf(error)} So the cell stays as it is.`, { cause: error });
  }
  await saveNotebook(file, { ...notebook, cells: notebook.cells.map((one) => (one === cell ? withSource(one, stub) : one)) });
  return { kept };
}
