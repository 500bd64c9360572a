/**
 * @file The process in which a student's code runs while it is graded. It evaluates cells and answers calls; it has no tests,
 * no expectations and no verdicts. What it says is believed to be an answer, and nothing more.
 */
import { read, readSync, writeSync } from 'node:fs';
import { startBackend, tf } from '../../backend/index.ts';
import { LabError } from '../../base/index.ts';
import { explain } from '../explain.ts';
import { compileCell } from '../transpile.ts';
import { setLine } from './codec.ts';
import { harden, seedRandom, studentRequire } from './harden.ts';
import { Peer } from './peer.ts';
import { FrameReader } from './wire.ts';

/** Requests arrive on one line, in the event loop; answers to this side's own calls on another, which is waited for. */
const REQUESTS = 3;
const ANSWERS = 4;
const CHUNK = 1 << 16;

// Taken now, before any other code can change them.
const exit = (process as unknown as { reallyExit(status: number): never }).reallyExit.bind(process);
const say = console;

const waiting: Uint8Array[] = [];
const answers = new FrameReader();

function writeAll(frame: Uint8Array): void {
  for (let done = 0; done < frame.length;) done += writeSync(REQUESTS, frame, done);
}

function receive(): Uint8Array {
  while (waiting.length === 0) {
    const chunk = Buffer.allocUnsafe(CHUNK);
    const length = readSync(ANSWERS, chunk);
    if (length === 0) exit(0);
    waiting.push(...answers.push(chunk.subarray(0, length)));
  }
  return waiting.shift()!;
}

const names = Object.create(null) as Record<string, unknown>;

async function start(): Promise<void> {
  await startBackend();
  const require = await studentRequire();
  harden();
  seedRandom();
  for (const method of ['log', 'info', 'debug', 'warn', 'error', 'table'] as const) say[method] = () => undefined;
  // A promise that nobody awaits must not end the process: its test fails by itself, or does not need it.
  process.on('unhandledRejection', () => undefined);
  process.on('uncaughtException', () => undefined);
  const evaluate = async (title: string, source: string): Promise<string | undefined> => {
    try {
      await compileCell(source, title)(names, require);
      return undefined;
    } catch (error) {
      if (error instanceof LabError) return error.message;
      const { message, detail } = explain(error);
      return `the cell does not run: ${message}${detail === undefined ? '' : `\n${detail}`}`;
    }
  };
  const engine = tf.engine();
  const chosen = (wanted: readonly string[]): object => {
    if (wanted.length > 0) engine.startScope(); // until the exercise is over
    return Object.fromEntries(wanted.flatMap((name) => (names[name] === undefined ? [] : [[name, markLines(names[name])]])));
  };
  const forget = (): void => engine.endScope();
  serve(new Peer(1, { send: writeAll, receive }, { cell: evaluate, names: chosen, forget }));
}

/** A function that notes in which line of the student's its errors arose. */
function markLines(value: unknown): unknown {
  if (typeof value !== 'function') return value;
  const f = value as (...args: unknown[]) => unknown;
  const note = (error: unknown): never => {
    const { detail } = error instanceof Error ? explain(error) : {};
    if (error instanceof Error && detail?.startsWith('in your line')) setLine(error, detail);
    throw error;
  };
  const marked = (...args: unknown[]): unknown => {
    try {
      const result = f(...args);
      return result instanceof Promise ? result.catch(note) : result;
    } catch (error) {
      return note(error);
    }
  };
  Object.defineProperty(marked, 'name', { value: f.name });
  Object.defineProperty(marked, 'length', { value: f.length });
  return marked;
}

/** Answers requests, one after another, until the line is closed. */
function serve(peer: Peer): void {
  const requests = new FrameReader();
  const next = (): void => {
    const chunk = Buffer.allocUnsafe(CHUNK);
    read(REQUESTS, chunk, 0, CHUNK, null, (error, length) => {
      if (error || length === 0) exit(0);
      for (const frame of requests.push(chunk.subarray(0, length))) peer.handle(frame);
      next();
    });
  };
  next();
}

await start();
