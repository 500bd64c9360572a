/** @file Answers in OpenAI's shapes: whole, or in chunks; of /v1/completions and of /v1/chat/completions. */
import { randomUUID } from 'node:crypto';
import type { CompletionResult, FinishReason } from '../completion.ts';

/** Tokens that were read and written. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  /** What was found in the cache. */
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

export interface AnswerFormat {
  whole(results: readonly CompletionResult[], usage: Usage): object;
  /** What stands before the first text of an answer, if anything does. */
  opening(index: number): object | undefined;
  part(index: number, text: string): object;
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
}

export function completionFormat({ model, includeUsage }: FormatOptions): AnswerFormat {
  const head = { id: `cmpl-${randomUUID()}`, object: 'text_completion', created: seconds(), model };
  const noUsage = includeUsage ? { usage: null } : {};
  const chunk = (index: number, text: string, reason: FinishReason | null): object => {
    return { ...head, choices: [{ index, text, logprobs: null, finish_reason: reason }], ...noUsage };
  };
  return {
    whole: (results, usage) => {
      const choices = results.map(({ text, finishReason }, index) => {
        return { index, text, logprobs: null, finish_reason: finishReason };
      });
      return { ...head, choices, usage };
    },
    opening: () => undefined,
    part: (index, text) => chunk(index, text, null),
    closing: (index, reason) => chunk(index, '', reason),
    usage: (usage) => ({ ...head, choices: [], usage }),
  };
}

export function chatFormat({ model, includeUsage }: FormatOptions): AnswerFormat {
  const head = { id: `chatcmpl-${randomUUID()}`, created: seconds(), model };
  const piece = { ...head, object: 'chat.completion.chunk' };
  const noUsage = includeUsage ? { usage: null } : {};
  const chunk = (index: number, delta: object, reason: FinishReason | null): object => {
    return { ...piece, choices: [{ index, delta, logprobs: null, finish_reason: reason }], ...noUsage };
  };
  return {
    whole: (results, usage) => {
      const choices = results.map(({ text, finishReason }, index) => {
        const message = { role: 'assistant', content: text, refusal: null };
        return { index, message, logprobs: null, finish_reason: finishReason };
      });
      return { ...head, object: 'chat.completion', choices, usage };
    },
    opening: (index) => chunk(index, { role: 'assistant', content: '' }, null),
    part: (index, text) => chunk(index, { content: text }, null),
    closing: (index, reason) => chunk(index, {}, reason),
    usage: (usage) => ({ ...piece, choices: [], usage }),
  };
}

function seconds(): number {
  return Math.floor(Date.now() / 1000);
}
