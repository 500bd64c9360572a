/** @file How good a model is, in numbers, and how sure the numbers are. */
export { bootstrapInterval, type BootstrapOptions, type ConfidenceInterval } from './bootstrap.ts';
export * from './calibration.ts';
export * from './classification.ts';
export * from './generations.ts';
export * from './hallucination/index.ts';
export * from './log-likelihood.ts';
export * from './multiple-choice.ts';
export * from './numeric-answer.ts';
export * from './paired.ts';
export * from './perplexity.ts';
export * from './programs/index.ts';
export * from './proportion.ts';
export * from './report.ts';
export * from './shared-prefix-cache.ts';
export * from './tasks.ts';
export * from './text-answer.ts';
