/** @file `npm run lab -- serve`: a model answers clients of OpenAI's protocol until it is interrupted. */
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { stopBackend } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import { HuggingFaceTokenizer } from '../interop/index.ts';
import type { ResolvedTransformerConfig, Transformer } from '../model/index.ts';
import {
  ChunkedScheduler,
  DynamicScheduler,
  Engine,
  OrcaScheduler,
  PrefillFirstScheduler,
  SplitFuseScheduler,
  StaticScheduler,
  type Scheduler,
  type SchedulerName,
} from '../serve/index.ts';
import type { Conversation } from '../serve/server/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { loadModel } from '../train/index.ts';
import type { Command, Values } from './command.ts';
import { backendOptions, checkedModelFolder, loadGivenModel, modelOption, startChosenBackend } from './model.ts';
import { checkpointPath } from './train-settings.ts';

/** Where the key stands: an argument could be read by everybody on the machine. */
const KEY = 'LAB_API_KEY';

const defaults = { 'max-sequences': 64, 'token-budget': 256, 'block-size': 16 };
/** The cache takes no more memory than this unless told. */
const CACHE_BYTES = 512 * 2 ** 20;

export const serve: Command = {
  name: 'serve',
  summary: "Let a model answer clients of OpenAI's protocol over HTTP.",
  usage: 'CHECKPOINT | --model DIR [options]',
  options: {
    model: modelOption,
    name: { type: 'string', help: 'what clients call the model (default: the name of its folder or checkpoint)' },
    host: {
      type: 'string',
      value: 'ADDRESS',
      help: 'where to listen; 0.0.0.0 lets other machines in',
      default: '127.0.0.1',
    },
    port: { type: 'number', help: '0 takes any that is free', default: 8000 },
    scheduler: {
      type: 'string',
      value: 'NAME',
      help: 'static, dynamic, orca, prefillFirst, chunked or splitFuse',
      default: 'chunked',
    },
    'max-sequences': { type: 'number', help: 'answers in work at once', default: defaults['max-sequences'] },
    'token-budget': {
      type: 'number',
      help: 'tokens of a pass, for prefillFirst, chunked and splitFuse; more is faster in all, less answers sooner',
      default: defaults['token-budget'],
    },
    'block-size': { type: 'number', help: 'tokens in a block of the key/value cache', default: defaults['block-size'] },
    blocks: { type: 'number', help: 'blocks of the cache (default: as many as all answers need, at most 512 MiB)' },
    'batch-invariant': { type: 'boolean', help: 'the same request gets the same answer whoever else is there; slower' },
    'max-queue': { type: 'number', help: 'answers that may wait; further requests get status 429', default: 256 },
    'max-tokens': { type: 'number', help: 'tokens of an answer at most (default: the context)' },
    'max-body': { type: 'number', value: 'KIB', help: 'size of a request at most', default: 1024 },
    timeout: { type: 'number', value: 'SECONDS', help: 'a request may take so long', default: 600 },
    grace: { type: 'number', value: 'SECONDS', help: 'after Ctrl-C or SIGTERM answers in work may take so long', default: 10 },
    ...backendOptions,
  },
  examples: [
    'npm run lab -- serve --model smollm2',
    'npm run lab -- serve shakespeare --scheduler splitFuse --port 9000',
    `${KEY}=secret npm run lab -- serve --model my-model --host 0.0.0.0`,
    'curl http://127.0.0.1:8000/v1/completions -H "Content-Type: application/json" \\',
    '    -d \'{"model": "smollm2", "prompt": "Once upon", "max_tokens": 20}\'',
  ],
  async run(values, [name, ...more]) {
    const given = values['model'];
    if (given !== undefined && name !== undefined) throw new LabError('Give a checkpoint or --model, not both.');
    if (given === undefined && name === undefined) throw new LabError('Which model? Give a checkpoint, or --model DIR.');
    if (more.length > 0) throw new LabError(`serve takes one checkpoint, got ${more.length + 1}.`);
    checkNumbers(values);
    const scheduler = schedulerFrom(values);
    const load = given === undefined ? ownModel(name!) : foreignModel(String(given));
    await startChosenBackend(values);
    try {
      await serveUntilStopped(await load(), scheduler, values);
      return 0;
    } finally {
      await stopBackend();
    }
  },
};

