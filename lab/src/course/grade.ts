/**
 * @file Tests the answers of a saved notebook in a process of their own, which may loop, take all memory or die without
 * harm. What ended it is charged to the exercise that was running, and a new process goes on with the others.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { LabError } from '../base/index.ts';
import { filesOf, type Course, type Place } from './catalog.ts';
import type { Chapter } from './exercise.ts';
import { readNotebook } from './notebook-file.ts';
import type { Row } from './runner.ts';
import { verdictOf, type Verdict } from './verdict.ts';

/** What the grading process is asked to do. */
export interface Job {
  readonly secret: string;
  readonly notebook: string;
  readonly test: string;
  /** In this order. */
  readonly exercises: readonly string[];
  /** Exercises whose cells are not to be run. */
  readonly skip: readonly string[];
}

/** What the grading process tells. */
export type Event =
  | { readonly kind: 'cell'; readonly exercise?: string }
  | { readonly kind: 'exercise'; readonly exercise: string }
  | { readonly kind: 'rows'; readonly exercise: string; readonly rows: readonly Row[] }
  | { readonly kind: 'problem'; readonly exercise: string; readonly problem: string }
  /** Nothing is left to do; the process waits to be killed. */
  | { readonly kind: 'end' }
  /** The tests themselves cannot be run. */
  | { readonly kind: 'broken'; readonly message: string };

/** Longer than any of the grading process's own limits, in milliseconds: what is silent so long does not answer. */
const SILENCE = 45_000;
/** Of JavaScript's own memory, in MiB; tensors lie outside. */
const HEAP = 2048;

/** The few variables that the process gets: it needs no other, and answers have no business with them. */
function environment(): NodeJS.ProcessEnv {
  const kept = ['PATH', 'SystemRoot', 'TMPDIR', 'TEMP', 'LD_LIBRARY_PATH', 'LAB_SOFTWARE_GPU'];
  const passed = Object.fromEntries(kept.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])));
  return { ...passed, LAB_BACKEND: process.env['LAB_BACKEND'] ?? 'wasm', LAB_THREADS: process.env['LAB_THREADS'] ?? '2' };
}

type Outcome = { readonly rows: readonly Row[] } | { readonly problem: string };

/** What one grading process has come to. */
interface Attempt {
  readonly outcomes: Map<string, Outcome>;
  /** What ran when it ended before its time; undefined when it came to its end. */
  readonly during?: { readonly exercise: string | undefined; readonly cell: boolean; readonly how: string };
}

function start(): ChildProcess {
  return fork(new URL('./grader.js', import.meta.url), {
    execArgv: [`--max-old-space-size=${HEAP}`],
    env: environment(),
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
}

/** Runs one process to its end, whichever it is. */
function attempt(job: Omit<Job, 'secret'>, silence: number): Promise<Attempt> {
  const secret = randomBytes(16).toString('hex');
  const child = start();
  const outcomes = new Map<string, Outcome>();
  let now: { exercise: string | undefined; cell: boolean } = { exercise: undefined, cell: false };
  let ended = false;
  let silent = false;
  return new Promise((resolve, reject) => {
    const kill = (): void => {
      silent = true;
      child.kill('SIGKILL');
    };
    let timer = setTimeout(kill, silence);
    child.on('message', (message: { secret?: unknown; event?: Event }) => {
      if (message.secret !== secret || !message.event || ended) return;
      clearTimeout(timer);
      timer = setTimeout(kill, silence);
      const { event } = message;
      if (event.kind === 'cell') now = { exercise: event.exercise, cell: true };
      else if (event.kind === 'exercise') now = { exercise: event.exercise, cell: false };
      else if (event.kind === 'rows') outcomes.set(event.exercise, { rows: event.rows });
      else if (event.kind === 'problem') outcomes.set(event.exercise, { problem: event.problem });
      else {
        ended = true;
        if (event.kind === 'broken') reject(new LabError(event.message));
        child.kill('SIGKILL');
      }
    });
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      clearTimeout(timer);
      const how = silent ? 'did not end and was killed' : `ended the process (${signal ?? `status ${code}`}): too much memory?`;
      resolve(ended ? { outcomes } : { outcomes, during: { ...now, how } });
    });
    child.send({ ...job, secret } satisfies Job);
  });
}

export interface GradeOptions {
  /** After how many milliseconds without a sign of life the process is killed. */
  readonly silence?: number;
}

/**
 * Tests the answers to these exercises as the chapter's notebook was last saved.
 *
 * @throws LabError when the notebook is missing or malformed, or the grading process cannot start
 */
export async function gradeChapter(
  chapter: Chapter,
  ids: readonly string[],
  course: Course,
  { silence = SILENCE }: GradeOptions = {},
): Promise<Verdict[]> {
  const { notebook, test } = filesOf(chapter, course);
  readNotebook(notebook);
  const outcomes = new Map<string, Outcome>();
  const skip = new Set<string>();
  for (;;) {
    const rest = ids.filter((id) => !outcomes.has(id));
    if (rest.length === 0) break;
    const { outcomes: found, during } = await attempt({ notebook, test, exercises: rest, skip: [...skip] }, silence);
    for (const [id, outcome] of found) outcomes.set(id, outcome);
    if (!during) break;
    const { exercise, cell, how } = during;
    if (exercise === undefined || skip.has(exercise))
      throw new LabError(`${chapter.slug}: the tests could not run; the set-up cell ${how}`);
    skip.add(exercise);
    outcomes.set(exercise, { problem: `${cell ? 'the cell' : 'the answer'} ${how}` });
  }
  return chapter.exercises
    .filter(({ id }) => ids.includes(id))
    .map((exercise) => {
      const outcome = outcomes.get(exercise.id) ?? { problem: 'its tests gave no verdict' };
      return 'rows' in outcome ? verdictOf(exercise, outcome.rows) : verdictOf(exercise, [], outcome.problem);
    });
}

/** Tests exercises of several chapters, chapter by chapter, as their notebooks were last saved. */
export async function gradeExercises(places: readonly Place[], course: Course, options?: GradeOptions): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  for (const chapter of new Set(places.map((place) => place.chapter))) {
    const ids = places.filter((place) => place.chapter === chapter).map((place) => place.exercise.id);
    verdicts.push(...(await gradeChapter(chapter, ids, course, options)));
  }
  return verdicts;
}
