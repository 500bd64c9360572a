/**
 * @file Examines one student's answers to one chapter: the tests run here, the answers in a process of their own, which is
 * started anew when an answer has cost its life. What an answer does is charged to its own exercise.
 */
import { LabError, messageOf } from '../../base/index.ts';
import type { Answer } from '../exercise.ts';
import { compiledSources } from '../transpile.ts';
import type { TaggedCell } from '../notebook-file.ts';
import { hasExercise, runExercise, type Row, type Watch } from '../runner.ts';
import { Stopped } from '../watchdog.ts';
import { lineOf } from './codec.ts';
import type { Confinement } from './confine.ts';
import { Link } from './link.ts';
import { Peer } from './peer.ts';

export interface TestFile {
  readonly file: string;
  /** Not shown to students. */
  readonly hidden: boolean;
}

export interface Limits {
  /** How long a cell may take, in milliseconds; 5,000 unless told. */
  readonly cell?: number;
  /** How long a test may take, unless it says otherwise itself; 3,000 unless told. */
  readonly test?: number;
  /** Resident memory of a student's process, in bytes (looked at on Linux only); 1.5 GiB unless told. */
  readonly memory?: number;
}

export interface Examination {
  readonly cells: readonly TaggedCell[];
  /** In this order. */
  readonly exercises: readonly string[];
  /** All names that the chapter's answers define. */
  readonly names: readonly string[];
  readonly tests: readonly TestFile[];
  readonly confinement: Confinement;
  readonly limits: Limits;
}

export interface GradedRow extends Row {
  readonly hidden: boolean;
}

export type Finding = { readonly rows: readonly GradedRow[] } | { readonly problem: string };

export interface ExaminationEvents {
  /** The process with the student's code. */
  process(pid: number): void;
  /** What is looked at from now on. */
  now(exercise: string): void;
  found(exercise: string, finding: Finding): void;
  /** What does not belong to one exercise: the set-up cell does not run. */
  note(text: string): void;
}

/** For the process to come up on a busy machine, in milliseconds. */
const START_LIMIT = 45_000;
const CELL_LIMIT = 5_000;

/** One at a time: a grader has one line to one process. */
export class Examiner {
  readonly #link: Link;
  #peer: Peer;
  #events: ExaminationEvents | undefined;
  #onEnded: ((error: Stopped) => void) | undefined;

