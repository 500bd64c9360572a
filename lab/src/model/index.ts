/** @file The Transformer, its presets, and how it writes. */
export * from './block.ts';
export * from './config.ts';
export * from './factual-nucleus.ts';
export * from './generate.ts';
export * from './ngram/index.ts';
export { LearnedPositions } from './parts.ts';
export * from './presets.ts';
export * from './sampling.ts';
export * from './sentences.ts';
export * from './tokens.ts';
export * from './transformer.ts';
