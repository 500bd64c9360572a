/**
 * @file No phases: a pass has a budget of tokens, and every request gets what is left of its tokens, as far as the budget goes;
 * those that run first, then those that wait. Long prompts are cut where the budget ends. vLLM 1.x,
 * `v1/core/sched/scheduler.py`; Agrawal et al. 2024 (Sarathi-Serve).
 */
import { invariant } from '../../base/index.ts';
import { IDLE, preemptBy, type PassPlan, type PlanEntry, type PreemptionMode, type Scheduler } from '../scheduler.ts';
import type { Sequence } from '../sequence.ts';
import type { ServingState } from '../state.ts';

export interface ChunkedOptions {
  /** Tokens of a pass (default 2048). */
  readonly tokenBudget?: number;
  /** Requests that run at once (default 256). */
  readonly maxSequences?: number;
  /** Tokens of one request in a pass, lest a long prompt take all of it (default: the budget). */
  readonly longPrefillThreshold?: number;
  readonly preemption?: PreemptionMode;
}

export class ChunkedScheduler implements Scheduler {
  readonly name = 'chunked';
  readonly tokenBudget: number;
  readonly maxSequences: number;
  readonly longPrefillThreshold: number;
  readonly preemption: PreemptionMode;

  constructor(options: ChunkedOptions = {}) {
    const { tokenBudget = 2048, maxSequences = 256, longPrefillThreshold = tokenBudget, preemption = 'recompute' } = options;
    for (const [name, value] of Object.entries({ tokenBudget, maxSequences, longPrefillThreshold })) {
      invariant(Number.isInteger(value) && value > 0, `ChunkedScheduler: ${name} must be 1, 2, …, got ${value}`);
    }
    this.tokenBudget = tokenBudget;
    this.maxSequences = maxSequences;
    this.longPrefillThreshold = longPrefillThreshold;
    this.preemption = preemption;
  }

  step(state: ServingState): PassPlan {
    const entries: PlanEntry[] = [];
    let budget = this.tokenBudget;
    const share = (sequence: Sequence): number => Math.min(sequence.remaining, this.longPrefillThreshold, budget);
    const schedule = (sequence: Sequence, tokens: number): void => {
      entries.push({ sequence, tokens });
      budget -= tokens;
    };

    let preempted = false;
    for (let i = 0; i < state.running.length && budget > 0; i++) {
      const sequence = state.running[i]!;
      const tokens = share(sequence);
      while (sequence.status === 'running' && !state.extend(sequence, tokens)) {
        preemptBy(this.preemption, state, state.running.at(-1)!);
        preempted = true;
      }
      if (sequence.status === 'running') schedule(sequence, tokens);
    }

    while (!preempted && budget > 0 && state.running.length < this.maxSequences) {
      // Who was swapped out has waited longer than anybody new.
      const next = state.swapped[0] ?? state.waiting[0];
      if (!next || !(next.status === 'swapped' ? state.swapIn(next) : this.#admit(state, next, budget))) break;
      schedule(next, state.extend(next, share(next)) ? share(next) : 1);
    }
    return entries.length === 0 ? IDLE : { entries };
  }

  /** With room for its first chunk, or more: what the cache holds of it comes on top. */
  #admit(state: ServingState, next: Sequence, budget: number): boolean {
    const found = state.manager.lookUp(next.tokens, next.extras).length * state.manager.blockSize;
    return state.admit(next, found + Math.min(next.length - found, this.longPrefillThreshold, budget));
  }
}
