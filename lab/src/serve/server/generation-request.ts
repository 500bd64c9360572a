/**
 * @file What a client asks for, read from the body of /v1/completions or /v1/chat/completions and checked whole before anything
 * is computed. What would change the answer and is not known here is refused by name; other fields are ignored.
 */
import { randomInt } from 'node:crypto';
import { LabError, messageOf } from '../../base/index.ts';
import type { Tokenizer } from '../../tokenizer/index.ts';
import { checkRequest, type RequestLimits, type RequestOptions } from '../request.ts';
import type { Conversation, Message } from './conversation.ts';
import { APIError, badRequest } from './errors.ts';
import { kindOf, Parameters } from './parameters.ts';

/** The model behind the server. */
export interface ServedModel {
  /** What clients call it. */
  readonly id: string;
  /** Reads prompts that are texts. */
  readonly tokenizer: Tokenizer;
  /** How it is asked. */
  readonly conversation: Conversation;
  /** Tokens that end a text. */
  readonly stopTokens: readonly number[];
}

/** What the server is ready to do for one request. */
export interface GenerationLimits extends RequestLimits {
  /** Tokens of an answer at most. */
  readonly maxTokens: number;
  /** Answers of a request at most: prompts × n. */
  readonly maxSamples: number;
}

export interface GenerationRequest {
  readonly prompts: readonly ArrayLike<number>[];
  /** The options of each prompt. */
  readonly options: readonly RequestOptions[];
  /** Answers to each prompt. */
  readonly n: number;
  /** Of the first answer; the next ones have the next seeds. */
  readonly seed: number;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** Tell how likely each token was, and so many of the likeliest; not unless asked for. */
  readonly likeliest: number | undefined;
}

/** As OpenAI's, when nothing else is said. */
const COMPLETION_TOKENS = 16;
const STOP_TEXTS = 16;
const LIKELIEST = 20;
const ROLES = new Set(['system', 'user', 'assistant', 'tool']);

/** @throws APIError naming the parameter that is wrong. */
export function readCompletionRequest(body: unknown, model: ServedModel, limits: GenerationLimits): GenerationRequest {
  const given = new Parameters(body);
  checkModel(given, model);
  const off = (value: unknown): boolean => value === false;
  given.refuse('echo', off);
  given.refuse('suffix', (value) => value === '');
  given.refuse('best_of', (value) => value === (given.get('n') ?? 1));
  const prompts = readPrompts(given, model.tokenizer);
  const maxTokens = given.whole('max_tokens', { least: 1 });
  const likeliest = given.get('logprobs') === false ? undefined : given.whole('logprobs', { least: 0, most: LIKELIEST });
  return generationOf(given, { model, limits, prompts, param: 'prompt', maxTokens, usual: COMPLETION_TOKENS, likeliest });
}

/** @throws APIError naming the parameter that is wrong. */
export function readChatRequest(body: unknown, model: ServedModel, limits: GenerationLimits): GenerationRequest {
  const given = new Parameters(body);
  checkModel(given, model);
  const empty = (value: unknown): boolean => Array.isArray(value) && value.length === 0;
  given.refuse('tools', empty);
  given.refuse('functions', empty);
  given.refuse('response_format', (value) => (value as { type?: unknown }).type === 'text');
  const messages = readMessages(given);
  const { conversation } = model;
  const prompts = [asBadRequest('messages', () => conversation.encode(messages))];
  const maxTokens = given.whole('max_completion_tokens', { least: 1 }) ?? given.whole('max_tokens', { least: 1 });
  const top = given.whole('top_logprobs', { least: 0, most: LIKELIEST });
  const likeliest = given.flag('logprobs') ? (top ?? 0) : undefined;
  if (top !== undefined && likeliest === undefined) throw badRequest('top_logprobs needs logprobs: true.', 'top_logprobs');
  const more = conversation.stop ?? [];
  return generationOf(given, { model, limits, prompts, param: 'messages', maxTokens, usual: Infinity, more, likeliest });
}

function checkModel(given: Parameters, { id }: ServedModel): void {
  const asked = given.required('model', given.text('model'));
  if (asked !== id) throw modelNotFound(asked, id);
}

export function modelNotFound(asked: string, id: string): APIError {
  return new APIError(404, `There is no model '${asked.slice(0, 100)}' here; there is '${id}'.`, {
    param: 'model',
    code: 'model_not_found',
  });
}

interface Generation {
  readonly model: ServedModel;
  readonly limits: GenerationLimits;
  readonly prompts: readonly ArrayLike<number>[];
  /** Where the prompts come from. */
  readonly param: string;
  /** What was asked for. */
  readonly maxTokens: number | undefined;
  /** What it is unless asked for. */
  readonly usual: number;
  /** Further texts to stop at. */
  readonly more?: readonly string[];
  readonly likeliest: number | undefined;
}

