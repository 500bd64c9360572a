/**
 * @file Iteration-level scheduling: who is done leaves after any pass, and who waits comes in. Prompts and single tokens go
 * through the model together; memory for the longest possible answer is set aside at the start.
 * Yu et al. 2022 (Orca), algorithm 1.
 */
import { invariant } from '../../base/index.ts';
import { IDLE, type PassPlan, type Scheduler } from '../scheduler.ts';
import type { ServingState } from '../state.ts';
import { admitWithReservation } from './static.ts';

export interface OrcaOptions {
  /** Requests that run at once (default 8). */
  readonly batchSize?: number;
}

export class OrcaScheduler implements Scheduler {
  readonly name = 'orca';
  readonly batchSize: number;

  constructor({ batchSize = 8 }: OrcaOptions = {}) {
    invariant(Number.isInteger(batchSize) && batchSize > 0, `OrcaScheduler: batchSize must be 1, 2, …, got ${batchSize}`);
    this.batchSize = batchSize;
  }

  step(state: ServingState): PassPlan {
    admitWithReservation(state, this.batchSize);
    if (state.running.length === 0) return IDLE;
    return { entries: state.running.map((sequence) => ({ sequence, tokens: sequence.remaining })) };
  }
}
