/**
 * @file The part of vitest that exercises use to declare tests: describe, it, each, hooks. It only collects; the runner
 * runs. `expect` and `vi` are vitest's own.
 */
import { format, inspect } from 'node:util';

// What a test file passes to describe and it is its own affair.
export type Body = (...values: unknown[]) => unknown;
export type Hook = 'beforeAll' | 'afterAll' | 'beforeEach' | 'afterEach';
type Mode = 'run' | 'skip' | 'todo';

export interface Test {
  readonly name: string;
  readonly mode: Mode;
  readonly body: Body;
  /** Milliseconds, where the test file says so. */
  readonly timeout?: number;
}

export interface Suite {
  readonly name: string;
  readonly mode: Mode;
  readonly hooks: Record<Hook, Body[]>;
  readonly items: (Suite | Test)[];
}

export interface Collector {
  readonly root: Suite;
  /** What `import … from 'vitest'` gives to the test file, besides expect and vi. */
  readonly api: Readonly<Record<string, unknown>>;
}

function newSuite(name: string, mode: Mode): Suite {
  return { name, mode, hooks: { beforeAll: [], afterAll: [], beforeEach: [], afterEach: [] }, items: [] };
}

type Add = (name: string, mode: Mode, body: Body | undefined, timeout: number | undefined) => void;

/** it('name', body, timeout), it('name', { timeout }, body) and their variants: skip, each, runIf, … */
function withVariants(add: Add): unknown {
  const make = (mode: Mode) => (name: unknown, a?: unknown, b?: unknown) => {
    const [body, options] = typeof a === 'function' ? [a as Body, b] : [b as Body | undefined, a];
    const timeout = typeof options === 'number' ? options : (options as { timeout?: number } | undefined)?.timeout;
    add(typeof name === 'function' ? name.name : String(name), mode, body, timeout);
  };
  const each = (spread: boolean) => (rows: readonly unknown[]) => (name: string, a: unknown, b?: unknown) => {
    const [body, options] = typeof a === 'function' ? [a as Body, b] : [b as Body, a];
    rows.forEach((row, index) => {
      const values = spread && Array.isArray(row) ? (row as unknown[]) : [row];
      make('run')(titleOf(name, values, index), options, () => body(...values));
    });
  };
  return Object.assign(make('run'), {
    skip: make('skip'),
    todo: make('todo'),
    only: make('run'),
    sequential: make('run'),
    each: each(true),
    for: each(false),
    skipIf: (condition: unknown) => make(condition ? 'skip' : 'run'),
    runIf: (condition: unknown) => make(condition ? 'run' : 'skip'),
  });
}

/** '%i rows of $shape' with the values of one row put in, as vitest does. */
function titleOf(name: string, values: readonly unknown[], index: number): string {
  const [row] = values;
  const named = name.replaceAll('%#', String(index)).replace(/\$([\w.]+)/g, (whole, path: string) => {
    const value = path.split('.').reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], row);
    return value === undefined ? whole : typeof value === 'string' ? value : inspect(value, { breakLength: Infinity });
  });
  const placeholders = named.match(/%[sdifjoOc]/g)?.length ?? 0;
  return placeholders === 0 ? named : format(named, ...values.slice(0, placeholders));
}

export function newCollector(): Collector {
  const root = newSuite('', 'run');
  let current = root;
  const inherited = (mode: Mode): Mode => (current.mode === 'run' ? mode : current.mode);
  const describe = withVariants((name, mode, body) => {
    const outer = current;
    const suite = newSuite(name, inherited(mode));
    outer.items.push(suite);
    current = suite;
    try {
      body?.();
    } finally {
      current = outer;
    }
  });
  const it = withVariants((name, mode, body, timeout) => {
    const test = { name, mode: body ? inherited(mode) : ('todo' as const), body: body ?? (() => undefined) };
    current.items.push(timeout === undefined ? test : { ...test, timeout });
  });
  const hook = (kind: Hook) => (body: Body) => void current.hooks[kind].push(body);
  const hooks = {
    beforeAll: hook('beforeAll'),
    afterAll: hook('afterAll'),
    beforeEach: hook('beforeEach'),
    afterEach: hook('afterEach'),
  };
  return { root, api: { describe, suite: describe, it, test: it, ...hooks } };
}
