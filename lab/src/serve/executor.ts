/** @file The seam below the engine: who carries out a pass. The lab's model does; a test may count on paper instead. */
import type { PassPlan } from './scheduler.ts';
import type { Sequence } from './sequence.ts';
import type { Transfer } from './state.ts';

export interface Executor {
  readonly vocabSize: number;
  /** The longest sequence, in tokens. */
  readonly contextLength: number;
  readonly blocks: number;
  readonly blockSize: number;
  /**
   * First the transfers, in their order, then the pass.
   *
   * @returns the logits [V] of each sequence that has none of its tokens left to compute after it, in the plan's order
   */
  run(plan: PassPlan, transfers: readonly Transfer[]): Promise<Float32Array[]>;
  /** The sequence has left: what was kept for it can go. */
  forget(sequence: Sequence): void;
  dispose(): void;
}
