/** @file Corpora: where text comes from, and how it becomes batches of token ids. Plain typed arrays, no tensors. */
export * from './batches.ts';
export * from './bm25.ts';
export * from './dataset.ts';
export * from './download.ts';
export * from './finance/index.ts';
export * from './mixture-batches.ts';
export { bloombergGPT, formatMixture, planMixture, type MixtureOptions, type MixtureShare, type MixtureSource } from './mixture.ts';
export * from './quality/index.ts';
export * from './texts.ts';
export * from './topic-prefix.ts';
