/**
 * @file Grades a class: reads what was handed in, examines it at several desks, keeps each student's result as soon as it is
 * there, and writes the reports. An interrupted run goes on where it was; who has changed nothing is not graded again.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { interruptible, LabError } from '../../base/index.ts';
import { readText, writeAtomically } from '../../files/index.ts';
import { filesOf, type Course } from '../catalog.ts';
import type { Chapter } from '../exercise.ts';
import { chooseConfinement, type Confinement } from './confine.ts';
import type { Finding, Limits, TestFile } from './examine.ts';
import { Desk } from './pool.ts';
import { csvReport, junitReport, studentPage } from './reports.ts';
import { studentResult, type StudentResult } from './results.ts';
import { readSubmissions, type Submission } from './submissions.ts';

export interface GradeSubmissionsOptions {
  /** The table. Beside it, in a folder of the same name, lie the other reports and what is done already. */
  readonly out: string;
  /** Chapters that count, by number; those that anybody has handed in unless told. */
  readonly chapters?: readonly number[];
  /** A folder with further tests, `03-attention.test.ts` and so on, which students do not see. */
  readonly hidden?: string;
  /** How many are graded at once; 2 unless told. */
  readonly jobs?: number;
  /** The strongest that works on this machine unless told. */
  readonly confinement?: Confinement;
  /** After how many milliseconds without a sign of life an examining process is killed. */
  readonly silence?: number;
  readonly limits?: Limits;
  /** Told after each student. */
  readonly onResult?: (result: StudentResult, done: number, of: number) => void;
}

export interface GradedClass {
  /** In the order of their names. */
  readonly results: readonly StudentResult[];
  /** How many were taken over from an earlier run. */
  readonly kept: number;
  readonly confinement: Confinement;
  /** False when it was interrupted: the rest is done by the next run. */
  readonly complete: boolean;
}

/** The rules by which points are given; another number makes earlier results invalid. */
const RULES = 1;

/**
 * @param path a folder with an entry for each student
 * @throws LabError when there is nothing to grade, a chapter is unknown, or tests cannot be run
 */
export async function gradeSubmissions(path: string, course: Course, options: GradeSubmissionsOptions): Promise<GradedClass> {
  const { out, hidden, jobs = 2, limits = {}, onResult } = options;
  if (!Number.isInteger(jobs) || jobs < 1) throw new LabError(`jobs is ${jobs}; it must be a whole number from 1 on.`);
  const confinement = chooseConfinement(options.confinement);
  const submissions = readSubmissions(path, course);
  const chapters = chosenChapters(submissions, course, options.chapters);
  const tests = new Map(chapters.map((chapter) => [chapter.slug, testsOf(chapter, course, hidden)]));
  const folder = folderOf(out);
  mkdirSync(join(folder, 'results'), { recursive: true });

  const results = new Map<string, StudentResult>();
  const waiting: { submission: Submission; digest: string }[] = [];
  for (const submission of submissions) {
    const digest = digestOf(submission, chapters, tests);
    const before = await savedResult(folder, submission.student, digest);
    if (before) results.set(submission.student, before);
    else waiting.push({ submission, digest });
  }
  const kept = results.size;
  const complete = await atDesks(waiting, options, async (desk, { submission, digest }) => {
    const result = await gradeOne(desk, submission, digest, { chapters, tests, confinement, limits });
    return async () => {
      await saveResult(folder, result);
      results.set(submission.student, result);
      onResult?.(result, results.size, submissions.length);
    };
  });
  const sorted = submissions.flatMap(({ student }) => results.get(student) ?? []);
  await writeText(out, csvReport(sorted));
  await writeText(join(folder, 'junit.xml'), junitReport(sorted));
  return { results: sorted, kept, confinement, complete };
}

/**
 * Does the work at several desks until there is none left, or until an interrupt.
 *
 * @param work returns what is to be done with its result, unless there was an interrupt
 * @returns whether all of it is done
 */
async function atDesks<T>(
  waiting: readonly T[],
  { jobs = 2, silence }: GradeSubmissionsOptions,
  work: (desk: Desk, item: T) => Promise<() => Promise<void>>,
): Promise<boolean> {
  return interruptible(async (signal) => {
    const rest = [...waiting];
    const desks = Array.from({ length: Math.min(jobs, rest.length) }, () => new Desk(silence));
    let closed = false;
    const close = (): void => {
      closed = true;
      for (const desk of desks) desk.close();
    };
    const watch = setInterval(() => signal.stopped && close(), 100);
    const sit = async (desk: Desk): Promise<void> => {
      for (let item = rest.shift(); item !== undefined && !closed; item = rest.shift()) {
        const keep = await work(desk, item);
        if (!closed) await keep();
      }
    };
    try {
      await Promise.all(desks.map(sit));
      return !closed;
    } finally {
      clearInterval(watch);
      close();
    }
  });
}

