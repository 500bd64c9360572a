/**
 * @file What a client holds of a request: its tokens as they come, its result, and the way to call it off.
 */
import type { RequestRecord } from './metrics.ts';

/** A token, and the text that it makes certain: none while it may still become a stop text, or half a character. */
export interface CompletionPart {
  readonly token: number;
  readonly text: string;
}

/** Why it ended: at a stop token or stop text, at its last token, or because it was called off. */
export type FinishReason = 'stop' | 'length' | 'cancelled';

export interface CompletionResult {
  readonly tokens: readonly number[];
  /** Empty without a tokenizer. */
  readonly text: string;
  readonly finishReason: FinishReason;
  readonly record: RequestRecord;
}

/**
 * Loop over it for the parts; await `result` for all of it. Both fail with the request's error, which concerns no other
 * request.
 */
export class Completion implements AsyncIterable<CompletionPart> {
  readonly id: number;
  readonly result: Promise<CompletionResult>;
  readonly #parts: CompletionPart[] = [];
  readonly #cancel: () => void;
  readonly #settle: { readonly resolve: (result: CompletionResult) => void; readonly reject: (error: unknown) => void };
  #ended = false;
  #error: unknown;
  #wake: (() => void) | undefined;

  /** Made by the engine. */
  constructor(id: number, cancel: () => void) {
    this.id = id;
    this.#cancel = cancel;
    const { promise, resolve, reject } = withResolvers<CompletionResult>();
    // Who only loops over the parts hears of the error there.
    promise.catch(() => {});
    this.result = promise;
    this.#settle = { resolve, reject };
  }

  /** Ends the request with what there is; its memory is free after the running pass. */
  cancel(): void {
    if (!this.#ended) this.#cancel();
  }

  /** Every loop begins with the first part; leaving one does not call off the request. */
  async *[Symbol.asyncIterator](): AsyncGenerator<CompletionPart, void, undefined> {
    for (let next = 0; ; next++) {
      while (next >= this.#parts.length && !this.#ended) await this.#change();
      if (next < this.#parts.length) yield this.#parts[next]!;
      else if (this.#error !== undefined) throw this.#error;
      else return;
    }
  }

  /** For the engine: one more part. */
  push(part: CompletionPart): void {
    this.#parts.push(part);
    this.#notify();
  }

  /** For the engine: it has ended. */
  end(result: CompletionResult): void {
    this.#ended = true;
    this.#settle.resolve(result);
    this.#notify();
  }

  /** For the engine: it has failed. */
  fail(error: unknown): void {
    this.#ended = true;
    this.#error = error;
    this.#settle.reject(error);
    this.#notify();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      const before = this.#wake;
      this.#wake = () => {
        before?.();
        resolve();
      };
    });
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

/** A promise and the functions that settle it. */
export function withResolvers<T>(): {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
} {
  let [resolve, reject]: [(value: T) => void, (error: unknown) => void] = [() => {}, () => {}];
  const promise = new Promise<T>((fulfil, refuse) => ([resolve, reject] = [fulfil, refuse]));
  return { promise, resolve, reject };
}
