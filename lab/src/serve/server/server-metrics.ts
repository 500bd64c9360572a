/** @file What a server tells of itself at /metrics. */
import type { CompletionResult } from '../completion.ts';
import type { Engine } from '../engine.ts';
import { endToEnd, timeToFirstToken } from '../metrics.ts';
import { Counter, Gauge, Histogram, type Metric } from './prometheus.ts';

/** Seconds. */
const SHORT = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const LONG = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100];

export class ServerMetrics {
  readonly #requests = new Counter('lab_http_requests_total', 'Requests by path and status; 499: the client left.');
  readonly #answers = new Counter('lab_answers_total', 'Answers by the reason why they ended.');
  readonly #read = new Counter('lab_prompt_tokens_total', 'Tokens of prompts.');
  readonly #found = new Counter('lab_prompt_tokens_cached_total', 'Tokens of prompts that were found in the cache.');
  readonly #written = new Counter('lab_generated_tokens_total', 'Tokens that were written.');
  readonly #preemptions = new Counter('lab_preemptions_total', 'How often an answer lost its place.');
  readonly #firstToken = new Histogram('lab_time_to_first_token_seconds', 'From arrival to the first token.', LONG);
  readonly #nextToken = new Histogram('lab_inter_token_seconds', 'From a token to the next.', SHORT);
  readonly #whole = new Histogram('lab_answer_seconds', 'From arrival to the end of an answer.', LONG);
  readonly #gauges: readonly Metric[];

  constructor({ state }: Engine) {
    const { manager } = state;
    this.#gauges = [
      new Gauge('lab_answers_running', 'Answers that are being written.', () => state.running.length),
      new Gauge('lab_answers_waiting', 'Answers that wait for their turn.', () => state.waiting.length),
      new Gauge('lab_answers_swapped', 'Answers whose cache lies in the host memory.', () => state.swapped.length),
      new Gauge('lab_cache_blocks', 'Blocks of the key/value cache.', () => manager.blocks),
      new Gauge('lab_cache_blocks_used', 'Blocks that answers hold.', () => manager.blocks - manager.free),
    ];
    for (const counter of [this.#read, this.#found, this.#written, this.#preemptions]) counter.add(0);
  }

  request(path: string, status: number): void {
    this.#requests.add(1, { path, status: String(status) });
  }

  /** An answer has ended, however. */
  answer({ finishReason, record }: CompletionResult): void {
    this.#answers.add(1, { reason: finishReason });
    this.#read.add(record.promptLength);
    this.#found.add(record.found);
    this.#written.add(record.tokenTimes.length);
    this.#preemptions.add(record.preemptions);
    this.#whole.observe(endToEnd(record));
    if (record.tokenTimes.length > 0) this.#firstToken.observe(timeToFirstToken(record));
    const { tokenTimes } = record;
    for (let i = 1; i < tokenTimes.length; i++) this.#nextToken.observe(tokenTimes[i]! - tokenTimes[i - 1]!);
  }

  /** All of it, as Prometheus reads it. */
  expose(): string {
    const counters = [this.#requests, this.#answers, this.#read, this.#found, this.#written, this.#preemptions];
    const metrics = [...counters, ...this.#gauges, this.#firstToken, this.#nextToken, this.#whole];
    return `${metrics.map((metric) => metric.expose()).join('\n')}\n`;
  }
}
