/** @file N-gram models: what can be predicted from the last few tokens alone. */
export * from './ngram.ts';
