/**
 * @file Stopping a long loop without losing its work: the first interrupt asks, the second one insists.
 * A loop that never lets the event loop run cannot hear a signal; `breathe` is its ear.
 */
import { setImmediate } from 'node:timers/promises';

/** What a loop looks at between its steps. */
export interface Interruption {
  /** True after an interrupt: finish the step, save, return. */
  readonly stopped: boolean;
  /** Await it in every step: lets signals and messages in, at most every 50 ms, so that it costs nothing. */
  breathe(): Promise<void>;
}

const breathEveryMs = 50;

/** Loops that run at the same time, or one inside another, stop together. */
let current: SharedInterruption | undefined;

/**
 * Runs a loop that can be interrupted. The first SIGINT (Ctrl-C, or ■ in JupyterLab) sets `stopped` and nothing else, so that
 * the loop ends well and a notebook cell returns what was reached; a second SIGINT does what it always does: it ends the process,
 * or in a notebook the cell. Whoever listened to SIGINT before listens again afterwards.
 */
export async function interruptible<T>(body: (signal: Interruption) => Promise<T>): Promise<T> {
  // A cell's synchronous part runs with all listeners put aside (`vm`'s breakOnSigint): wait for them to be back.
  await setImmediate();
  const signal = (current ??= new SharedInterruption());
  signal.enter();
  try {
    return await body(signal);
  } finally {
    signal.leave();
  }
}

type SignalListener = NodeJS.SignalsListener;

class SharedInterruption implements Interruption {
  #stopped = false;
  #users = 0;
  #lastBreath = performance.now();
  #others: SignalListener[] = [];
  readonly #onSignal: SignalListener = (name) => this.#interrupt(name);

  get stopped(): boolean {
    return this.#stopped;
  }

  async breathe(): Promise<void> {
    if (performance.now() - this.#lastBreath < breathEveryMs) return;
    await setImmediate();
    this.#lastBreath = performance.now();
  }

  enter(): void {
    if (this.#users++ > 0) return;
    // Raw, so that a listener that was added with `once` stays one.
    this.#others = process.rawListeners('SIGINT') as SignalListener[];
    process.removeAllListeners('SIGINT');
    process.on('SIGINT', this.#onSignal);
  }

  leave(): void {
    if (--this.#users === 0) this.#restore();
  }

  /** Also called when the user insists, while a body may hang for ever: what starts next must not find itself stopped. */
  #restore(): void {
    if (current !== this) return;
    current = undefined;
    process.off('SIGINT', this.#onSignal);
    for (const listener of this.#others) process.on('SIGINT', listener);
  }

  #interrupt(name: NodeJS.Signals): void {
    if (!this.#stopped) {
      this.#stopped = true;
      process.stderr.write('\nStopping after this step; interrupt once more to stop at once.\n');
      return;
    }
    this.#restore();
    if (this.#others.length > 0) process.emit(name, name);
    else process.kill(process.pid, name);
  }
}
