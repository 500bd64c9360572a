/** @file Hallucination, measured: what a text states against the truth, against its source, and against what was read. */
export * from './copying.ts';
export * from './entities.ts';
export * from './facts.ts';
export * from './faithfulness.ts';
export * from './frequency.ts';
