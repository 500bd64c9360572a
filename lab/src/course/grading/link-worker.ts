/**
 * @file The thread that keeps a student's process: starts it, passes messages on, watches its memory, ends it. The thread
 * beside may so wait for an answer without an event loop.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { parentPort, workerData } from 'node:worker_threads';
import type { FromLink, LinkData, ToLink } from './link.ts';
import { memoryOf } from './process-tree.ts';
import { FrameReader } from './wire.ts';

const { signal, queued, port } = workerData as LinkData;
const counter = new Int32Array(signal);
const held = new Int32Array(queued);

/** How often the memory is looked at, in milliseconds: an allocating loop makes some ten megabytes in that time. */
const PERIOD = 20;
/** What may wait to be read by the grader, in bytes. */
const MOST_QUEUED = 256 * 2 ** 20;

interface Running {
  readonly number: number;
  readonly child: ChildProcess;
  readonly timer: NodeJS.Timeout;
}

let running: Running | undefined;

function tell(message: FromLink): void {
  port.postMessage(message);
  Atomics.add(counter, 0, 1);
  Atomics.notify(counter, 0);
}

function start({ number, line, memory }: ToLink & { kind: 'start' }): void {
  const child = spawn(line.command, line.args, {
    env: line.env,
    cwd: line.cwd,
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
  });
  const end = (reason: string): void => {
    if (running?.number !== number) return;
    clearInterval(running.timer);
    running = undefined;
    child.kill('SIGKILL');
    tell({ kind: 'ended', number, reason });
  };
  const timer = setInterval(() => {
    if (memoryOf(child.pid ?? 0) > memory) end('memory');
  }, PERIOD);
  running = { number, child, timer };
  tell({ kind: 'started', number, pid: child.pid ?? 0 });
  for (const stream of [child.stdio[3], child.stdio[4]] as (Readable & Writable)[]) {
    const reader = new FrameReader();
    stream.on('error', () => undefined); // that it is closed is told by the process's end
    stream.on('data', (chunk: Buffer) => {
      if (running?.number !== number) return;
      try {
        for (const frame of reader.push(chunk)) {
          if (Atomics.add(held, 0, frame.length) > MOST_QUEUED) return end('output');
          tell({ kind: 'frame', number, frame });
        }
      } catch {
        end('output');
      }
    });
  }
  child.on('error', (error) => end(`not started: ${error.message}`));
  child.on('exit', (code, sign) => end(`exit: ${sign ?? `status ${code}`}`));
}

parentPort!.on('message', (message: ToLink) => {
  if (message.kind === 'start') return start(message);
  if (running?.number !== message.number) return;
  if (message.kind === 'send') {
    (running.child.stdio[message.nested ? 4 : 3] as Writable).write(message.frame);
  } else {
    const { child, timer } = running;
    clearInterval(timer);
    running = undefined;
    child.kill('SIGKILL');
  }
});
