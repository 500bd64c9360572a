/** @file The policies, from the oldest to the newest, and how to get one by its name. */
import { LabError } from '../../base/index.ts';
import type { Scheduler } from '../scheduler.ts';
import { ChunkedScheduler } from './chunked.ts';
import { DynamicScheduler } from './dynamic.ts';
import { OrcaScheduler } from './orca.ts';
import { PrefillFirstScheduler } from './prefill-first.ts';
import { SplitFuseScheduler } from './split-fuse.ts';
import { StaticScheduler } from './static.ts';

export { ChunkedScheduler, type ChunkedOptions } from './chunked.ts';
export { DynamicScheduler, type DynamicOptions } from './dynamic.ts';
export { OrcaScheduler, type OrcaOptions } from './orca.ts';
export { PrefillFirstScheduler, type PrefillFirstOptions } from './prefill-first.ts';
export { SplitFuseScheduler, type SplitFuseOptions } from './split-fuse.ts';
export { StaticScheduler, type StaticOptions } from './static.ts';

/** Makers of the policies by name, with their defaults. */
export const schedulers = {
  static: () => new StaticScheduler(),
  dynamic: () => new DynamicScheduler(),
  orca: () => new OrcaScheduler(),
  prefillFirst: () => new PrefillFirstScheduler(),
  chunked: () => new ChunkedScheduler(),
  splitFuse: () => new SplitFuseScheduler(),
} as const satisfies Record<string, () => Scheduler>;

export type SchedulerName = keyof typeof schedulers;

/** @throws LabError for a name that is not known, listing those that are. */
export function makeScheduler(name: string): Scheduler {
  if (!Object.hasOwn(schedulers, name)) {
    throw new LabError(`There is no scheduler '${name}'. Schedulers: ${Object.keys(schedulers).join(', ')}.`);
  }
  return schedulers[name as SchedulerName]();
}
