/**
 * @file Many clients of a server at once, in a thread of their own, so that they do not slow down what they measure: each asks
 * one request after the other, and counts what it gets; some leave in the middle. Beside them somebody asks for /health.
 */
import { Agent, request, type ClientRequest, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf, Random } from '../base/index.ts';

export interface LoadOptions {
  readonly url: string;
  readonly model: string;
  /** Those that count. */
  readonly clients: number;
  /** Those that leave. */
  readonly leaving: number;
  readonly seconds: number;
  readonly vocabulary: number;
  /** Tokens. */
  readonly prompt: { readonly least: number; readonly most: number };
  readonly output: { readonly least: number; readonly most: number };
  readonly seed: number;
}

export interface LoadReport {
  /** Of each request that was served whole, in milliseconds. */
  readonly requestMs: number[];
  readonly healthMs: number[];
  /** Tokens of those requests. */
  tokens: number;
  /** How many left. */
  left: number;
  /** What went wrong, in words. */
  readonly lost: string[];
}

const HEALTH_EVERY_MS = 20;

/** Everything that the server says. */
async function answerTo(asked: ClientRequest): Promise<{ status: number | undefined; text: string }> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    asked.once('response', resolve).once('error', reject);
  });
  let text = '';
  for await (const part of response) text += String(part);
  return { status: response.statusCode, text };
}

class Client {
  readonly #options: LoadOptions;
  readonly #random: Random;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(options: LoadOptions, id: number) {
    this.#options = options;
    this.#random = new Random(options.seed + id);
  }

  async ask(report: LoadReport): Promise<void> {
    const { tokens, stream, asked } = this.#post();
    const before = performance.now();
    try {
      const { status, text } = await answerTo(asked);
      const got = status === 200 ? writtenIn(text, stream) : -1;
      if (got !== tokens) report.lost.push(`status ${status}, ${got} tokens of ${tokens}: ${text.slice(0, 200)}`);
      else {
        report.requestMs.push(performance.now() - before);
        report.tokens += tokens;
      }
    } catch (error) {
      report.lost.push(messageOf(error));
    }
  }

  async askAndLeave(report: LoadReport): Promise<void> {
    const { asked } = this.#post();
    const answer = answerTo(asked).catch(() => undefined);
    await sleep(this.#random.integer(200));
    asked.destroy();
    await answer;
    report.left++;
  }

  close(): void {
    this.#agent.destroy();
  }

  #post(): { tokens: number; stream: boolean; asked: ClientRequest } {
    const { url, model, vocabulary, prompt, output } = this.#options;
    const random = this.#random;
    const within = ({ least, most }: { least: number; most: number }): number => least + random.integer(most - least + 1);
    const tokens = within(output);
    const stream = random.integer(2) === 0;
    const ids = Array.from({ length: within(prompt) }, () => random.integer(vocabulary));
    const body = JSON.stringify({ model, prompt: ids, max_tokens: tokens, stream, seed: random.integer(1e6) });
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const asked = request(`${url}/v1/completions`, { method: 'POST', agent: this.#agent, headers });
    asked.end(body);
    return { tokens, stream, asked };
  }
}

interface Answer {
  readonly choices: readonly { readonly text: string }[];
}

/** Tokens in an answer, each of which is a character; −1 for one that is not whole. */
function writtenIn(text: string, stream: boolean): number {
  if (!stream) return [...(JSON.parse(text) as Answer).choices[0]!.text].length;
  const events = text.trimEnd().split('\n\n');
  if (events.pop() !== 'data: [DONE]') return -1;
  const texts = events.map((event) => (JSON.parse(event.slice('data: '.length)) as Answer).choices[0]!.text);
  return [...texts.join('')].length;
}

async function watchHealth(url: string, report: LoadReport, over: () => boolean): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  while (!over()) {
    const before = performance.now();
    const { status } = await answerTo(request(`${url}/health`, { agent }).end());
    report.healthMs.push(performance.now() - before);
    if (status !== 200) report.lost.push(`/health: status ${status}`);
    await sleep(HEALTH_EVERY_MS);
  }
  agent.destroy();
}

async function load(options: LoadOptions): Promise<LoadReport> {
  const report: LoadReport = { requestMs: [], healthMs: [], tokens: 0, left: 0, lost: [] };
  const until = performance.now() + 1000 * options.seconds;
  const over = (): boolean => performance.now() >= until;
  const all = Array.from({ length: options.clients + options.leaving }, async (_, id) => {
    const client = new Client(options, id);
    while (!over()) await (id < options.clients ? client.ask(report) : client.askAndLeave(report));
    client.close();
  });
  await Promise.all([...all, watchHealth(options.url, report, over)]);
  return report;
}

parentPort?.postMessage(await load(workerData as LoadOptions));
