/** @file Measurements: `npm run bench -- NAME`. */
import { benchAttention } from './attention.ts';
import { benchMatmul } from './matmul.ts';
import type { BenchRow } from './measure.ts';
import { benchTrain, type BenchTrainOptions } from './train.ts';

export { compare, formatTable, timesOf, type BenchRow } from './measure.ts';
export { benchTrain } from './train.ts';
export * from './yardstick.ts';

/** What can be measured: each takes the words that name the running backend in its rows, and what was said on the command line. */
export const benchmarks: Readonly<Record<string, (backend: string, options: BenchTrainOptions) => Promise<BenchRow[]>>> = {
  attention: benchAttention,
  matmul: benchMatmul,
  train: benchTrain,
};
