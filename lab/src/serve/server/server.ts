/**
 * @file A server that speaks OpenAI's protocol: /v1/completions, /v1/chat/completions, /v1/models, and beside them /health and
 * /metrics. Fastify carries it; what is asked for and how it is answered stand in the files beside this one.
 */
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { LabError, messageOf } from '../../base/index.ts';
import type { Engine } from '../engine.ts';
import { Admission } from './admission.ts';
import { chatFormat, completionFormat, type AnswerFormat } from './answers.ts';
import { plainConversation, type Conversation } from './conversation.ts';
import { answerBrokenRequest, asAPIError } from './failures.ts';
import { APIError, badRequest, GONE } from './errors.ts';
import {
  modelNotFound,
  readChatRequest,
  readCompletionRequest,
  type GenerationLimits,
  type GenerationRequest,
  type ServedModel,
} from './generation-request.ts';
import { generate } from './generate.ts';
import { EXPOSITION_TYPE } from './prometheus.ts';
import { ServerMetrics } from './server-metrics.ts';

export interface ServerOptions {
  /** What clients call the model. */
  readonly model: string;
  /** How it is asked; plainly, as `plainConversation` does, unless told. */
  readonly conversation?: Conversation;
  /** Tokens that end a text. */
  readonly stopTokens?: readonly number[];
  /** Who does not know it gets nothing from /v1; everybody does unless told. */
  readonly apiKey?: string;
  /** Answers that the scheduler runs at once (default 256). */
  readonly maxSequences?: number;
  /** Answers that may wait beside them; further ones get 429 (default 256). */
  readonly maxWaiting?: number;
  /** Tokens of an answer at most; as many as there is room for unless told. */
  readonly maxTokens?: number;
  /** Answers of one request at most (default 64). */
  readonly maxSamples?: number;
  /** Of a request's body (default 1 MiB). */
  readonly maxBodyBytes?: number;
  readonly maxConnections?: number;
  /** A request may take so long to compute (default 600). */
  readonly requestSeconds?: number;
  /** A client may take so long to send its request (default 30). */
  readonly receiveSeconds?: number;
  /** A reader may take nothing for so long (default 30). */
  readonly stallSeconds?: number;
  /** Is told of errors that are the server's own; unless told they go to stderr. */
  readonly onError?: (error: unknown) => void;
}

export interface ListenOptions {
  /** Unless told nobody on another machine can connect. */
  readonly host?: string;
  /** 0: any that is free (default 8000). */
  readonly port?: number;
}

/** Paths that are counted by their names. */
const METHODS: Readonly<Record<string, string>> = {
  '/v1/completions': 'POST',
  '/v1/chat/completions': 'POST',
  '/v1/models': 'GET',
  '/health': 'GET',
  '/metrics': 'GET',
};

export class APIServer {
  readonly metrics: ServerMetrics;
  readonly #engine: Engine;
  readonly #model: ServedModel;
  readonly #limits: GenerationLimits;
  readonly #admission: Admission;
  readonly #options: Required<Pick<ServerOptions, 'requestSeconds' | 'stallSeconds' | 'onError'>>;
  readonly #keyDigest: Buffer | undefined;
  readonly #app: FastifyInstance;
  readonly #started = Math.floor(Date.now() / 1000);
  /** Requests that have not been answered to the end. */
  readonly #open = new Set<ServerResponse>();
  #stopping: Promise<void> | undefined;

