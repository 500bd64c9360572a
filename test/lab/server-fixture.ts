/** @file A server before a model on paper, and OpenAI's own client before the server. */
import { connect, type Socket } from 'node:net';
import { CharacterTokenizer, Engine, type ChunkedOptions, ChunkedScheduler, type EngineOptions } from 'lab';
import OpenAI from 'openai';
import { expect } from 'vitest';
import { APIServer, type ErrorBody, type ServerOptions } from '../../lab/dist/serve/server/index.js';
import { PaperExecutor, writeOnPaper } from './serve-paper.ts';

/** As many characters as the paper has tokens. */
const characters = `${Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)).join('')}\né`;
export const paperTokenizer = CharacterTokenizer.train(characters);

/** What the model on paper writes behind a text when it always takes the likeliest. */
export function paperText(prompt: string, tokens: number): string {
  return paperTokenizer.decode(writeOnPaper([...paperTokenizer.encode(prompt)], tokens));
}

/** Everything that comes. */
export async function all<T>(pieces: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const piece of pieces) list.push(piece);
  return list;
}

/** The plain conversation with one question. */
export const asked = (question: string): string => `User: ${question}\n\nAssistant:`;

export interface PaperServer {
  readonly engine: Engine;
  readonly executor: PaperExecutor;
  readonly server: APIServer;
  readonly client: OpenAI;
  readonly url: string;
}

export interface PaperServerOptions extends Partial<ServerOptions>, ChunkedOptions {
  readonly blocks?: number;
  readonly contextLength?: number;
  /** Milliseconds of a pass; none unless told. */
  readonly passMs?: number;
  readonly engine?: EngineOptions;
}

/** Serves while `body` runs; afterwards nobody may be left, and no block in use. */
export async function withServer(options: PaperServerOptions, body: (served: PaperServer) => Promise<void>): Promise<void> {
  const { blocks = 64, contextLength = 64, passMs, engine: engineOptions, ...rest } = options;
  const executor = new PaperExecutor({ blocks, blockSize: 4, contextLength });
  if (passMs !== undefined) executor.before = () => new Promise((resolve) => void setTimeout(resolve, passMs));
  const scheduler = new ChunkedScheduler(rest);
  const engine = new Engine(executor, { tokenizer: paperTokenizer, scheduler, check: true, ...engineOptions });
  const server = new APIServer(engine, { model: 'paper', ...rest });
  await server.listen({ port: 0 });
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0, timeout: 30_000 });
  try {
    await body({ engine, executor, server, client, url: server.url });
    await emptied(engine);
  } finally {
    await server.stop(0);
    await engine.dispose();
  }
}

/** Waits until everybody has left, which must be soon, and counts the blocks. */
export async function emptied(engine: Engine): Promise<void> {
  await expect.poll(() => engine.state.idle, { timeout: 5000, interval: 5 }).toBe(true);
  engine.state.check();
  expect(engine.state.manager.free).toBe(engine.state.manager.blocks);
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Of an error. */
  readonly error: ErrorBody['error'];
}

/** Posts a body as it is. */
export async function post(
  url: string,
  body: string | Uint8Array<ArrayBuffer> | object,
  headers: Record<string, string> = {},
): Promise<RawAnswer> {
  const sent = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
  const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: sent });
  const text = await answer.text();
  const { error } = JSON.parse(text) as ErrorBody;
  return { status: answer.status, headers: answer.headers, text, error };
}

/** A connection of bytes; `text()` is what came so far. */
export async function rawConnection(url: string): Promise<{ socket: Socket; text: () => string; closed: Promise<void> }> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let text = '';
  socket.on('data', (data) => (text += String(data)));
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => void socket.once('close', () => resolve()));
  await new Promise((resolve) => void socket.once('connect', resolve));
  return { socket, text: () => text, closed };
}

/** An HTTP request, as bytes. */
export function rawPost(path: string, body: object): string {
  const json = JSON.stringify(body);
  return (
    `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${Buffer.byteLength(json)}\r\n\r\n${json}`
  );
}
