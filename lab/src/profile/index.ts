/** @file What a machine can do at best, and what a piece of work makes of it. */
export { bytesMoved, costOf, declareCost } from './cost.ts';
export type { CostFormula, KernelCall, KernelCost, TensorShape } from './cost.ts';
export { visiblePairs } from './costs.ts';
export * from './machine-profile.ts';
export { measureMachine, measurePeak } from './machine.ts';
export { profile, type ProfileOptions } from './profile.ts';
export { ProfileReport, type ProfileFindings, type ProfileRow } from './report.ts';
