/**
 * @file `.lab/progress.json`: what each check of an exercise came to. It stays in the project; nothing is sent anywhere.
 */
import { existsSync } from 'node:fs';
import { mkdir, open, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { LabError, messageOf } from '../../base/index.ts';
import { readText, writeAtomically } from '../../files/index.ts';
import type { Course } from '../catalog.ts';
import type { Verdict, VerdictState } from '../verdict.ts';

/** What is known of one exercise. */
export interface ExerciseRecord {
  /** What the last check said. */
  readonly state: VerdictState;
  /** The code that was checked last: see code-digest.ts. */
  readonly digest: string;
  readonly checks: number;
  /** Seconds that went into it before it passed, as far as the times of the checks tell. */
  readonly seconds: number;
  /** The code that passed last, and when. */
  readonly passed?: { readonly digest: string; readonly at: string };
}

export interface ProgressRecord {
  readonly version: 1;
  /** When anything was checked last. */
  readonly at?: string;
  readonly exercises: Readonly<Record<string, ExerciseRecord>>;
}

/** A verdict and the code that it is about. */
export interface CheckedCode {
  readonly verdict: Verdict;
  readonly digest: string;
}

/** Longer between two checks, in seconds, is taken for something else than work on the exercise. */
const LONGEST_WORK = 30 * 60;

export function progressFile({ root }: Pick<Course, 'root'>): string {
  return join(root, '.lab', 'progress.json');
}

/** @throws LabError when the file is damaged, saying what to do */
export async function readProgress(course: Pick<Course, 'root'>): Promise<ProgressRecord> {
  const file = progressFile(course);
  if (!existsSync(file)) return { version: 1, exercises: {} };
  try {
    const found = JSON.parse(await readText(file)) as ProgressRecord;
    if (found.version === 1 && isExercises(found.exercises)) return found;
  } catch (error) {
    throw new LabError(`${file} is damaged (${messageOf(error)}). Move it away to begin a new one.`, { cause: error });
  }
  throw new LabError(`${file} is not a record that this version of the lab can read. Move it away to begin a new one.`);
}

function isExercises(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return Object.values(value).every(
    (one: Partial<ExerciseRecord> | null) => typeof one?.digest === 'string' && typeof one.seconds === 'number',
  );
}

/** Whether checks are recorded: not where `LAB_PROGRESS=off`, as in tests, nor by graders: nobody has learned there. */
export function recordsProgress(): boolean {
  return process.env['LAB_PROGRESS'] !== 'off' && !process.env['LAB_STRICT'];
}

/**
 * Adds the outcomes of checks to the record.
 *
 * @param now milliseconds since 1970
 * @throws LabError when the record cannot be read or written
 */
export async function recordChecks(
  checks: readonly CheckedCode[],
  course: Pick<Course, 'root'>,
  now = Date.now(),
): Promise<void> {
  const file = progressFile(course);
  await exclusively(file, async () => {
    const after = checks.reduce((record, one) => withCheck(record, one, now), await readProgress(course));
    await writeAtomically(file, [Buffer.from(`${JSON.stringify(after, null, 1)}\n`)]);
  });
}

/** The time since the check before goes to the exercise whose code has changed since, until it passes. */
function withCheck(record: ProgressRecord, { verdict, digest }: CheckedCode, now: number): ProgressRecord {
  const { id, state } = verdict;
  const before = record.exercises[id];
  const at = new Date(now).toISOString();
  const since = record.at === undefined ? Infinity : (now - Date.parse(record.at)) / 1000;
  const worked = before?.passed === undefined && state !== 'unwritten' && before?.digest !== digest;
  const seconds = (before?.seconds ?? 0) + (worked && since >= 0 && since <= LONGEST_WORK ? Math.round(since) : 0);
  const passed = state === 'passed' ? { digest, at } : before?.passed;
  const after: ExerciseRecord = { state, digest, checks: (before?.checks ?? 0) + 1, seconds, ...(passed && { passed }) };
  return { version: 1, at, exercises: { ...record.exercises, [id]: after } };
}

/** A lock that is older, in milliseconds, belongs to a process that was killed: what it guards takes a few. */
const ABANDONED = 10_000;

/** One reader and writer of the file at a time, whichever process it is in. */
async function exclusively(file: string, body: () => Promise<void>): Promise<void> {
  const lock = `${file}.lock`;
  await mkdir(dirname(file), { recursive: true }).catch((error: unknown) => {
    throw new LabError(`Cannot keep your progress in ${file}: ${messageOf(error)}`, { cause: error });
  });
  while (!(await claim(lock))) await setTimeout(20);
  try {
    await body();
  } finally {
    await rm(lock, { force: true });
  }
}

async function claim(lock: string): Promise<boolean> {
  try {
    await (await open(lock, 'wx')).close();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw new LabError(`Cannot keep your progress: ${messageOf(error)}`, { cause: error });
    }
    const age = await stat(lock).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0, // gone meanwhile
    );
    if (age > ABANDONED) await rm(lock, { force: true });
    return false;
  }
}
