/**
 * @file Server-sent events (WHATWG HTML, section 9.2) to a reader who may be slow: nothing is written while an earlier piece
 * waits to be taken, so that only little lies in memory, and who takes nothing for a while is cut off.
 */
import type { ServerResponse } from 'node:http';

export interface EventStreamOptions {
  /** How long a reader may take nothing. */
  readonly stallSeconds: number;
  /** The reader is cut off. */
  readonly onStall: () => void;
  readonly headers?: Readonly<Record<string, string>>;
}

export class EventStream {
  readonly #response: ServerResponse;
  readonly #options: EventStreamOptions;
  #blocked: Promise<void> | undefined;

  constructor(response: ServerResponse, options: EventStreamOptions) {
    this.#response = response;
    this.#options = options;
  }

  /** Whether the reader has been told that all is well. */
  get started(): boolean {
    return this.#response.headersSent;
  }

  /** Waits until what was sent before is on its way. To a reader who is gone nothing is written. */
  async send(data: unknown): Promise<void> {
    await this.#write(`data: ${JSON.stringify(data)}\n\n`);
  }

  /** The end as OpenAI's clients know it; resolves when all of it is on its way, or the reader is gone. */
  async end(): Promise<void> {
    await this.#write('data: [DONE]\n\n');
    if (this.#gone) return;
    const finished = this.#until('finish');
    this.#response.end();
    await finished;
  }

  get #gone(): boolean {
    return this.#response.destroyed || this.#response.writableEnded;
  }

  async #write(text: string): Promise<void> {
    while (this.#blocked) await this.#blocked;
    if (this.#gone) return;
    if (!this.started) {
      const { headers } = this.#options;
      const type = 'text/event-stream; charset=utf-8';
      this.#response.writeHead(200, { 'content-type': type, 'cache-control': 'no-cache', ...headers });
    }
    if (!this.#response.write(text)) this.#blocked = this.#until('drain').then(() => (this.#blocked = undefined));
  }

  /** Until the event, or the end of the connection, which a timer brings about. */
  #until(event: 'drain' | 'finish'): Promise<void> {
    const response = this.#response;
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#options.onStall();
        response.destroy();
      }, 1000 * this.#options.stallSeconds);
      const done = (): void => {
        clearTimeout(timer);
        response.off(event, done);
        response.off('close', done);
        resolve();
      };
      response.once(event, done);
      response.once('close', done);
    });
  }
}
