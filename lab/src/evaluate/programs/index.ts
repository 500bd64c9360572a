/** @file The table programs of FinQA and ConvFinQA: read, run, compared and scored. */
export * from './run.ts';
export * from './same.ts';
export * from './score.ts';
export * from './tokens.ts';
