/**
 * @file Several examining processes side by side. One that falls silent is killed together with the student's process, and
 * what it was looking at has failed; another one goes on with the rest.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { LabError } from '../../base/index.ts';
import type { Examination, Finding } from './examine.ts';
import type { ExaminerMessage } from './examiner-process.ts';

export interface Examined {
  readonly findings: ReadonlyMap<string, Finding>;
  readonly notes: readonly string[];
}

/** Longer than any of the examiner's own limits, in milliseconds: what is silent so long does not answer. */
const SILENCE = 300_000;

/** One place to examine at; it keeps its process from one student to the next. */
export class Desk {
  #child: ChildProcess | undefined;
  /** The student's process, which must not outlive the examiner. */
  #pid = 0;
  #closed = false;
  readonly #silence: number;

  constructor(silence = SILENCE) {
    this.#silence = silence;
  }

  /**
   * @returns what was found; not all of it when the desk was closed meanwhile
   * @throws LabError when the tests themselves cannot be run
   */
  async examine(examination: Examination): Promise<Examined> {
    const findings = new Map<string, Finding>();
    const notes = new Set<string>();
    for (;;) {
      const exercises = examination.exercises.filter((id) => !findings.has(id));
      if (exercises.length === 0 || this.#closed) return { findings, notes: [...notes] };
      const lost = await this.#attempt({ ...examination, exercises }, findings, notes);
      if (lost === undefined || this.#closed) continue;
      findings.set(lost.exercise, { problem: `its tests could not be run to their end: the grader ${lost.how}` });
    }
  }

  close(): void {
    this.#closed = true;
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
    this.#endStudent();
  }

  #endStudent(): void {
    try {
      if (this.#pid > 0) process.kill(this.#pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
    this.#pid = 0;
  }

  /** Runs until the examination is done, or until the process is no more: then says during what. */
  #attempt(
    examination: Examination,
    findings: Map<string, Finding>,
    notes: Set<string>,
  ): Promise<{ exercise: string; how: string } | undefined> {
    const child = (this.#child ??= start());
    let now = examination.exercises[0]!;
    let silent = false;
    return new Promise((resolve, reject) => {
      const kill = (): void => {
        silent = true;
        child.kill('SIGKILL');
      };
      let timer = setTimeout(kill, this.#silence);
      const settle = (end: () => void): void => {
        clearTimeout(timer);
        child.removeAllListeners();
        end();
      };
      child.on('message', (message: ExaminerMessage) => {
        clearTimeout(timer);
        timer = setTimeout(kill, this.#silence);
        if (message.kind === 'process') this.#pid = message.pid;
        else if (message.kind === 'now') now = message.exercise;
        else if (message.kind === 'note') notes.add(message.text);
        else if (message.kind === 'found') findings.set(message.exercise, message.finding);
        else settle(() => (message.kind === 'done' ? resolve(undefined) : reject(new LabError(message.message))));
      });
      child.on('error', (error) => settle(() => reject(error)));
      child.on('exit', (code, signal) =>
        settle(() => {
          this.#child = undefined;
          this.#endStudent();
          resolve({ exercise: now, how: silent ? 'had no answer for minutes' : `ended (${signal ?? `status ${code}`})` });
        }),
      );
      child.send(examination);
    });
  }
}

function start(): ChildProcess {
  const kept = ['PATH', 'SystemRoot', 'TMPDIR', 'TEMP', 'LD_LIBRARY_PATH', 'LAB_BWRAP', 'LAB_SOFTWARE_GPU', 'HOME'];
  const passed = Object.fromEntries(
    kept.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
  return fork(new URL('./examiner-process.js', import.meta.url), {
    execArgv: ['--max-old-space-size=2048'],
    // One thread each: the same sums in the same order, and as many desks as there are cores.
    env: { ...passed, LAB_BACKEND: 'wasm', LAB_THREADS: '1' },
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
}