/** report.csv → report/ */
export function folderOf(out: string): string {
  return out.replace(/\.csv$/i, '') === out ? `${out}.reports` : out.replace(/\.csv$/i, '');
}

function chosenChapters(submissions: readonly Submission[], course: Course, numbers: readonly number[] | undefined): Chapter[] {
  for (const number of numbers ?? []) {
    if (!course.chapters.some((chapter) => chapter.number === number))
      throw new LabError(
        `There is no chapter ${number}. Chapters: ${course.chapters.map((chapter) => chapter.number).join(', ')}.`,
      );
  }
  const handedIn = new Set(submissions.flatMap(({ notebooks }) => notebooks.map(({ chapter }) => chapter.number)));
  const chosen = course.chapters.filter(({ number }) => (numbers ? numbers.includes(number) : handedIn.has(number)));
  if (chosen.length > 0) return chosen;
  const reasons = submissions.flatMap(({ student, notes }) => notes.slice(0, 1).map((note) => `  ${student}: ${note}`));
  throw new LabError(
    ['No submission has a notebook that can be graded; name the chapters to grade all the same.', ...reasons.slice(0, 10)].join(
      '\n',
    ),
  );
}

function testsOf(chapter: Chapter, course: Course, hidden: string | undefined): TestFile[] {
  const tests = [{ file: filesOf(chapter, course).test, hidden: false }];
  if (hidden === undefined) return tests;
  if (!existsSync(hidden)) throw new LabError(`There is no folder ${hidden} with hidden tests.`);
  const file = join(hidden, `${chapter.slug}.test.ts`);
  return existsSync(file) ? [...tests, { file, hidden: true }] : tests;
}

type TestsByChapter = ReadonlyMap<string, readonly TestFile[]>;

function digestOf({ student, notebooks, notes }: Submission, chapters: readonly Chapter[], tests: TestsByChapter): string {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([RULES, student, notes, chapters.map(({ slug }) => slug)]));
  for (const { chapter, cells } of notebooks) hash.update(JSON.stringify([chapter.slug, cells]));
  for (const { file, hidden } of [...tests.values()].flat())
    hash.update(hidden ? 'hidden' : 'shown').update(readFileSync(file));
  return hash.digest('hex');
}

interface Conditions {
  readonly chapters: readonly Chapter[];
  readonly tests: TestsByChapter;
  readonly confinement: Confinement;
  readonly limits: Limits;
}

async function gradeOne(
  desk: Desk,
  { student, notebooks, notes }: Submission,
  digest: string,
  { chapters, tests, confinement, limits }: Conditions,
): Promise<StudentResult> {
  const findings = new Map<string, Finding>();
  const said = [...notes];
  for (const chapter of chapters) {
    const notebook = notebooks.find((other) => other.chapter === chapter);
    const answered = new Set(notebook?.cells.map(({ exercise }) => exercise));
    const exercises = chapter.exercises.map(({ id }) => id).filter((id) => answered.has(id));
    for (const { id } of chapter.exercises) {
      if (!notebook) findings.set(id, { problem: `no notebook of chapter ${chapter.number} was handed in` });
      else if (!answered.has(id)) findings.set(id, { problem: `the notebook has no cell for exercise ${id}` });
    }
    if (!notebook || exercises.length === 0) continue;
    const names = chapter.exercises.flatMap((exercise) => exercise.names);
    const own = tests.get(chapter.slug)!;
    const examined = await desk.examine({ cells: notebook.cells, exercises, names, tests: own, confinement, limits });
    for (const [id, finding] of examined.findings) findings.set(id, finding);
    said.push(...examined.notes);
  }
  return studentResult(student, digest, chapters, findings, said);
}

/** A file name for a student, whatever the name is. */
export function fileNameOf(student: string): string {
  const plain = student.replace(/[^\p{L}\p{N}._-]/gu, '_').slice(0, 80);
  const odd = plain !== student || /^\.|\.$/.test(plain);
  return odd ? `${plain.replace(/^\.+/, '_')}-${createHash('sha256').update(student).digest('hex').slice(0, 8)}` : plain;
}

async function writeText(path: string, text: string): Promise<void> {
  await writeAtomically(path, [Buffer.from(text, 'utf8')]);
}

async function saveResult(folder: string, result: StudentResult): Promise<void> {
  const name = fileNameOf(result.student);
  await writeText(join(folder, `${name}.html`), studentPage(result));
  await writeText(join(folder, 'results', `${name}.json`), `${JSON.stringify(result)}\n`);
}

/** What an earlier run found of the same answers with the same tests. */
async function savedResult(folder: string, student: string, digest: string): Promise<StudentResult | undefined> {
  const file = join(folder, 'results', `${fileNameOf(student)}.json`);
  if (!existsSync(file)) return undefined;
  try {
    const result = JSON.parse(await readText(file)) as Partial<StudentResult> | null;
    return result?.digest === digest && Array.isArray(result.exercises) ? (result as StudentResult) : undefined;
  } catch {
    return undefined; // half written, or edited: graded again
  }
}
