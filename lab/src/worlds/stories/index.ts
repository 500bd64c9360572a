/** @file The world of small stories: written by a probabilistic grammar, so that their entropy is known exactly. */
export * from './dataset.ts';
export * from './generate.ts';
export * from './judge.ts';
export * from './parse.ts';
export * from './surprisal.ts';
