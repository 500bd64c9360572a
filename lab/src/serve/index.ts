/** @file Serving: many requests share one model and one memory. */
export * from './block-manager.ts';
export * from './block-store.ts';
export { Completion, type CompletionPart, type CompletionResult, type FinishReason } from './completion.ts';
export * from './cost-model.ts';
export * from './engine.ts';
export type { Executor } from './executor.ts';
export * from './gpu-cost.ts';
export * from './log.ts';
export * from './metrics.ts';
export * from './model-executor.ts';
export * from './prefix-hash.ts';
export type { RequestLimits, RequestOptions } from './request.ts';
export * from './scheduler.ts';
export * from './schedulers/index.ts';
export * from './sequence.ts';
export * from './simulate.ts';
export * from './state.ts';
export * from './workload.ts';
