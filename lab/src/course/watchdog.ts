/**
 * @file Runs code that may never end (a reader's loop) so that it ends: whether it loops at once, after an `await`, or
 * in promises that resolve each other for ever.
 *
 * Stopping unwinds everything up to the event loop. So the code starts in a turn of its own, and who waits for it stands
 * outside and is told by a timer or by the watching thread. And it must run in promise callbacks alone, timers' callbacks
 * included: Node keeps a stack of asynchronous contexts around the callback of a timer, and dies when it is unwound.
 */
import { Worker } from 'node:worker_threads';

/** The states of word 0 of the memory that both threads share; word 1 holds the number of the current watch. */
export const IDLE = 0;
export const ARMED = 1;
export const FIRING = 2;

/** What the main thread asks of the watching one; number 0 asks it to rest. */
export interface Watch {
  readonly number: number;
  readonly milliseconds: number;
  /** Resident memory of the process that is too much. */
  readonly bytes: number;
}

/** The code did not end by itself. */
export class Stopped extends Error {
  override readonly name: string = 'Stopped';
  readonly reason: 'time' | 'memory' | 'exit';

  constructor(reason: 'time' | 'memory' | 'exit', milliseconds: number) {
    super(
      reason === 'time'
        ? `stopped after ${Math.round(milliseconds / 100) / 10} s: is there a loop that never ends?`
        : reason === 'memory'
          ? 'stopped: it kept taking more memory. Is there a loop that never ends?'
          : 'its process ended.',
    );
    this.reason = reason;
  }
}

/** How long the main thread may be late for its own timer before it counts as stuck, in milliseconds. */
const GRACE = 300;
/** How much memory the watched code may add to the process, in bytes. */
const MEMORY = 1.5 * 2 ** 30;

interface Thread {
  readonly worker: Worker;
  readonly state: Int32Array;
}

let thread: Thread | undefined;
let watches = 0;
let onFired: ((number: number, reason: 'time' | 'memory') => void) | undefined;

function watcher(): Thread {
  if (thread) return thread;
  const shared = new SharedArrayBuffer(8);
  const worker = new Worker(new URL('./watchdog-worker.js', import.meta.url), {
    workerData: shared,
    execArgv: [],
    stdout: false,
  });
  worker.on('message', ({ number, reason }: { number: number; reason: 'time' | 'memory' }) => onFired?.(number, reason));
  worker.unref();
  thread = { worker, state: new Int32Array(shared) };
  return thread;
}

/** Ends the watching thread; the next watched code starts a new one. */
export async function stopWatchdog(): Promise<void> {
  const { worker } = thread ?? {};
  thread = undefined;
  await worker?.terminate();
}

/**
 * Runs the code, at most `milliseconds` long. One at a time.
 *
 * @returns what the code returns
 * @throws Stopped when it does not end in time or takes too much memory; else what the code throws.
 */
export async function watched<T>(body: () => T | Promise<T>, milliseconds: number): Promise<T> {
  const { worker, state } = watcher();
  const number = ++watches;
  const plain = setImmediate;
  worker.ref();
  let timer: NodeJS.Timeout | undefined;
  let restore: (() => void) | undefined;
  try {
    return await new Promise<T>((resolve, reject) => {
      /** True for who ends the watch first. Where the other thread is about to stop this one, waits for that. */
      const first = (): boolean => {
        const before = state[1] === number ? Atomics.compareExchange(state, 0, ARMED, IDLE) : IDLE;
        while (before === FIRING && Atomics.load(state, 0) === FIRING);
        return before === ARMED;
      };
      // Ends in a later turn: only then has the code left no loop of promises behind.
      const end = (settle: () => void): void => {
        plain(() => queueMicrotask(() => first() && settle()));
      };
      const fail = (error: unknown): void => end(() => reject(error as Error));
      onFired = (which, reason) => which === number && reject(new Stopped(reason, milliseconds));
      Atomics.store(state, 1, number);
      Atomics.store(state, 0, ARMED);
      worker.postMessage({
        number,
        milliseconds: milliseconds + GRACE,
        bytes: process.memoryUsage.rss() + MEMORY,
      } satisfies Watch);
      timer = setTimeout(() => fail(new Stopped('time', milliseconds)), milliseconds);
      const begin = async (): Promise<void> => {
        if (state[1] !== number) return; // stopped before it could begin
        const value = await body();
        end(() => resolve(value));
      };
      plain(() => queueMicrotask(() => void begin().catch(fail)));
      restore = watchTimers(fail);
    });
  } finally {
    clearTimeout(timer);
    worker.unref();
    Atomics.store(state, 0, IDLE);
    Atomics.store(state, 1, 0);
    restore?.();
  }
}

type Callback = (...values: unknown[]) => void;
type Scheduler = (callback: Callback, ...rest: unknown[]) => unknown;

/**
 * While watched code runs, callbacks of global timers run as promise callbacks and report their errors.
 *
 * @returns what puts the plain timers back and cancels the ones that were set meanwhile
 */
function watchTimers(fail: (error: unknown) => void): () => void {
  const wrap =
    (callback: Callback): Callback =>
    (...values) =>
      queueMicrotask(() => {
        try {
          callback(...values);
        } catch (error) {
          fail(error);
        }
      });
  const cancel: (() => void)[] = [];
  const replace = (place: Record<string, Scheduler>, name: string, clear?: (handle: never) => void): void => {
    const plain = place[name]!;
    const watching = (callback: Callback, ...rest: unknown[]): unknown => {
      const handle = plain(
        name === 'nextTick' ? wrap(() => callback(...rest)) : wrap(callback),
        ...(name === 'nextTick' ? [] : rest),
      );
      if (clear) cancel.push(() => clear(handle as never));
      return handle;
    };
    place[name] = Object.assign(watching, plain);
    cancel.push(() => (place[name] = plain));
  };
  const globals = globalThis as unknown as Record<string, Scheduler>;
  replace(globals, 'setTimeout', clearTimeout);
  replace(globals, 'setInterval', clearInterval);
  replace(globals, 'setImmediate', clearImmediate);
  replace(process as unknown as Record<string, Scheduler>, 'nextTick');
  return () => cancel.forEach((undo) => undo());
}
