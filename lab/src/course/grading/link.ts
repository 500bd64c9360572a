/**
 * @file The grader's end of the line to a student's process: sends, and waits for what comes back, at most until a deadline.
 * A process that is silent too long, takes too much memory or breaks the rules is killed, and stays dead.
 */
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';
import { Stopped } from '../watchdog.ts';
import { answererCommand, type CommandLine, type Confinement } from './confine.ts';
import type { Channel } from './peer.ts';
import { waitedFor } from './process-tree.ts';

/** What the thread is told at its start. */
export interface LinkData {
  /** One number that grows with every message. */
  readonly signal: SharedArrayBuffer;
  /** How many bytes wait to be read. */
  readonly queued: SharedArrayBuffer;
  readonly port: MessagePort;
}

export type ToLink =
  | { readonly kind: 'start'; readonly number: number; readonly line: CommandLine; readonly memory: number }
  | { readonly kind: 'send'; readonly number: number; readonly frame: Uint8Array; readonly nested: boolean }
  | { readonly kind: 'stop'; readonly number: number };

export type FromLink =
  | { readonly kind: 'started'; readonly number: number; readonly pid: number }
  | { readonly kind: 'frame'; readonly number: number; readonly frame: Uint8Array }
  | { readonly kind: 'ended'; readonly number: number; readonly reason: string };

/** Resident memory that a student's process may have, in bytes. */
const MEMORY = 1.5 * 2 ** 30;

/** After so many times its limit it is over in any case. */
const PATIENCE = 10;

/** The process is no more, and not because it was too slow. */
export class Ended extends Stopped {
  constructor(message: string) {
    super('exit', 0);
    this.message = message;
  }
}

function endedBecause(reason: string, limit: number): Stopped {
  if (reason === 'time') return new Stopped('time', limit);
  if (reason === 'memory') return new Stopped('memory', limit);
  if (reason === 'output') return new Ended('stopped: it handed over more than can be graded.');
  if (reason === 'broken') return new Ended('stopped: it sent what no function returns. Answers must not write to the grader.');
  if (reason.startsWith('not started')) return new Ended(`the answers could not be run (${reason}).`);
  if (/SIGABRT|SIGTRAP|status 13[34]/.test(reason)) return new Stopped('memory', limit);
  return new Ended(`the answer ended its process (${reason.replace('exit: ', '')}).`);
}

export interface LinkEvents {
  started(pid: number): void;
  /** A message that nobody waits for. */
  message(frame: Uint8Array): void;
  ended(error: Stopped): void;
}

export class Link implements Channel {
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #signal = new Int32Array(new SharedArrayBuffer(4));
  readonly #queued = new Int32Array(new SharedArrayBuffer(4));
  readonly #events: LinkEvents;
  #number = 0;
  #pid = 0;
  #limit = 0;
  #began = 0;
  /** How long both processes had waited for a core when the time began. */
  #waited = 0;
  #deadline = 0;
  /** Why the process is no more; before the first start there is none either. */
  #dead: Stopped | undefined = new Ended('not started');

  constructor(events: LinkEvents) {
    this.#events = events;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const workerData: LinkData = {
      signal: this.#signal.buffer as SharedArrayBuffer,
      queued: this.#queued.buffer as SharedArrayBuffer,
      port: port2,
    };
    this.#worker = new Worker(new URL('./link-worker.js', import.meta.url), {
      workerData,
      transferList: [port2],
      execArgv: [],
    });
    this.#port.on('message', (message: FromLink) => {
      const frame = this.#take(message);
      if (frame) this.#events.message(frame);
    });
  }

  /** Why the process is no more. */
  get dead(): Stopped | undefined {
    return this.#dead;
  }

  /** Starts a new process in place of the one before. */
  start(confinement: Confinement, memory = MEMORY): void {
    this.stop();
    this.#dead = undefined;
    this.#pid = 0;
    Atomics.store(this.#queued, 0, 0);
    this.#post({ kind: 'start', number: ++this.#number, line: answererCommand(confinement), memory });
  }

  /**
   * From now on answers must come within so many milliseconds. The time that the processes wait for a core does not count,
   * where it is known: the same answers have the same grade on a busy machine.
   */
  limit(milliseconds: number): void {
    this.#limit = milliseconds;
    this.#began = performance.now();
    this.#waited = this.#waits();
    this.#deadline = this.#began + milliseconds;
  }

  /** How many milliseconds are left at least; none when the time is over. */
  left(): number {
    const now = performance.now();
    if (now < this.#deadline) return this.#deadline - now;
    const elapsed = now - this.#began;
    const left = this.#limit - (elapsed - (this.#waits() - this.#waited));
    if (left < 1 || elapsed > PATIENCE * this.#limit) return 0;
    this.#deadline = now + Math.max(left, 20);
    return this.#deadline - now;
  }

  #waits(): number {
    return waitedFor(process.pid) + waitedFor(this.#pid);
  }

  send(frame: Uint8Array, nested: boolean): void {
    if (this.#dead) throw this.#dead;
    this.#post({ kind: 'send', number: this.#number, frame, nested });
  }

  /** @throws Stopped when the process ends before it answers, or is killed for its silence */
  receive(): Uint8Array {
    for (;;) {
      const seen = Atomics.load(this.#signal, 0);
      const received = receiveMessageOnPort(this.#port) as { message: FromLink } | undefined;
      if (received) {
        const frame = this.#take(received.message);
        if (frame) return frame;
        continue;
      }
      if (this.#dead) throw this.#dead;
      const left = this.left();
      if (left === 0) throw this.fail('time');
      Atomics.wait(this.#signal, 0, seen, left);
    }
  }

  broken(): void {
    this.fail('broken');
  }

  /** Kills the process; the error says why. */
  fail(reason: string): Stopped {
    if (!this.#dead) {
      this.#dead = endedBecause(reason, this.#limit);
      this.#post({ kind: 'stop', number: this.#number });
      this.#events.ended(this.#dead);
    }
    return this.#dead;
  }

  stop(): void {
    if (!this.#dead) this.#post({ kind: 'stop', number: this.#number });
    this.#dead ??= new Ended('the grading is over');
  }

  async close(): Promise<void> {
    this.stop();
    this.#port.close();
    await this.#worker.terminate();
  }

  #post(message: ToLink): void {
    this.#worker.postMessage(message);
  }

  /** The frame of a message, if it is one and not out of date. */
  #take(message: FromLink): Uint8Array | undefined {
    if (message.kind === 'frame') Atomics.sub(this.#queued, 0, message.frame.length);
    if (message.number !== this.#number) return undefined;
    if (message.kind === 'started') {
      this.#pid = message.pid;
      this.#events.started(message.pid);
    }
    if (message.kind === 'ended') this.fail(message.reason);
    if (message.kind === 'frame' && !this.#dead) return message.frame;
    return undefined;
  }
}