/** Everything that both kinds of request have. */
function generationOf(given: Parameters, generation: Generation): GenerationRequest {
  const { model, limits, prompts, param, maxTokens, usual, more = [], likeliest } = generation;
  const zero = (value: unknown): boolean => value === 0;
  given.refuse('frequency_penalty', zero);
  given.refuse('presence_penalty', zero);
  given.refuse('logit_bias', (value) => typeof value === 'object' && Object.keys(value as object).length === 0);
  const n = given.whole('n', { least: 1, most: limits.maxSamples }) ?? 1;
  if (n * prompts.length > limits.maxSamples) {
    throw badRequest(`${prompts.length} prompts with ${n} answers each are more than ${limits.maxSamples} answers.`, 'n');
  }
  if (maxTokens !== undefined && maxTokens > limits.maxTokens) {
    throw badRequest(`max_tokens is too large: ${maxTokens}. This server writes at most ${limits.maxTokens}.`, 'max_tokens');
  }
  const stops = [...readStop(given), ...more];
  const stop = given.flag('ignore_eos') ? stops : [...stops, ...model.stopTokens];
  const sampling = { ...readSampling(given), stop };
  const options = prompts.map((prompt) => {
    const most = roomFor(prompt, limits, { asked: maxTokens, param });
    const one = { ...sampling, maxTokens: maxTokens ?? Math.min(usual, most, limits.maxTokens) };
    asBadRequest(param, () => checkRequest(prompt, one, limits));
    return one;
  });
  return {
    prompts,
    options,
    n,
    seed: given.whole('seed', { least: Number.MIN_SAFE_INTEGER }) ?? randomInt(2 ** 31),
    likeliest,
    stream: given.flag('stream'),
    includeUsage: given.object('stream_options')?.flag('include_usage') ?? false,
  };
}

function readSampling(given: Parameters): RequestOptions {
  const temperature = given.number('temperature', { least: 0, most: 2 });
  const topP = given.number('top_p', { least: 0, most: 1, above: true });
  const topK = given.whole('top_k', { least: -1 });
  const repetitionPenalty = given.number('repetition_penalty', { least: 0, most: 100, above: true });
  return {
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { topP }),
    // 0 and −1 mean all of them.
    ...(topK !== undefined && topK > 0 && { topK }),
    ...(repetitionPenalty !== undefined && { repetitionPenalty }),
  };
}

/** How many tokens an answer can have. @throws APIError with OpenAI's code for a prompt, or an answer, that is too long. */
function roomFor(
  { length }: ArrayLike<number>,
  { contextLength, cacheTokens }: RequestLimits,
  { asked = 1, param }: { asked: number | undefined; param: string },
): number {
  // The last token that is drawn is never computed, so it needs no room in the cache.
  const most = Math.min(contextLength, cacheTokens + 1);
  if (length + asked > most) {
    throw badRequest(
      `At most ${most} tokens fit, prompt and answer together (the context has ${contextLength}, the cache ${cacheTokens}); ` +
        `the prompt has ${length}, the answer is to have ${asked}. Shorten one of them.`,
      param,
      'context_length_exceeded',
    );
  }
  return most - length;
}

function readStop(given: Parameters): string[] {
  const value = given.get('stop') ?? [];
  const texts = typeof value === 'string' ? [value] : value;
  if (Array.isArray(texts) && texts.length <= STOP_TEXTS && texts.every((text) => typeof text === 'string')) return texts;
  throw given.wrong('stop', `a string, or an array of at most ${STOP_TEXTS} strings`);
}

/** A text, texts, token ids, or lists of token ids. */
function readPrompts(given: Parameters, tokenizer: Tokenizer): ArrayLike<number>[] {
  const value = given.required('prompt', given.get('prompt'));
  const list = Array.isArray(value) && typeof value[0] !== 'number' ? (value as unknown[]) : [value];
  if (list.length === 0) throw given.wrong('prompt', 'a string, strings, token ids, or lists of token ids');
  return list.map((prompt) => {
    if (typeof prompt === 'string') return asBadRequest('prompt', () => tokenizer.encode(prompt));
    if (Array.isArray(prompt) && prompt.every((id) => typeof id === 'number')) return prompt;
    throw given.wrong('prompt', 'a string, strings, token ids, or lists of token ids');
  });
}

function readMessages(given: Parameters): Message[] {
  const list = given.required('messages', given.list('messages'));
  if (list.length === 0) throw given.wrong('messages', 'an array of at least one message');
  return list.map((entry, i) => {
    const message = new Parameters(entry, `messages[${i}]`);
    const role = message.required('role', message.text('role'));
    const known = role === 'developer' ? 'system' : role;
    if (!ROLES.has(known)) {
      const name = message.nameOf('role');
      throw badRequest(`${name} '${role.slice(0, 100)}' is none of: ${[...ROLES].join(', ')}.`, name);
    }
    return { role: known, content: readContent(message) };
  });
}

/** A text, or parts that are texts. An assistant's message may have none. */
function readContent(message: Parameters): string {
  const content = message.get('content') ?? '';
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) throw message.wrong('content', 'a string, or an array of parts');
  return content
    .map((entry, i) => {
      const part = new Parameters(entry, `${message.nameOf('content')}[${i}]`);
      if (part.get('type') === 'text') return part.required('text', part.text('text'));
      throw badRequest(`${part.nameOf('type')} must be 'text', got ${kindOf(part.get('type'))}.`, part.nameOf('type'));
    })
    .join('');
}

/** What a tokenizer, a template or the engine refuses is the client's to mend. */
function asBadRequest<T>(param: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof LabError || error instanceof RangeError) throw badRequest(messageOf(error), param);
    throw error;
  }
}
