/**
 * @file The answers in a saved notebook: its tagged cells, evaluated one after another as the kernel would. A cell that
 * does not compile, throws, or never ends spoils its own exercise only.
 *
 * As in the kernel, all top-level names of a cell are seen by the cells after it, and a cell may await.
 */
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { startBackend } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import { filesOf, theCourse, type Course } from './catalog.ts';
import { explain } from './explain.ts';
import type { Answer } from './exercise.ts';
import { readNotebook, taggedCells, type TaggedCell } from './notebook-file.ts';
import { sandboxed } from './sandbox.ts';
import { compileCell, type Require } from './transpile.ts';
import { watched } from './watchdog.ts';

export interface SavedAnswers {
  /** Everything that the cells define. */
  readonly names: Answer;
  /** Why an exercise's cell could not be used, by exercise. */
  readonly problems: ReadonlyMap<string, string>;
}

export interface SavedAnswersOptions {
  /** Exercises whose cells are left out. */
  readonly skip?: ReadonlySet<string>;
  /** Told before each cell. */
  readonly onCell?: (exercise: string | undefined) => void;
  /** How long a cell may take, in milliseconds; 5,000 unless told. */
  readonly limit?: number;
}

/** @throws LabError when the notebook is missing or malformed; never because of what stands in its cells */
export async function savedAnswers(notebook: string, options: SavedAnswersOptions = {}): Promise<SavedAnswers> {
  const { skip, onCell, limit = 5000 } = options;
  const cells = taggedCells(readNotebook(notebook));
  const names = Object.create(null) as Record<string, unknown>;
  const problems = new Map<string, string>();
  const require = await requireFor(notebook);
  for (const [index, cell] of cells.entries()) {
    if (cell.exercise !== undefined && skip?.has(cell.exercise)) continue;
    onCell?.(cell.exercise);
    const problem = await evaluate(cell, `cell ${cell.exercise ?? 'set-up'} #${index}`, names, require, limit);
    if (problem !== undefined && cell.exercise !== undefined) problems.set(cell.exercise, problem);
  }
  return { names, problems };
}

async function evaluate(
  cell: TaggedCell,
  title: string,
  names: Answer,
  require: Require,
  limit: number,
): Promise<string | undefined> {
  try {
    const run = compileCell(cell.source, title);
    await sandboxed(() => quietly(() => watched(() => run(names, require), limit)));
    return undefined;
  } catch (error) {
    if (error instanceof LabError) return error.message;
    const { message, detail } = explain(error);
    return `the cell does not run: ${message}${detail === undefined ? '' : `\n${detail}`}`;
  }
}

/** What the cells print is not for whoever asked for their answers. */
async function quietly<T>(body: () => Promise<T>): Promise<T> {
  const silent = Object.fromEntries(['log', 'info', 'debug', 'warn', 'error', 'table'].map((name) => [name, () => undefined]));
  Object.assign(console, silent); // put back by the sandbox
  return body();
}

/** What cells may import: the lab, Node's own modules and the project's packages, but not what judges them. */
async function requireFor(notebook: string): Promise<Require> {
  const lab = (await import('../index.ts')) as object;
  const load = createRequire(pathToFileURL(notebook));
  return (id) => {
    if (id === 'lab') return lab;
    if (/^(vitest|@vitest\/|chai$)/.test(id) || /(^|\/)(solutions|test)\//.test(id)) {
      throw new LabError(`an answer cannot import '${id}'`);
    }
    return load(id);
  };
}

/**
 * A chapter's saved answers in the form of its solutions' module: what is missing is a function that says why.
 *
 * @param slug '03-attention'
 */
export async function notebookModule(slug: string, course: Course = theCourse()): Promise<Answer> {
  const chapter = course.chapters.find((c) => c.slug === slug);
  if (!chapter) throw new LabError(`There is no chapter '${slug}'.`);
  await startBackend();
  const { names, problems } = await savedAnswers(filesOf(chapter, course).notebook);
  const missing = (id: string, name: string) => () => {
    throw new LabError(problems.get(id) ?? `${name} is not defined in the saved notebook`);
  };
  const entries = chapter.exercises.flatMap(({ id, names: own }) => own.map((name) => [name, names[name] ?? missing(id, name)]));
  return Object.fromEntries(entries) as Answer;
}
