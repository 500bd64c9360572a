/** @file Measurements: `npm run bench -- NAME`. */
import { benchMatmul } from './matmul.ts';
import type { BenchRow } from './measure.ts';
import { benchTokenizer } from './tokenizer.ts';
import { benchTrain } from './train.ts';

export { compare, formatTable, type BenchRow } from './measure.ts';
export * from './yardstick.ts';

/**
 * What can be measured: each takes the words that name the running backend in its rows, and whether a baseline of its own
 * shall be left out.
 */
export const benchmarks: Readonly<Record<string, (backend: string, alone: boolean) => Promise<BenchRow[]>>> = {
  matmul: benchMatmul,
  train: benchTrain,
  tokenizer: benchTokenizer,
};