  /** @throws LabError for an engine without a tokenizer. */
  constructor(engine: Engine, options: ServerOptions) {
    const { maxSequences = 256, maxWaiting = 256, maxTokens = Infinity, maxSamples = 64 } = options;
    const { requestSeconds = 600, stallSeconds = 30, onError = (error: unknown) => console.error(error) } = options;
    const tokenizer = tokenizerOf(engine);
    this.#engine = engine;
    this.#model = {
      id: options.model,
      tokenizer,
      conversation: options.conversation ?? plainConversation(tokenizer),
      stopTokens: options.stopTokens ?? [],
    };
    this.#admission = new Admission({ running: maxSequences, waiting: maxWaiting });
    this.#limits = { ...engine.limits, maxTokens, maxSamples: Math.min(maxSamples, this.#admission.room) };
    this.#options = { requestSeconds, stallSeconds, onError };
    this.#keyDigest = options.apiKey === undefined ? undefined : digest(options.apiKey);
    this.metrics = new ServerMetrics(engine);
    this.#app = appFor(options);
    this.#addHooks();
    this.#addRoutes();
  }

  /** Where it can be reached: http://127.0.0.1:8000. */
  get url(): string {
    const { address, port, family } = this.#app.server.address() as AddressInfo;
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** Resolves when clients can connect. */
  async listen({ host = '127.0.0.1', port = 8000 }: ListenOptions = {}): Promise<void> {
    await this.#app.listen({ host, port });
  }

  /**
   * No new requests; those that are there may go on for a while, are called off then, and resolves when all connections are
   * closed. The engine is left as it is.
   */
  stop(graceSeconds = 10): Promise<void> {
    return (this.#stopping ??= this.#stop(graceSeconds));
  }

  async #stop(graceSeconds: number): Promise<void> {
    const admission = this.#admission;
    admission.close();
    const closed = this.#app.close();
    await within(graceSeconds, admission.empty());
    admission.abortAll(new APIError(503, 'The server is stopping; the answer is not whole.', { code: 'server_stopping' }));
    // What has been answered still has to be read; connections that nobody asked anything on need not be waited for.
    await within(this.#options.stallSeconds, Promise.all([...this.#open].map((response) => once(response, 'close'))));
    this.#app.server.closeAllConnections();
    await closed;
  }

  #addHooks(): void {
    const app = this.#app;
    app.addHook('onRequest', async (request, reply) => {
      reply.header('x-request-id', request.id);
      const path = pathOf(request);
      const { socket } = request.raw;
      this.#open.add(reply.raw);
      let finished = false;
      // A write that is broken off ends with this event, too.
      reply.raw.once('finish', () => (finished = !socket.destroyed));
      reply.raw.once('close', () => {
        this.#open.delete(reply.raw);
        this.metrics.request(Object.hasOwn(METHODS, path) ? path : 'other', finished ? reply.raw.statusCode : GONE);
        if (this.#admission.closed) socket.destroySoon();
      });
      if (path.startsWith('/v1/')) this.#checkKey(request.headers.authorization);
      // Before the body is read: a flood is to cost little.
      if (request.method === 'POST') this.#admission.check();
    });
    app.addHook('onSend', async (_, reply) => {
      if (this.#admission.closed) reply.header('connection', 'close');
      // From here on a silent connection is one whose reader takes nothing; Node sets its own limit for the time after.
      reply.raw.socket?.setTimeout(1000 * this.#options.stallSeconds);
    });
    app.setErrorHandler((error, _, reply) => this.#fail(error, reply));
    app.setNotFoundHandler((request) => {
      const method = METHODS[pathOf(request)];
      const path = pathOf(request).slice(0, 200);
      if (method === undefined) throw new APIError(404, `There is nothing at ${path}.`);
      throw new APIError(405, `${path} takes ${method}, not ${request.method}.`, { headers: { allow: method } });
    });
  }

  #addRoutes(): void {
    const app = this.#app;
    const { id, tokenizer } = this.#model;
    const decode = (tokens: readonly number[]): string => tokenizer.decode(tokens);
    const { contextLength } = this.#limits;
    const described = { id, object: 'model', created: this.#started, owned_by: 'lab', max_model_len: contextLength };
    app.get('/health', async (_, reply) => {
      if (!this.#admission.closed) return { status: 'ok' };
      return reply.code(503).send({ status: 'stopping' });
    });
    app.get('/metrics', async (_, reply) => reply.type(EXPOSITION_TYPE).send(this.metrics.expose()));
    app.get('/v1/models', async () => ({ object: 'list', data: [described] }));
    app.get<{ Params: { '*': string } }>('/v1/models/*', async ({ params }) => {
      if (params['*'] !== id) throw modelNotFound(params['*'], id);
      return described;
    });
    app.post('/v1/completions', async (request, reply) => {
      const read = readCompletionRequest(request.body, this.#model, this.#limits);
      return this.#answer(read, completionFormat({ model: id, includeUsage: read.includeUsage, decode }), reply);
    });
    app.post('/v1/chat/completions', async (request, reply) => {
      const read = readChatRequest(request.body, this.#model, this.#limits);
      return this.#answer(read, chatFormat({ model: id, includeUsage: read.includeUsage, decode }), reply);
    });
  }

  async #answer(request: GenerationRequest, format: AnswerFormat, reply: FastifyReply): Promise<object> {
    const taken = {
      response: reply.raw,
      headers: { 'x-request-id': reply.request.id },
      takeOver: () => void reply.hijack(),
    };
    const context = { engine: this.#engine, admission: this.#admission, metrics: this.metrics, ...this.#options };
    return (await generate(request, format, taken, context)) ?? reply;
  }

  #checkKey(authorization: string | undefined): void {
    if (!this.#keyDigest) return;
    const given = /^Bearer\s+(.+)$/i.exec(authorization ?? '')?.[1] ?? '';
    if (timingSafeEqual(digest(given), this.#keyDigest)) return;
    throw new APIError(401, 'The API key is missing or wrong: send Authorization: Bearer KEY.', {
      code: 'invalid_api_key',
      headers: { 'www-authenticate': 'Bearer' },
    });
  }

  #fail(error: unknown, reply: FastifyReply): FastifyReply {
    const told = asAPIError(error);
    if (told.status === 500) this.#options.onError(error);
    return reply.code(told.status).headers(told.headers).send(told.body);
  }
}

function appFor({ maxBodyBytes = 2 ** 20, maxConnections = 1024, receiveSeconds = 30 }: ServerOptions): FastifyInstance {
  const app = fastify({
    bodyLimit: maxBodyBytes,
    requestTimeout: 1000 * receiveSeconds,
    return503OnClosing: false,
    genReqId: () => `req-${randomUUID()}`,
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error, _, reply: unknown) => {
      const told = asAPIError(error);
      void (reply as FastifyReply).code(told.status).send(told.body);
    },
    // Node takes the longer time for the whole request, and looks for those that are late from time to time.
    http: { headersTimeout: 1000 * receiveSeconds, connectionsCheckingInterval: Math.min(5000, 1000 * receiveSeconds) },
  });
  app.server.maxConnections = maxConnections;
  // A page in a browser cannot send JSON to another host without asking first, and is refused then; text it can.
  app.removeAllContentTypeParsers();
  const asBuffer = { parseAs: 'buffer' } as const;
  app.addContentTypeParser('application/json', asBuffer, async (_: FastifyRequest, body: Buffer) => parseBody(body));
  return app;
}

function parseBody(body: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (error) {
    throw badRequest(`The body is not JSON in UTF-8: ${messageOf(error)}`);
  }
}

function tokenizerOf(engine: Engine): NonNullable<GenerationLimits['tokenizer']> {
  const { tokenizer } = engine.limits;
  if (!tokenizer) throw new LabError('A server needs an engine with a tokenizer: new Engine(…, { tokenizer }).');
  return tokenizer;
}

/** Waits for the work, but not longer than so many seconds. */
async function within(seconds: number, work: Promise<unknown>): Promise<void> {
  const over = new AbortController();
  await Promise.race([work, sleep(1000 * seconds, undefined, { signal: over.signal }).catch(() => undefined)]);
  over.abort();
}

/** Without what stands behind a question mark. */
function pathOf({ url }: FastifyRequest): string {
  return url.split('?', 1)[0]!;
}

/** Of equal length whatever the text: comparing them tells nothing of it. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
