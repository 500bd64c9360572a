/** @file A request on its way: let in, computed, answered whole or in pieces, and called off when nobody wants it any more. */
import type { ServerResponse } from 'node:http';
import type { CompletionResult } from '../completion.ts';
import type { Engine } from '../engine.ts';
import type { Admission } from './admission.ts';
import { usageOf, type AnswerFormat } from './answers.ts';
import { APIError, GONE } from './errors.ts';
import { EventStream } from './event-stream.ts';
import type { GenerationRequest } from './generation-request.ts';
import { type Follow, SampleRun } from './samples.ts';
import type { ServerMetrics } from './server-metrics.ts';

export interface GenerationContext {
  readonly engine: Engine;
  readonly admission: Admission;
  readonly metrics: ServerMetrics;
  /** Is told of errors that are the server's own, where the client cannot be. */
  readonly onError: (error: unknown) => void;
  /** A request may take so long. */
  readonly requestSeconds: number;
  /** A reader may take nothing for so long. */
  readonly stallSeconds: number;
}

/** How the client is answered. */
export interface Reply {
  readonly response: ServerResponse;
  readonly headers: Readonly<Record<string, string>>;
  /** The response is written from here on, not by whoever called. */
  takeOver(): void;
}

/**
 * @returns the body of the answer, or undefined when it has been sent, or nobody is there to read it
 * @throws APIError when it should be the answer; any other error is the server's own.
 */
export async function generate(
  request: GenerationRequest,
  format: AnswerFormat,
  reply: Reply,
  context: GenerationContext,
): Promise<object | undefined> {
  const abort = new AbortController();
  const leave = context.admission.enter(request.prompts.length * request.n, abort);
  const run = new SampleRun(context.engine, request);
  abort.signal.addEventListener('abort', () => run.cancel());
  const gone = (): void => abort.abort(new APIError(GONE, 'The client is gone.'));
  if (reply.response.destroyed) gone();
  else reply.response.once('close', gone);
  const { requestSeconds } = context;
  const timer = setTimeout(() => {
    abort.abort(new APIError(504, `The answer took longer than ${requestSeconds} s.`, { code: 'timeout' }));
  }, 1000 * requestSeconds);
  try {
    return await (request.stream ? streamed : whole)({ request, format, reply, context, run, abort });
  } catch (error) {
    if (!(error instanceof APIError && error.status === GONE)) throw error;
    reply.takeOver();
    return undefined;
  } finally {
    clearTimeout(timer);
    reply.response.off('close', gone);
    leave();
  }
}

interface Way {
  readonly request: GenerationRequest;
  readonly format: AnswerFormat;
  readonly reply: Reply;
  readonly context: GenerationContext;
  readonly run: SampleRun;
  readonly abort: AbortController;
}

async function whole({ request, format, run, abort, context }: Way): Promise<object> {
  const results = await counted(run, context, abort);
  return format.whole(results, usageOf(request.prompts, results), run.likelihoods);
}

async function streamed(way: Way): Promise<undefined> {
  const { request, format, reply, context, run, abort } = way;
  const { stallSeconds } = context;
  const onStall = (): void => abort.abort(new APIError(GONE, `The client took nothing for ${stallSeconds} s.`));
  const stream = new EventStream(reply.response, { stallSeconds, onStall, headers: reply.headers });
  const send = async (data: object): Promise<void> => {
    if (!stream.started) reply.takeOver();
    await stream.send(data);
  };
  try {
    const results = await counted(run, context, abort, async (index, completion) => {
      let opening = format.opening(index);
      let [seen, told] = [0, 0];
      for await (const { text } of completion) {
        seen++;
        if (opening) await send(opening);
        opening = undefined;
        if (text === '') continue;
        // Which tokens the text is of; more may have been drawn meanwhile.
        await send(format.part(index, text, run.likelihoods[index]?.tokens.slice(0, seen), told));
        told = seen;
      }
      const { finishReason } = await completion.result;
      if (finishReason === 'cancelled') return;
      if (opening) await send(opening);
      await send(format.closing(index, finishReason));
    });
    if (request.includeUsage) await send(format.usage(usageOf(request.prompts, results)));
  } catch (error) {
    // Too late for a status.
    if (!stream.started) throw error;
    if (!(error instanceof APIError)) context.onError(error);
    const told = error instanceof APIError ? error : new APIError(500, 'The server failed; the answer is not whole.');
    await stream.send(told.body);
  }
  await stream.end();
}

/** All answers. @throws what the request was called off with. */
async function counted(
  run: SampleRun,
  { metrics }: GenerationContext,
  { signal }: AbortController,
  follow: Follow = async () => undefined,
): Promise<CompletionResult[]> {
  if (signal.aborted) throw signal.reason;
  const results = await run.run(async (index, completion) => {
    void completion.result.then(
      (result) => metrics.answer(result),
      () => undefined,
    );
    await follow(index, completion);
  });
  if (signal.aborted) throw signal.reason;
  return results;
}
