/**
 * @file Prompts first, as vLLM's first engine did: a pass computes either whole prompts or one token of everybody. Memory is
 * given out block by block, and when it is out, the last one in makes room. vLLM 0.x, `core/scheduler.py`.
 */
import { invariant } from '../../base/index.ts';
import { IDLE, preemptBy, type PassPlan, type PlanEntry, type PreemptionMode, type Scheduler } from '../scheduler.ts';
import type { Sequence } from '../sequence.ts';
import type { ServingState } from '../state.ts';

export interface PrefillFirstOptions {
  /** Tokens of the prompts of a pass; a longer prompt goes alone (default 4096). */
  readonly tokenBudget?: number;
  /** Requests that run at once (default 256). */
  readonly maxSequences?: number;
  readonly preemption?: PreemptionMode;
  /** Share of the blocks that admission leaves free, lest somebody be preempted at once (default 0.01). */
  readonly watermark?: number;
}

export class PrefillFirstScheduler implements Scheduler {
  readonly name = 'prefillFirst';
  readonly tokenBudget: number;
  readonly maxSequences: number;
  readonly preemption: PreemptionMode;
  readonly watermark: number;

  constructor({
    tokenBudget = 4096,
    maxSequences = 256,
    preemption = 'recompute',
    watermark = 0.01,
  }: PrefillFirstOptions = {}) {
    invariant(tokenBudget > 0 && maxSequences > 0, 'PrefillFirstScheduler: tokenBudget and maxSequences must be positive');
    this.tokenBudget = tokenBudget;
    this.maxSequences = maxSequences;
    this.preemption = preemption;
    this.watermark = watermark;
  }

  step(state: ServingState): PassPlan {
    const prompts = state.swapped.length === 0 ? this.#admit(state) : [];
    if (prompts.length > 0) return { entries: prompts };
    if (!this.#makeRoom(state)) this.#swapIn(state);
    if (state.running.length === 0) return IDLE;
    return { entries: state.running.map((sequence) => ({ sequence, tokens: sequence.remaining })) };
  }

  #admit(state: ServingState): PlanEntry[] {
    const entries: PlanEntry[] = [];
    let budget = this.tokenBudget;
    while (state.running.length < this.maxSequences) {
      const next = state.waiting[0];
      if (!next || (next.length > budget && entries.length > 0) || !this.#hasRoom(state, next) || !state.admit(next)) break;
      entries.push({ sequence: next, tokens: next.remaining });
      budget -= next.remaining;
    }
    return entries;
  }

  #hasRoom({ manager, running }: ServingState, { length }: Sequence): boolean {
    const left = running.length === 0 ? 0 : this.watermark * manager.blocks;
    return manager.free - manager.blocksFor(length) >= left;
  }

  /** Room for the next token of everybody, from the first in to the last; says whether somebody had to go. */
  #makeRoom(state: ServingState): boolean {
    let preempted = false;
    for (let i = 0; i < state.running.length; i++) {
      const sequence = state.running[i]!;
      while (sequence.status === 'running' && !state.extend(sequence, sequence.remaining)) {
        preemptBy(this.preemption, state, state.running.at(-1)!);
        preempted = true;
      }
    }
    return preempted;
  }

  #swapIn(state: ServingState): void {
    while (state.swapped[0] && state.running.length < this.maxSequences && state.swapIn(state.swapped[0]));
  }
}
