/** @file Serving: many requests share one model and one memory. */
export * from './block-manager.ts';
export * from './cost-model.ts';
export * from './gpu-cost.ts';
export * from './log.ts';
export * from './metrics.ts';
export * from './prefix-hash.ts';
export * from './scheduler.ts';
export * from './schedulers/index.ts';
export * from './sequence.ts';
export * from './simulate.ts';
export * from './state.ts';
export * from './workload.ts';
