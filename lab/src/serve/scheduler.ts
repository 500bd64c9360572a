/**
 * @file The seam: a scheduler says what the next pass of the model computes. The engine and the simulator ask the same object,
 * so that a policy can be looked at on a laptop's model and at the scale of a datacentre.
 */
import type { Sequence } from './sequence.ts';
import type { ServingState } from './state.ts';

/** A part of a pass. */
export interface PlanEntry {
  readonly sequence: Sequence;
  /** How many of its tokens are computed, from `computed` on. When none remain, its next token is drawn. */
  readonly tokens: number;
  /** Rows that are computed for nothing, because all rows of a padded batch are of the same length (default 0). */
  readonly padding?: number;
}

export interface PassPlan {
  readonly entries: readonly PlanEntry[];
  /** With no entries: ask again at this time (seconds) at the latest, or as soon as somebody comes. */
  readonly wakeAt?: number;
}

/**
 * A policy. In `step` it moves sequences with the state's methods (`admit`, `extend`, `preempt`, `swapOut`, `swapIn`,
 * `giveBack`), each of which says whether there was room, and then names what is to be computed.
 */
export interface Scheduler {
  readonly name: string;
  /** It answers whole batches: what is complete stays until the scheduler gives it back (default false). */
  readonly wholeBatches?: boolean;
  step(state: ServingState): PassPlan;
}

/** Nothing to do until somebody comes. */
export const IDLE: PassPlan = { entries: [] };

/** How a sequence that must make room gets back what it lost: by computing it again, or from a copy in the host's memory. */
export type PreemptionMode = 'recompute' | 'swap';

/** Takes the place of a running sequence. A swap needs room on the host; without it the work is done again. */
export function preemptBy(mode: PreemptionMode, state: ServingState, sequence: Sequence): void {
  if (mode === 'recompute' || !state.swapOut(sequence)) state.preempt(sequence);
}