/** A model with all that it needs to be asked. */
interface Loaded {
  readonly model: Transformer;
  readonly tokenizer: Tokenizer;
  readonly name: string;
  readonly conversation?: Conversation;
  readonly stopTokens: readonly number[];
}

async function serveUntilStopped(loaded: Loaded, scheduler: Scheduler, values: Values): Promise<void> {
  const { model, tokenizer, conversation, stopTokens } = loaded;
  const { APIServer } = await import('../serve/server/index.ts');
  const blockSize = Number(values['block-size']);
  const maxSequences = Number(values['max-sequences']);
  const blocks = Number(values['blocks'] ?? defaultBlocks(model.config, blockSize, maxSequences));
  const batchInvariant = values['batch-invariant'] === true;
  const engine = Engine.forModel(model, { tokenizer, scheduler, blocks, blockSize, batchInvariant });
  const name = String(values['name'] ?? loaded.name);
  const apiKey = process.env[KEY];
  const server = new APIServer(engine, {
    model: name,
    ...(conversation && { conversation }),
    stopTokens,
    ...(apiKey && { apiKey }),
    maxSequences,
    maxWaiting: Number(values['max-queue']),
    ...(values['max-tokens'] !== undefined && { maxTokens: Number(values['max-tokens']) }),
    maxBodyBytes: 1024 * Number(values['max-body']),
    requestSeconds: Number(values['timeout']),
  });
  try {
    const host = String(values['host']);
    await listening(server.listen({ host, port: Number(values['port']) }), values);
    console.log(`${server.url}/v1 serves ${name}: ${scheduler.name}, ${blocks} blocks of ${blockSize} tokens.`);
    if (!apiKey && !isLoopback(host)) console.log(`Everybody who reaches this address can use it: set ${KEY}.`);
    const grace = Number(values['grace']);
    await signal();
    console.log(`Stopping: answers in work have ${grace} s; once more to stop at once.`);
    await server.stop(grace);
  } finally {
    await engine.dispose();
  }
}

/** Until somebody interrupts; the second time does what it always does. */
function signal(): Promise<void> {
  return new Promise((resolve) => {
    const stop = (): void => {
      process.off('SIGINT', stop).off('SIGTERM', stop);
      resolve();
    };
    process.on('SIGINT', stop).on('SIGTERM', stop);
  });
}

