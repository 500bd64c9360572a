/** @file Training: gradients, AdamW, schedules, the loop, evaluation, checkpoints. */
export * from './adamw.ts';
export * from './checkpoint.ts';
export * from './clip.ts';
export { evaluateLoss } from './evaluate.ts';
export type { EvaluateOptions } from './evaluate.ts';
export * from './gradients.ts';
export { loadModel, type LoadedModel } from './load-model.ts';
export * from './loop.ts';
export * from './loss-scale.ts';
export * from './optimizer.ts';
export type { CheckpointOptions, StepReport, TrainOptions, TrainResult, ValidationOptions } from './options.ts';
export * from './schedule.ts';
export * from './sentence-completion.ts';
