/** @file Measurements: `npm run bench -- NAME`. */
import { benchAttention } from './attention.ts';
import { benchMatmul } from './matmul.ts';
import type { BenchRow } from './measure.ts';
import { benchTrain } from './train.ts';

export { compare, formatTable, type BenchRow } from './measure.ts';
export * from './yardstick.ts';

/** What can be measured: each takes the words that name the running backend in its rows. */
export const benchmarks: Readonly<Record<string, (backend: string) => Promise<BenchRow[]>>> = {
  attention: benchAttention,
  matmul: benchMatmul,
  train: benchTrain,
};
