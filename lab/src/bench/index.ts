/** @file Measurements: `npm run bench -- NAME`. */
import { benchMatmul } from './matmul.ts';
import type { BenchRow } from './measure.ts';
import { benchTrain, type BenchTrainOptions } from './train.ts';

export { compare, formatTable, type BenchRow } from './measure.ts';
export * from './yardstick.ts';

/** What can be measured: each takes the words that name the running backend in its rows, and what was said on the command line. */
export const benchmarks: Readonly<Record<string, (backend: string, options: BenchTrainOptions) => Promise<BenchRow[]>>> = {
  matmul: benchMatmul,
  train: benchTrain,
};
