/** @file Worlds: generators of data whose truth is known, and the parsers that judge text against them. */
export * from './desk.ts';
export * from './stories/index.ts';
export * from './market/index.ts';
