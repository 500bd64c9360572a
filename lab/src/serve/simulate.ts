/**
 * @file A server without a model: the schedulers decide, a cost model tells the time. Thousands of requests in seconds, the
 * same numbers on every machine.
 */
import { invariant } from '../base/index.ts';
import { workOf, type CostModel } from './cost-model.ts';
import { ServingLog } from './log.ts';
import type { RequestRecord } from './metrics.ts';
import type { PassPlan, Scheduler } from './scheduler.ts';
import { Sequence } from './sequence.ts';
import { ServingState, type ServingStateOptions } from './state.ts';
import type { WorkloadRequest } from './workload.ts';

export interface SimulationOptions extends ServingStateOptions {
  readonly scheduler: Scheduler;
  readonly cost: CostModel;
  /** So many clients send the next request when their last one is answered; the workload's arrival times do not count then. */
  readonly clients?: number;
  /** Keep a log for a timeline (default false). */
  readonly log?: boolean;
  /** Count all blocks again after every pass (default false; slow). */
  readonly check?: boolean;
}

export interface Simulation {
  readonly records: readonly RequestRecord[];
  readonly passes: number;
  /** Requests that took part in passes, all passes together. */
  readonly decisions: number;
  /** Rows that went through the model, and how many of them were padding. */
  readonly rows: number;
  readonly paddedRows: number;
  /** Computed tokens that preemption lost. */
  readonly lostTokens: number;
  /** The share of the blocks that are in use, on average over time. */
  readonly blocksInUse: number;
  /** Of the tokens that there was room for in blocks in use, those that were there, on average over time. */
  readonly roomInUse: number;
  readonly log: ServingLog | undefined;
}

/** Tokens have no meaning here. */
const SOME_TOKEN = 0;

/**
 * @throws RangeError for a request that cannot fit, a plan that cannot be carried out, or a scheduler that does nothing for
 * ever.
 */
export function simulate(workload: readonly WorkloadRequest[], options: SimulationOptions): Simulation {
  return new Simulator(workload, options).run();
}

class Simulator {
  readonly #workload: readonly WorkloadRequest[];
  readonly #options: SimulationOptions;
  readonly #state: ServingState;
  readonly #log: ServingLog | undefined;
  readonly #times = new Map<Sequence, number[]>();
  readonly #records: RequestRecord[] = [];
  #nextRequest = 0;
  #totals = { passes: 0, decisions: 0, rows: 0, paddedRows: 0 };
  #busy = { seconds: 0, blocks: 0, tokens: 0, room: 0 };

  constructor(workload: readonly WorkloadRequest[], options: SimulationOptions) {
    this.#workload = workload;
    this.#options = options;
    this.#state = new ServingState(options);
    this.#log = options.log ? new ServingLog() : undefined;
    this.#state.observe = (event, sequence, time) => {
      this.#log?.event(event, sequence, time);
      if (event === 'finish') this.#record(sequence);
    };
  }

  run(): Simulation {
    const { scheduler } = this.#options;
    const state = this.#state;
    for (let idle = 0; this.#records.length < this.#workload.length;) {
      this.#arrivals();
      const plan = scheduler.step(state);
      if (plan.entries.length > 0) {
        idle = 0;
        this.#pass(plan);
        continue;
      }
      const next = this.#nextArrival();
      const wakeAt = Math.min(next ?? Infinity, plan.wakeAt ?? Infinity);
      // Giving back a whole batch is a step without a pass; a second one without anybody coming is none.
      invariant(
        wakeAt < Infinity || idle++ < 2,
        () => `simulate: '${scheduler.name}' does nothing, but ${state.waiting.length} requests wait`,
      );
      if (wakeAt < Infinity) state.now = Math.max(state.now, wakeAt);
    }
    const { seconds, blocks, tokens, room } = this.#busy;
    return {
      records: this.#records.sort((a, b) => a.id - b.id),
      ...this.#totals,
      lostTokens: state.lostTokens,
      blocksInUse: blocks / (seconds * state.manager.blocks),
      roomInUse: tokens / room,
      log: this.#log,
    };
  }

  #nextArrival(): number | undefined {
    const next = this.#workload[this.#nextRequest];
    if (!next) return undefined;
    const { clients } = this.#options;
    if (clients === undefined) return next.arrival;
    return this.#nextRequest - this.#records.length < clients ? this.#state.now : undefined;
  }

  #arrivals(): void {
    for (let at = this.#nextArrival(); at !== undefined && at <= this.#state.now; at = this.#nextArrival()) {
      const { prompt, output } = this.#workload[this.#nextRequest]!;
      const sequence = new Sequence({ id: this.#nextRequest++, prompt, maxTokens: output, arrival: at });
      this.#times.set(sequence, []);
      this.#state.add(sequence);
    }
  }

  #pass(plan: PassPlan): void {
    const { cost, scheduler, check } = this.#options;
    const state = this.#state;
    state.checkPlan(plan);
    const work = workOf(plan, state.takeTransfers(), state.manager.blockSize);
    const seconds = cost(work);
    this.#log?.pass(plan, state.now, state.now + seconds);
    this.#count(plan, work.rows, seconds);
    state.now += seconds;
    for (const sequence of state.advance(plan)) {
      sequence.tokens.push(SOME_TOKEN);
      this.#times.get(sequence)!.push(state.now);
      if (sequence.generated < sequence.maxTokens) continue;
      sequence.complete = true;
      if (!scheduler.wholeBatches) state.giveBack(sequence);
    }
    if (check) state.check();
  }

  #count({ entries }: PassPlan, rows: number, seconds: number): void {
    this.#totals.passes++;
    this.#totals.decisions += entries.length;
    this.#totals.rows += rows;
    for (const { padding = 0 } of entries) this.#totals.paddedRows += padding;
    const { manager, running } = this.#state;
    let [tokens, room] = [0, 0];
    for (const { computed, table } of running) {
      tokens += computed;
      room += table.blocks.length * manager.blockSize;
    }
    this.#busy.seconds += seconds;
    this.#busy.blocks += seconds * (manager.blocks - manager.free);
    this.#busy.tokens += seconds * tokens;
    this.#busy.room += seconds * room;
  }

  #record(sequence: Sequence): void {
    const { id, arrival, promptLength, found, preemptions } = sequence;
    const tokenTimes = this.#times.get(sequence)!;
    this.#times.delete(sequence);
    this.#records.push({ id, arrival, promptLength, tokenTimes, finish: this.#state.now, found, preemptions });
  }
}
