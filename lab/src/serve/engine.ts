/**
 * @file The engine: ask the scheduler, run the pass, draw the tokens, again, as long as anybody is there.
 */
import { setImmediate } from 'node:timers/promises';
import { invariant } from '../base/index.ts';
import type { Transformer } from '../model/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { Completion, withResolvers, type FinishReason } from './completion.ts';
import { workOf, type MeasuredPass } from './cost-model.ts';
import type { Executor } from './executor.ts';
import { ServingLog } from './log.ts';
import type { RequestRecord } from './metrics.ts';
import { ModelExecutor, type ModelExecutorOptions } from './model-executor.ts';
import { checkRequest, Writer, type RequestLimits, type RequestOptions } from './request.ts';
import type { PassPlan, Scheduler } from './scheduler.ts';
import { ChunkedScheduler } from './schedulers/index.ts';
import { Sequence } from './sequence.ts';
import { ServingState } from './state.ts';

export interface EngineOptions {
  /** Decides what each pass computes (default: `ChunkedScheduler`). */
  readonly scheduler?: Scheduler;
  /** Reads prompts that are texts, and writes texts. */
  readonly tokenizer?: Tokenizer;
  /** Find computed beginnings again (default true). */
  readonly prefixCaching?: boolean;
  /** Blocks in the host's memory (default: as many as there are on the device). */
  readonly swapBlocks?: number;
  /** Keep a log, and what each pass cost (default false). */
  readonly log?: boolean;
  /** Count all blocks again after every pass (default false; slow). */
  readonly check?: boolean;
}

/** Everything of a request that is not the scheduler's business. */
interface Client {
  readonly completion: Completion;
  readonly writer: Writer;
  readonly tokenTimes: number[];
  cancelled: boolean;
  finishReason: FinishReason;
}

export class Engine {
  readonly scheduler: Scheduler;
  readonly state: ServingState;
  readonly log: ServingLog | undefined;
  /** What each pass cost, with `log`. */
  readonly passes: MeasuredPass[] = [];
  readonly #executor: Executor;
  readonly #tokenizer: Tokenizer | undefined;
  readonly #check: boolean;
  readonly #clients = new Map<Sequence, Client>();
  readonly #started = performance.now();
  #nextId = 0;
  #loop: Promise<void> | undefined;
  /** Ends a wait for somebody to come. */
  #wake: (() => void) | undefined;

  constructor(executor: Executor, options: EngineOptions = {}) {
    const {
      scheduler = new ChunkedScheduler(),
      tokenizer,
      log = false,
      check = false,
      prefixCaching = true,
      swapBlocks,
    } = options;
    const { blocks, blockSize } = executor;
    this.#executor = executor;
    this.#tokenizer = tokenizer;
    this.#check = check;
    this.scheduler = scheduler;
    this.state = new ServingState({ blocks, blockSize, prefixCaching, ...(swapBlocks !== undefined && { swapBlocks }) });
    this.log = log ? new ServingLog() : undefined;
    this.state.observe = (event, sequence, time) => {
      this.log?.event(event, sequence, time);
      if (event === 'finish') this.#left(sequence);
    };
  }

  /** An engine for the lab's model. */
  static forModel(model: Transformer, options: EngineOptions & ModelExecutorOptions = {}): Engine {
    return new Engine(new ModelExecutor(model, options), options);
  }

