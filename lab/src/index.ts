/**
 * @file `lab`: everything a notebook, a test or a program may import.
 */
export * from './base/index.ts';
export * from './backend/index.ts';
