/** @file What a machine can do at best, and what a piece of work makes of it. */
export * from './machine-profile.ts';
export { measureMachine } from './machine.ts';
