/**
 * @file Dynamic SplitFuse: every pass gets the same number of tokens. First one token of everybody who is decoding, then
 * prompts, first come first served, split so that the pass is exactly full. Holmes et al. 2024 (DeepSpeed-FastGen), section 3;
 * DeepSpeed-MII, `batching/ragged_batching.py`.
 */
import { invariant } from '../../base/index.ts';
import { IDLE, type PassPlan, type PlanEntry, type Scheduler } from '../scheduler.ts';
import type { Sequence } from '../sequence.ts';
import type { ServingState } from '../state.ts';

export interface SplitFuseOptions {
  /** Tokens of a pass (default 768, DeepSpeed-MII's). */
  readonly tokenBudget?: number;
  /** Requests that run at once (default 512, DeepSpeed-MII's). */
  readonly maxSequences?: number;
}

export class SplitFuseScheduler implements Scheduler {
  readonly name = 'splitFuse';
  readonly tokenBudget: number;
  readonly maxSequences: number;

  constructor({ tokenBudget = 768, maxSequences = 512 }: SplitFuseOptions = {}) {
    for (const [name, value] of Object.entries({ tokenBudget, maxSequences })) {
      invariant(Number.isInteger(value) && value > 0, `SplitFuseScheduler: ${name} must be 1, 2, …, got ${value}`);
    }
    this.tokenBudget = tokenBudget;
    this.maxSequences = maxSequences;
  }

  step(state: ServingState): PassPlan {
    for (;;) {
      const entries = this.#fill(state);
      if (entries.length > 0) return { entries };
      // Everybody waits for a block that somebody else holds: the last one in starts over, with what it has written so far.
      const last = state.running.at(-1);
      if (!last) return IDLE;
      state.preempt(last);
    }
  }

  #fill(state: ServingState): PlanEntry[] {
    const entries: PlanEntry[] = [];
    let budget = this.tokenBudget;
    const schedule = (sequence: Sequence): void => {
      const tokens = Math.min(sequence.remaining, budget);
      if (tokens === 0 || !state.extend(sequence, tokens)) return;
      entries.push({ sequence, tokens });
      budget -= tokens;
    };
    for (const sequence of state.running) if (sequence.decoding) schedule(sequence);
    for (const sequence of state.running) if (!sequence.decoding) schedule(sequence);
    while (budget > 0 && state.running.length < this.maxSequences) {
      const next = state.waiting[0];
      // A prompt starts only where there is room for all of it.
      if (!next || !state.admit(next)) break;
      schedule(next);
    }
    return entries;
  }
}
