/**
 * @file A small course in a folder of its own, whose notebook holds whatever cells a test wants to see judged.
 */
import { cpSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Chapter, Course, Exercise } from 'lab';

const folder = fileURLToPath(new URL('../fixtures/course/', import.meta.url));

const double = (x: number): number => x + x;
const sum = async (numbers: readonly number[]): Promise<number> => numbers.reduce((a, b) => a + b, 0);
const mean = async (numbers: readonly number[]): Promise<number> => (await sum(numbers)) / numbers.length;

function exercise(id: string, title: string, library: Exercise['library'], extra: Partial<Exercise> = {}): Exercise {
  return { id, title, names: Object.keys(library), difficulty: 1, minutes: 5, library, ...extra };
}

export const counting: Chapter = {
  number: 90,
  slug: '90-counting',
  title: 'Counting',
  exercises: [
    exercise(
      '90.1',
      'doubling',
      { double },
      { room: 'steps', plug: (answer, assembly) => void (assembly.train = { steps: answer['double'](50) as number }) },
    ),
    exercise('90.2', 'sum', { sum }),
    exercise('90.3', 'mean', { mean }, { room: 'mean' }),
  ],
};

/** The chapter's own files, with the solutions beside. */
export const fixtureCourse: Course = { root: folder, chapters: [counting] };

export const SETUP = `import * as lab from 'lab';\nimport { tf } from 'lab';`;
export const RIGHT: Readonly<Record<string, string>> = {
  '90.1': 'function double(x: number): number { return 2 * x; }',
  '90.2': 'async function sum(numbers: readonly number[]): Promise<number> { return numbers.reduce((a, b) => a + b, 0); }',
  '90.3': 'async function mean(numbers: number[]) { return (await sum(numbers)) / numbers.length; }',
};

export function cell(source: string, tags: object = {}): object {
  return { cell_type: 'code', id: 'x', metadata: { lab: tags }, source, outputs: [], execution_count: null };
}

/** A course whose notebook has the right answers except for these cells. */
export function courseWith(cells: Readonly<Record<string, string>>, setup = SETUP): Course {
  const answers = Object.entries({ ...RIGHT, ...cells }).map(([id, source]) => cell(source, { exercise: id }));
  return courseOf(
    JSON.stringify({ nbformat: 4, nbformat_minor: 5, metadata: {}, cells: [cell(setup, { setup: true }), ...answers] }),
  );
}

/** A course whose notebook is this text. */
export function courseOf(notebook: string): Course {
  const root = mkdtempSync(join(tmpdir(), 'lab-course-'));
  cpSync(join(folder, 'test'), join(root, 'test'), { recursive: true });
  mkdirSync(join(root, 'notebooks'));
  writeFileSync(join(root, 'notebooks', '90-counting.ipynb'), notebook);
  return { root, chapters: [counting] };
}
