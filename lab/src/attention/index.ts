/** @file Attention: masks, the scaled dot product, heads, positions, and the cache for decoding. */
export * from './alibi.ts';
export * from './attention.ts';
export * from './cache.ts';
export * from './heads.ts';
export * from './mask.ts';
export * from './multi-head.ts';
export * from './preallocated-cache.ts';
export { rotaryEmbedding, type RotaryOptions } from '../ops/index.ts';
