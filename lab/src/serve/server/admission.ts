/**
 * @file Who may come in: as many answers as can run and as many more as may wait. Further ones are told when to come again, and
 * nobody new comes in while the server stops.
 */
import { invariant } from '../../base/index.ts';
import { APIError } from './errors.ts';

export interface AdmissionOptions {
  /** Answers that the scheduler runs at once. */
  readonly running: number;
  /** Answers that may wait beside them. */
  readonly waiting: number;
}

/** How much the newest request counts in the mean time of requests. */
const NEWEST = 0.1;

export class Admission {
  readonly #room: number;
  readonly #rounds: number;
  readonly #inside = new Set<AbortController>();
  readonly #whenEmpty: (() => void)[] = [];
  #samples = 0;
  #meanSeconds = 1;
  #closed = false;

  constructor({ running, waiting }: AdmissionOptions) {
    invariant(Number.isInteger(running) && running > 0, `Admission: running must be 1, 2, …, got ${running}`);
    invariant(Number.isInteger(waiting) && waiting >= 0, `Admission: waiting must be 0, 1, …, got ${waiting}`);
    this.#room = running + waiting;
    this.#rounds = Math.ceil(this.#room / running);
  }

  /** Answers that are waited for. */
  get samples(): number {
    return this.#samples;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The most answers that there is ever room for. */
  get room(): number {
    return this.#room;
  }

  /** @throws APIError when there is no room for so many answers now. */
  check(samples = 1): void {
    if (this.#closed) {
      throw new APIError(503, 'The server is stopping; ask another one.', { code: 'server_stopping' });
    }
    if (this.#samples + samples <= this.#room) return;
    const seconds = Math.min(60, Math.max(1, Math.ceil(this.#meanSeconds * this.#rounds)));
    throw new APIError(429, `The queue is full: ${this.#samples} answers are in work. Try again in ${seconds} s.`, {
      code: 'queue_full',
      headers: { 'retry-after': String(seconds) },
    });
  }

  /**
   * @param abort calls the request off
   * @returns to be called, once, when the request is done
   * @throws APIError when there is no room.
   */
  enter(samples: number, abort: AbortController): () => void {
    this.check(samples);
    const from = performance.now();
    this.#samples += samples;
    this.#inside.add(abort);
    return () => {
      this.#samples -= samples;
      this.#inside.delete(abort);
      this.#meanSeconds += NEWEST * ((performance.now() - from) / 1000 - this.#meanSeconds);
      if (this.#inside.size === 0) for (const resolve of this.#whenEmpty.splice(0)) resolve();
    };
  }

  /** Nobody comes in any more. */
  close(): void {
    this.#closed = true;
  }

  /** Resolves when nobody is there. */
  empty(): Promise<void> {
    return this.#inside.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#whenEmpty.push(resolve));
  }

  /** Calls off everybody. */
  abortAll(reason: APIError): void {
    for (const abort of this.#inside) abort.abort(reason);
  }
}