  /** What there is room for in a single request. */
  get limits(): RequestLimits {
    const { vocabSize, contextLength, blocks, blockSize } = this.#executor;
    return { vocabSize, contextLength, cacheTokens: blocks * blockSize, tokenizer: this.#tokenizer };
  }

  /**
   * Adds a request. What is wrong with it is told by its completion, which fails; nobody else notices.
   *
   * @param prompt token ids, or a text where there is a tokenizer
   */
  submit(prompt: ArrayLike<number> | string, options: RequestOptions = {}): Completion {
    const id = this.#nextId++;
    let client: Client | undefined;
    const completion = new Completion(id, () => {
      if (client) client.cancelled = true;
      this.#wake?.();
    });
    try {
      const tokens = typeof prompt === 'string' ? this.#encode(prompt) : prompt;
      const maxTokens = checkRequest(tokens, options, this.limits);
      const writer = new Writer(options, this.#tokenizer);
      client = { completion, writer, tokenTimes: [], cancelled: false, finishReason: 'length' };
      this.state.now = this.#now();
      const sequence = new Sequence({ id, prompt: tokens, maxTokens, arrival: this.state.now, extras: options.extras ?? '' });
      this.#clients.set(sequence, client);
      this.state.add(sequence);
    } catch (error) {
      completion.fail(error);
      return completion;
    }
    this.#wake?.();
    this.#loop ??= this.#run();
    return completion;
  }

  /** Resolves when nobody is there any more. */
  async idle(): Promise<void> {
    await this.#loop;
  }

  /** Calls off all requests, waits for the running pass, and gives the memory back. */
  async dispose(): Promise<void> {
    for (const { completion } of this.#clients.values()) completion.cancel();
    await this.idle();
    this.#executor.dispose();
  }

  #encode(text: string): ArrayLike<number> {
    invariant(this.#tokenizer, 'Engine: a prompt that is a text needs a tokenizer; give the engine one, or give token ids');
    return this.#tokenizer.encode(text);
  }

  #now(): number {
    return (performance.now() - this.#started) / 1000;
  }

  async #run(): Promise<void> {
    // The caller may have more requests to bring before the first pass.
    await setImmediate();
    while (!this.state.idle) {
      try {
        await this.#step();
      } catch (error) {
        // What was planned cannot be carried out any more.
        this.state.takeTransfers();
        for (const sequence of this.#clients.keys()) this.#fail(sequence, error);
      }
      // Lets clients in, and those that read go on.
      await setImmediate();
    }
    this.#loop = undefined;
  }

  async #step(): Promise<void> {
    const { state } = this;
    this.#removeCancelled();
    state.now = this.#now();
    const plan = this.scheduler.step(state);
    if (plan.entries.length === 0) {
      if (!state.idle) await this.#sleep(plan);
      return;
    }
    state.checkPlan(plan);
    const transfers = state.takeTransfers();
    const work = this.log && workOf(plan, transfers, state.manager.blockSize);
    const from = state.now;
    const logits = await this.#executor.run(plan, transfers);
    state.now = this.#now();
    this.log?.pass(plan, from, state.now);
    if (work) this.passes.push({ ...work, seconds: state.now - from });
    for (const [i, sequence] of state.advance(plan).entries()) this.#draw(sequence, logits[i]);
    if (this.#check) state.check();
  }

  /** Until somebody comes or is called off, or the scheduler wants to be asked again. */
  async #sleep({ wakeAt }: PassPlan): Promise<void> {
    invariant(wakeAt !== undefined, `Engine: the scheduler '${this.scheduler.name}' does nothing, though requests wait.`);
    const { promise, resolve } = withResolvers<void>();
    const timer = setTimeout(() => resolve(), Math.max(0, 1000 * (wakeAt - this.#now())));
    this.#wake = () => resolve();
    await promise;
    this.#wake = undefined;
    clearTimeout(timer);
  }

  #draw(sequence: Sequence, logits: Float32Array | undefined): void {
    const client = this.#clients.get(sequence)!;
    const { writer, completion } = client;
    try {
      invariant(logits, `Engine: the executor gave no logits for request ${sequence.id}`);
      const token = writer.draw(logits, sequence.tokens);
      const stopped = writer.accept(token);
      if (stopped) client.finishReason = 'stop';
      sequence.tokens.push(token);
      client.tokenTimes.push(this.state.now);
      const ended = stopped || sequence.generated >= sequence.maxTokens;
      const text = writer.news(ended);
      if (!stopped || text !== '') completion.push({ token, text });
      if (ended) this.#complete(sequence);
    } catch (error) {
      this.#fail(sequence, error);
    }
  }

  #complete(sequence: Sequence): void {
    sequence.complete = true;
    if (!this.scheduler.wholeBatches) this.state.giveBack(sequence);
  }

  #removeCancelled(): void {
    for (const [sequence, client] of this.#clients) {
      if (!client.cancelled) continue;
      if (!sequence.complete) client.finishReason = 'cancelled';
      this.state.giveBack(sequence);
    }
  }

  #fail(sequence: Sequence, error: unknown): void {
    this.#clients.get(sequence)?.completion.fail(error);
    this.#clients.delete(sequence);
    if (sequence.status !== 'finished') this.state.giveBack(sequence);
    this.#executor.forget(sequence);
  }

  /** A sequence has given back its memory; whoever failed has been told already. */
  #left(sequence: Sequence): void {
    this.#executor.forget(sequence);
    const client = this.#clients.get(sequence);
    if (!client) return;
    this.#clients.delete(sequence);
    const { writer, completion, finishReason } = client;
    completion.end({ tokens: writer.written, text: writer.text, finishReason, record: this.#recordOf(sequence, client) });
  }

  #recordOf({ id, arrival, promptLength, found, preemptions }: Sequence, { tokenTimes }: Client): RequestRecord {
    return { id, arrival, promptLength, tokenTimes, finish: this.state.now, found, preemptions };
  }
}