async function listening(promise: Promise<void>, { host, port }: Values): Promise<void> {
  try {
    await promise;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reasons: Readonly<Record<string, string>> = {
      EADDRINUSE: `Port ${port} is taken. Choose another with --port; 0 takes any that is free.`,
      EACCES: `Port ${port} is not for everybody. Choose one from 1024 on with --port.`,
      EADDRNOTAVAIL: `This machine has no address ${host}.`,
      ENOTFOUND: `There is no host ${host}.`,
    };
    const reason = reasons[code ?? ''];
    throw reason === undefined ? error : new LabError(reason, { cause: error });
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

/** What all answers need at most, but no more memory than the default; one context fits always. */
function defaultBlocks(config: ResolvedTransformerConfig, blockSize: number, maxSequences: number): number {
  const { contextLength, layers, keyValueHeads, headSize } = config;
  const context = Math.ceil(contextLength / blockSize);
  const blockBytes = 4 * 2 * layers * keyValueHeads * headSize * blockSize;
  return Math.max(context, Math.min(maxSequences * context, Math.floor(CACHE_BYTES / blockBytes)));
}

function checkNumbers(values: Values): void {
  for (const name of ['max-sequences', 'token-budget', 'block-size', 'blocks', 'max-tokens', 'max-body'] as const) {
    const value = values[name];
    if (value !== undefined && !(Number.isInteger(value) && Number(value) > 0)) {
      throw new LabError(`--${name} takes a whole number, 1 or more; got ${value}.`);
    }
  }
  const { port, 'max-queue': queue, timeout, grace } = values;
  if (!(Number.isInteger(port) && Number(port) >= 0 && Number(port) < 65536)) {
    throw new LabError(`--port takes a whole number from 0 to 65535; got ${port}.`);
  }
  if (!(Number.isInteger(queue) && Number(queue) >= 0)) throw new LabError(`--max-queue takes 0, 1, …; got ${queue}.`);
  // A timer of Node's holds 31 bits of milliseconds.
  if (!(Number(timeout) > 0 && Number(timeout) < 2e6)) throw new LabError(`--timeout takes seconds above 0; got ${timeout}.`);
  if (!(Number(grace) >= 0 && Number(grace) < 2e6)) throw new LabError(`--grace takes seconds, 0 or more; got ${grace}.`);
}

/** @throws LabError for a name that is not known. */
function schedulerFrom(values: Values): Scheduler {
  const maxSequences = Number(values['max-sequences']);
  const tokenBudget = Number(values['token-budget']);
  const makers: Readonly<Record<SchedulerName, () => Scheduler>> = {
    static: () => new StaticScheduler({ batchSize: maxSequences }),
    dynamic: () => new DynamicScheduler({ batchSize: maxSequences }),
    orca: () => new OrcaScheduler({ batchSize: maxSequences }),
    prefillFirst: () => new PrefillFirstScheduler({ maxSequences, tokenBudget }),
    chunked: () => new ChunkedScheduler({ maxSequences, tokenBudget }),
    splitFuse: () => new SplitFuseScheduler({ maxSequences, tokenBudget }),
  };
  const name = String(values['scheduler']);
  if (!Object.hasOwn(makers, name)) {
    throw new LabError(`There is no scheduler '${name}'. Schedulers: ${Object.keys(makers).join(', ')}.`);
  }
  return makers[name as SchedulerName]();
}

/** A checkpoint of our own; that it is there is checked at once. */
function ownModel(name: string): () => Promise<Loaded> {
  const path = checkpointPath(name);
  if (!existsSync(path)) throw new LabError(`There is no checkpoint ${path}. Train one: npm run lab -- train`);
  return async () => {
    const { model, tokenizer } = await loadModel(path);
    return { model, tokenizer, name: basename(name, '.safetensors'), stopTokens: [] };
  };
}

/** A model of somebody else's; that its folder is there is checked at once. */
function foreignModel(given: string): () => Promise<Loaded> {
  const folder = checkedModelFolder(given);
  return async () => {
    const { templateConversation } = await import('../serve/server/index.ts');
    const { model, tokenizer, chatTemplate, stopTokens } = await loadGivenModel(given);
    const bare = tokenizer instanceof HuggingFaceTokenizer ? tokenizer.withoutTemplate() : tokenizer;
    const conversation = chatTemplate && templateConversation(chatTemplate, bare);
    const asked = conversation && { conversation };
    return { model, tokenizer: plainWriter(tokenizer), name: basename(folder), stopTokens, ...asked };
  };
}

/** Special tokens, which are no part of a text, are not shown. */
function plainWriter(tokenizer: Tokenizer): Tokenizer {
  if (!(tokenizer instanceof HuggingFaceTokenizer)) return tokenizer;
  return {
    vocabSize: tokenizer.vocabSize,
    encode: (text) => tokenizer.encode(text),
    decode: (ids) => tokenizer.decode(ids, { skipSpecial: true }),
    toJSON: () => tokenizer.toJSON(),
  };
}
