/** @file The ground floor: errors, random numbers by seed, progress, interruption. Imports nothing of the lab. */
export * from './errors.ts';
export * from './random.ts';
export * from './display.ts';
export * from './interrupt.ts';
export * from './progress.ts';
export * from './round.ts';
