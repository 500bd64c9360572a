/** @file The experiment `frontier`, and the world and the model that it begins with. */
export * from './frontier.ts';
export type { FrontierRun } from './measure.ts';
export type { MethodSettings, PathPoint } from './methods.ts';
export * from './phrase-market.ts';
export * from './start.ts';
export { frontierEntries, seedInterval, settingName, type FrontierEntry } from './summary.ts';