  constructor() {
    this.#link = new Link({
      started: (pid) => this.#events?.process(pid),
      message: (frame) => {
        try {
          this.#peer.handle(frame);
        } catch {
          this.#link.broken();
        }
      },
      ended: (error) => {
        this.#peer.abandon(error);
        this.#onEnded?.(error);
      },
    });
    this.#peer = new Peer(0, this.#link);
  }

  async examine(examination: Examination, events: ExaminationEvents): Promise<void> {
    const { exercises } = examination;
    this.#events = events;
    const problems = new Map<string, string>();
    const skip = new Set<number>();
    this.#link.stop();
    for (const exercise of exercises) {
      events.now(exercise);
      if (this.#link.dead) this.#begin(examination, skip, problems);
      const problem = problems.get(exercise);
      if (problem === undefined) events.found(exercise, { rows: await this.#rows(exercise, examination) });
      else events.found(exercise, { problem });
    }
    this.#link.stop();
    compiledSources.clear();
  }

  async close(): Promise<void> {
    await this.#link.close();
  }

  /** Starts a process and evaluates the cells in it; again and without them where one of them is its end. */
  #begin({ cells, confinement, limits }: Examination, skip: Set<number>, problems: Map<string, string>): void {
    for (let fatal = true; fatal;) {
      fatal = false;
      this.#start(confinement, limits.memory);
      for (const [index, { exercise, source }] of cells.entries()) {
        if (skip.has(index)) continue;
        const trouble = (text: string): void =>
          exercise === undefined ? this.#events!.note(`set-up: ${text}`) : void problems.set(exercise, text);
        try {
          this.#link.limit(limits.cell ?? CELL_LIMIT);
          const problem = this.#peer.cell(`cell ${exercise ?? 'set-up'} #${index}`, source);
          if (problem !== undefined) trouble(problem);
          this.#peer.names([]); // it has left nothing running that keeps the process from answering
        } catch (error) {
          skip.add(index);
          trouble(`the cell could not be run: ${messageOf(error)}`);
          fatal = true;
          break;
        }
      }
    }
  }

  /** @throws LabError when a process cannot be started at all: that is not the student's doing */
  #start(confinement: Confinement, memory: number | undefined): void {
    for (let left = 2; ; left--) {
      this.#link.start(confinement, memory);
      this.#peer = new Peer(0, this.#link);
      this.#link.limit(START_LIMIT);
      try {
        this.#peer.names([]);
        return;
      } catch (error) {
        if (left === 0)
          throw new LabError(`The process for students' code does not start (${confinement}): ${messageOf(error)}`);
      }
    }
  }

  async #rows(exercise: string, { names, tests, limits }: Examination): Promise<GradedRow[]> {
    const rows: GradedRow[] = [];
    for (const { file, hidden } of tests) {
      if (!(await hasExercise(file, exercise))) continue;
      try {
        this.#link.limit(limits.cell ?? CELL_LIMIT);
        const answers = this.#peer.names(names) as Answer;
        const found = await runExercise(file, exercise, withLines(answers), {
          watch: this.#watch,
          exerciseLimit: Infinity, // each test has its own, and the first that is stopped ends the exercise
          ...(limits.test !== undefined && { testLimit: limits.test }),
        });
        rows.push(...found.map((row) => ({ ...row, hidden })));
        if (!this.#link.dead) this.#peer.forget();
      } catch (error) {
        if (!(error instanceof Stopped)) throw error;
        // Dead between two test files: what is not run does not pass.
        rows.push({ name: 'runs to the end', state: 'failed', milliseconds: 0, message: error.message, hidden });
      }
    }
    return rows;
  }

  /** A test that has cost the process its life has failed, whatever it makes of that. */
  readonly #watch: Watch = async (body, milliseconds) => {
    if (this.#link.dead) throw this.#link.dead;
    this.#link.limit(milliseconds);
    let timer: NodeJS.Timeout | undefined;
    try {
      const ended = new Promise<never>((_, reject) => {
        this.#onEnded = reject;
        const check = (): void => {
          const left = this.#link.left();
          if (left === 0) this.#link.fail('time');
          else timer = setTimeout(check, left);
        };
        timer = setTimeout(check, milliseconds);
      });
      await Promise.race([body(), ended]);
    } finally {
      clearTimeout(timer);
      this.#onEnded = undefined;
    }
    // In a test's expectations it may have been just an error like any other.
    if (this.#link.dead) throw this.#link.dead;
  };
}

let quoted = 0;

/** Functions whose errors show the student's line, as those of this process do. */
function withLines(answers: Answer): Answer {
  const quote = (error: unknown): never => {
    const line = error instanceof Error ? lineOf(error) : undefined;
    if (line !== undefined) {
      const title = `cell answer ${++quoted}`;
      compiledSources.set(title, line.replace('in your line: ', '').replaceAll('\n', ' '));
      (error as Error).stack = `${(error as Error).message}\n    at ${title}:1:1`;
    }
    throw error;
  };
  const wrapped = Object.entries(answers).map(([name, value]: [string, unknown]) => {
    if (typeof value !== 'function') return [name, value];
    const f = value as (...args: unknown[]) => unknown;
    const call = (...args: unknown[]): unknown => {
      try {
        const result = f(...args);
        return result instanceof Promise ? result.catch(quote) : result;
      } catch (error) {
        return quote(error);
      }
    };
    Object.defineProperty(call, 'length', { value: f.length });
    Object.defineProperty(call, 'name', { value: name });
    return [name, call];
  });
  return Object.fromEntries(wrapped) as Answer;
}
