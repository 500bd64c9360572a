/** @file Answers in OpenAI's shapes: whole, or in chunks; of /v1/completions and of /v1/chat/completions. */
import { randomUUID } from 'node:crypto';
import type { CompletionResult, FinishReason } from '../completion.ts';
import type { Likelihoods, LikelyToken, TokenLikelihood } from './likelihoods.ts';

/** Tokens that were read and written. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  /** What was found in the cache. */
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

export interface AnswerFormat {
  /** @param likelihoods of each answer, if somebody asked for them */
  whole(results: readonly CompletionResult[], usage: Usage, likelihoods: readonly Likelihoods[]): object;
  /** What stands before the first text of an answer, if anything does. */
  opening(index: number): object | undefined;
  /** @param tokens those written so far, if somebody asked for them; from `fresh` on they are of this part */
  part(index: number, text: string, tokens: readonly TokenLikelihood[] | undefined, fresh: number): object;
  closing(index: number, reason: FinishReason): object;
  /** What stands behind all answers, for those who asked for it. */
  usage(usage: Usage): object;
}

/** A prompt counts once, however many answers it got. */
export function usageOf(prompts: readonly ArrayLike<number>[], results: readonly CompletionResult[]): Usage {
  const each = results.length / prompts.length;
  const read = prompts.reduce((sum, { length }) => sum + length, 0);
  const written = results.reduce((sum, { record }) => sum + record.tokenTimes.length, 0);
  const cached = results.reduce((sum, { record }, i) => sum + (i % each === 0 ? record.found : 0), 0);
  return {
    prompt_tokens: read,
    completion_tokens: written,
    total_tokens: read + written,
    prompt_tokens_details: { cached_tokens: cached },
  };
}

interface FormatOptions {
  readonly model: string;
  /** Chunks have a field `usage`, which is null until the end. */
  readonly includeUsage: boolean;
  readonly decode: (tokens: readonly number[]) => string;
}

export function completionFormat({ model, includeUsage, decode }: FormatOptions): AnswerFormat {
  const head = { id: `cmpl-${randomUUID()}`, object: 'text_completion', created: seconds(), model };
  const noUsage = includeUsage ? { usage: null } : {};
  const chunk = (index: number, text: string, reason: FinishReason | null, logprobs: object | null = null): object => {
    return { ...head, choices: [{ index, text, logprobs, finish_reason: reason }], ...noUsage };
  };
  const logprobsOf = (tokens: readonly TokenLikelihood[] | undefined, fresh = 0): object | null => {
    return tokens ? completionLogprobs(tokens, fresh, decode) : null;
  };
  return {
    whole: (results, usage, likelihoods) => {
      const choices = results.map(({ text, finishReason }, index) => {
        return { index, text, logprobs: logprobsOf(likelihoods[index]?.tokens), finish_reason: finishReason };
      });
      return { ...head, choices, usage };
    },
    opening: () => undefined,
    part: (index, text, tokens, fresh) => chunk(index, text, null, logprobsOf(tokens, fresh)),
    closing: (index, reason) => chunk(index, '', reason),
    usage: (usage) => ({ ...head, choices: [], usage }),
  };
}

export function chatFormat({ model, includeUsage, decode }: FormatOptions): AnswerFormat {
  const head = { id: `chatcmpl-${randomUUID()}`, created: seconds(), model };
  const piece = { ...head, object: 'chat.completion.chunk' };
  const noUsage = includeUsage ? { usage: null } : {};
  const chunk = (index: number, delta: object, reason: FinishReason | null, logprobs: object | null = null): object => {
    return { ...piece, choices: [{ index, delta, logprobs, finish_reason: reason }], ...noUsage };
  };
  const logprobsOf = (tokens: readonly TokenLikelihood[] | undefined, fresh = 0): object | null => {
    return tokens ? chatLogprobs(tokens.slice(fresh), decode) : null;
  };
  return {
    whole: (results, usage, likelihoods) => {
      const choices = results.map(({ text, finishReason }, index) => {
        const message = { role: 'assistant', content: text, refusal: null };
        return { index, message, logprobs: logprobsOf(likelihoods[index]?.tokens), finish_reason: finishReason };
      });
      return { ...head, object: 'chat.completion', choices, usage };
    },
    opening: (index) => chunk(index, { role: 'assistant', content: '' }, null),
    part: (index, text, tokens, fresh) => chunk(index, { content: text }, null, logprobsOf(tokens, fresh)),
    closing: (index, reason) => chunk(index, {}, reason),
    usage: (usage) => ({ ...piece, choices: [], usage }),
  };
}

type Decode = FormatOptions['decode'];

/** The older shape: lists side by side; where each token's text begins counts from the beginning of the answer. */
function completionLogprobs(tokens: readonly TokenLikelihood[], fresh: number, decode: Decode): object {
  const texts = tokens.map(({ token }) => decode([token]));
  let at = 0;
  const offsets = texts.map((text) => (at += text.length) - text.length);
  return {
    tokens: texts.slice(fresh),
    token_logprobs: tokens.slice(fresh).map(({ logProbability }) => logProbability),
    top_logprobs: tokens.slice(fresh).map(({ top }) => {
      return Object.fromEntries(top.map(({ token, logProbability }) => [decode([token]), logProbability]));
    }),
    text_offset: offsets.slice(fresh),
  };
}

function chatLogprobs(tokens: readonly TokenLikelihood[], decode: Decode): object {
  const described = ({ token, logProbability: logprob }: LikelyToken): object => {
    const text = decode([token]);
    // Half a character's bytes are not known from its text.
    return { token: text, logprob, bytes: text.includes('\uFFFD') ? null : [...Buffer.from(text)] };
  };
  return { content: tokens.map((token) => ({ ...described(token), top_logprobs: token.top.map(described) })), refusal: null };
}

function seconds(): number {
  return Math.floor(Date.now() / 1000);
}
