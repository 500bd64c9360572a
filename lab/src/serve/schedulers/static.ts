/**
 * @file Static batching: a batch is filled once, padded to its longest prompt, and answered when its longest answer is there.
 * Whoever is done keeps its row and its memory until then.
 */
import { invariant } from '../../base/index.ts';
import { IDLE, type PassPlan, type PlanEntry, type Scheduler } from '../scheduler.ts';
import type { ServingState } from '../state.ts';

export interface StaticOptions {
  /** Requests in a batch (default 8). */
  readonly batchSize?: number;
}

/** Takes what waits when the batch before is answered, up to the batch size. */
export class StaticScheduler implements Scheduler {
  readonly name: string = 'static';
  readonly wholeBatches = true;
  readonly batchSize: number;

  constructor({ batchSize = 8 }: StaticOptions = {}) {
    invariant(Number.isInteger(batchSize) && batchSize > 0, `StaticScheduler: batchSize must be 1, 2, …, got ${batchSize}`);
    this.batchSize = batchSize;
  }

  step(state: ServingState): PassPlan {
    if (state.running.every(({ complete }) => complete)) {
      while (state.running[0]) state.giveBack(state.running[0]);
      const wakeAt = this.wait(state);
      if (wakeAt !== undefined) return { entries: [], wakeAt };
      admitWithReservation(state, this.batchSize);
    }
    return state.running.length === 0 ? IDLE : { entries: paddedBatch(state) };
  }

  /** The time until which it is better to wait for more requests, if so. */
  protected wait(_state: ServingState): number | undefined {
    return undefined;
  }
}

/** First come, first served, as long as the memory for the longest possible answer is there. */
export function admitWithReservation(state: ServingState, most: number): void {
  while (state.running.length < most) {
    const next = state.waiting[0];
    if (!next || !state.admit(next, Math.max(next.length, next.mostComputed))) return;
  }
}

/** Every row is as long as the longest. */
function paddedBatch({ running }: ServingState): PlanEntry[] {
  const rows = running.map((sequence) => ({ sequence, tokens: sequence.complete ? 0 : sequence.remaining }));
  const longest = rows.reduce((most, { tokens }) => Math.max(most, tokens), 0);
  return rows.map((row) => ({ ...row, padding: longest - row.tokens }));
}
