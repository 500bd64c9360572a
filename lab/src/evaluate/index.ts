/** @file How good a model is, in numbers. */
export * from './perplexity.ts';
