/**
 * @file Dynamic batching: static batches that are sent off when they are full, or when somebody has waited long enough.
 * NVIDIA Triton's "dynamic batcher".
 */
import { invariant } from '../../base/index.ts';
import type { ServingState } from '../state.ts';
import { StaticScheduler, type StaticOptions } from './static.ts';

export interface DynamicOptions extends StaticOptions {
  /** Seconds that the first of a batch waits for others at most (default 0.1). */
  readonly timeout?: number;
}

export class DynamicScheduler extends StaticScheduler {
  override readonly name: string = 'dynamic';
  readonly timeout: number;

  constructor({ timeout = 0.1, ...options }: DynamicOptions = {}) {
    super(options);
    invariant(timeout >= 0 && Number.isFinite(timeout), `DynamicScheduler: timeout must be 0 or more seconds, got ${timeout}`);
    this.timeout = timeout;
  }

  protected override wait({ waiting, now }: ServingState): number | undefined {
    const first = waiting[0];
    if (!first || waiting.length >= this.batchSize) return undefined;
    const until = first.arrival + this.timeout;
    return now < until ? until : undefined;
  }
}
