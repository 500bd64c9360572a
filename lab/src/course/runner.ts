/**
 * @file Runs the tests of one exercise in this process: the file that `npx vitest` runs, unchanged, with its import of
 * `../solutions/…` giving whichever answers are to be judged.
 */
import { createRequire } from 'node:module';
import { basename, dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import { currentDevice, startBackend } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import { newCollector, type Body, type Suite, type Test } from './collector.ts';
import type { Answer } from './exercise.ts';
import { explain, type Explanation, type KnownLines } from './explain.ts';
import { sandboxed } from './sandbox.ts';
import { loadTypeScript, type Require } from './transpile.ts';
import { Stopped, watched } from './watchdog.ts';

/** 'unwritten': the stub is still there. 'skipped': not run, because an earlier test had to be stopped. */
export type RowState = 'passed' | 'failed' | 'unwritten' | 'skipped';

/** The outcome of one test. */
export interface Row extends Partial<Explanation> {
  readonly name: string;
  readonly state: RowState;
  readonly milliseconds: number;
}

export interface RunOptions {
  /** A test may take so long, in milliseconds, unless it says otherwise itself; 3,000 unless told. */
  readonly testLimit?: number;
  /** All tests of the exercise together; 20,000 unless told. */
  readonly exerciseLimit?: number;
  /** Runs code for at most so many milliseconds; `watched` unless told. What it throws when they are over is a Stopped. */
  readonly watch?: Watch;
}

export type Watch = (body: () => Promise<void>, milliseconds: number) => Promise<void>;

/**
 * Runs the tests of the exercise.
 *
 * @param file the chapter's test file
 * @param id the describe whose title is this or starts with it
 * @param answers what `../solutions/…` exports
 * @throws LabError when there is no such describe; never because of what the answers do.
 */
export async function runExercise(file: string, id: string, answers: Answer, options: RunOptions = {}): Promise<Row[]> {
  const before = running;
  const own = before.then(async () => {
    if (!currentDevice()) await startBackend();
    const suite = await collect(file, id, answers);
    const run = new Run(options);
    await sandboxed(() => run.suite(suite, '', [], []));
    return run.rows;
  });
  running = own.catch(() => undefined);
  return own;
}

/** One exercise at a time: what watches and guards the tests does so for the whole process. */
let running: Promise<unknown> = Promise.resolve();

/** Whether the file has tests for the exercise. */
export async function hasExercise(file: string, id: string): Promise<boolean> {
  return suitesOf(await collectAll(file, {}), id).length > 0;
}

function suitesOf(root: Suite, id: string): Suite[] {
  return root.items.filter((item): item is Suite => 'items' in item && (item.name === id || item.name.startsWith(`${id} `)));
}

/** The one suite of the exercise. */
async function collect(file: string, id: string, answers: Answer): Promise<Suite> {
  const root = await collectAll(file, answers);
  const found = suitesOf(root, id);
  if (found.length !== 1) throw new LabError(`${basename(file)} has ${found.length} times describe('${id} …'); it needs one.`);
  return { ...found[0]!, hooks: joinHooks(root, found[0]!) };
}

/** All that the file declares. */
async function collectAll(file: string, answers: Answer): Promise<Suite> {
  const { root, api } = newCollector();
  const vitest = (await import('vitest')) as unknown as Record<string, unknown>;
  const given = new Map<string, unknown>([
    ...['expect', 'vi', 'assert', 'chai'].map((n) => [n, vitest[n]] as const),
    ...Object.entries(api),
  ]);
  const lab = (await import('../index.ts')) as object;
  const load = createRequire(pathToFileURL(file));
  const require: Require = (name) => {
    if (name === 'vitest') return named(given, (key) => new LabError(`vitest's ${key} does not work in checks.`));
    if (name === 'lab') return lab;
    if (name.startsWith('../solutions/')) return named(new Map(Object.entries(answers)), notDefined);
    return load(name);
  };
  loadTypeScript(file)({}, require, { exports: {} }, file, dirname(file));
  return root;
}

function joinHooks(outer: Suite, inner: Suite): Suite['hooks'] {
  const of = (kind: keyof Suite['hooks'], first: Suite, second: Suite): Body[] => [...first.hooks[kind], ...second.hooks[kind]];
  return {
    beforeAll: of('beforeAll', outer, inner),
    beforeEach: of('beforeEach', outer, inner),
    afterEach: of('afterEach', inner, outer),
    afterAll: of('afterAll', inner, outer),
  };
}

function notDefined(name: string): Error {
  return new LabError(`${name} is not defined: run the cell that defines it first`);
}

/** A module of these names; any other name throws. */
function named(values: ReadonlyMap<string, unknown>, missing: (name: string) => Error): object {
  return new Proxy(Object.create(null) as object, {
    get: (_, key) => {
      if (key === '__esModule') return true;
      if (typeof key !== 'string' || key === 'default' || key === 'then') return undefined;
      if (!values.has(key)) throw missing(key);
      return values.get(key);
    },
    has: (_, key) => typeof key === 'string' && values.has(key),
  });
}

/** One pass over the suite's tests, in order. */
class Run {
  readonly rows: Row[] = [];
  readonly #lines: KnownLines = new Map();
  readonly #testLimit: number;
  readonly #watch: Watch;
  readonly #end: number;
  /** A test had to be stopped: what comes after would only be stopped too. */
  #stopped = false;

  constructor({ testLimit = 3000, exerciseLimit = 20_000, watch = watched }: RunOptions) {
    this.#testLimit = testLimit;
    this.#watch = watch;
    this.#end = performance.now() + exerciseLimit;
  }

  async suite(suite: Suite, path: string, before: readonly Body[], after: readonly Body[]): Promise<void> {
    const each = [...before, ...suite.hooks.beforeEach];
    const eachAfter = [...suite.hooks.afterEach, ...after];
    const broken = suite.mode === 'run' ? await this.#failure(suite.hooks.beforeAll) : undefined;
    for (const item of suite.items) {
      const name = path === '' ? item.name : `${path} › ${item.name}`;
      if (broken) this.#add(broken, item.name, 0);
      else if ('items' in item) await this.suite(item, name, each, eachAfter);
      else await this.#test(item, name, each, eachAfter);
    }
    if (suite.mode !== 'run') return;
    const late = await this.#failure(suite.hooks.afterAll);
    if (late && !broken) this.#add(late, `${path} › after all`, 0);
  }

  async #test(test: Test, name: string, before: readonly Body[], after: readonly Body[]): Promise<void> {
    if (test.mode !== 'run') return;
    if (this.#stopped) {
      this.rows.push({ name, state: 'skipped', milliseconds: 0 });
      return;
    }
    const start = performance.now();
    const limit = test.timeout ?? this.#testLimit;
    const failure = await this.#failure([...before, test.body], limit);
    const late = await this.#failure(after); // as in vitest, whatever became of the test
    this.#add(failure ?? late, name, performance.now() - start);
  }

  #add(failure: Explanation | undefined, name: string, milliseconds: number): void {
    const state = !failure ? 'passed' : failure.kind === 'unwritten' ? 'unwritten' : 'failed';
    this.rows.push({ name, state, milliseconds, ...failure });
  }

  /** Why one of these did not end well, or undefined. */
  async #failure(bodies: readonly Body[], limit: number = this.#testLimit): Promise<Explanation | undefined> {
    if (this.#stopped || bodies.length === 0) return undefined;
    const { expect } = await import('vitest');
    const allowed = Math.min(limit, Math.max(100, this.#end - performance.now()));
    try {
      await this.#watch(async () => {
        for (const body of bodies) await body({ expect });
      }, Math.round(allowed));
      return undefined;
    } catch (error) {
      if (error instanceof Stopped) this.#stopped = true;
      return explain(error, this.#lines);
    }
  }
}
