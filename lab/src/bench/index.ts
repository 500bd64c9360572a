/** @file Measurements: `npm run bench -- NAME`. */
import { benchAlign } from './align.ts';
import { benchAttention } from './attention.ts';
import { benchData } from './data.ts';
import { benchDecode } from './decode.ts';
import { benchHead } from './head.ts';
import { benchLoad } from './load.ts';
import { benchMarket } from './market.ts';
import { benchMatmul } from './matmul.ts';
import type { BenchRow } from './measure.ts';
import { benchOps } from './ops.ts';
import { benchPEFT } from './peft.ts';
import { benchQuantize } from './quantize.ts';
import { benchQuantized } from './quantized.ts';
import { benchServe } from './serve.ts';
import { benchTokenizer } from './tokenizer.ts';
import { benchTrain, type BenchTrainOptions } from './train.ts';

export { compare, formatTable, shareOf, timesOf, type BenchRow } from './measure.ts';
export { operationPairs, passes, type OperationPair } from './ops.ts';
export { withoutFusedKernels } from './plain.ts';
export { idealGain } from './serve.ts';
export { benchTrain } from './train.ts';
export { takeTurns, type Competitor, type TurnOptions } from './turns.ts';
export * from './yardstick.ts';

/** What was said on the command line. */
export interface BenchOptions extends BenchTrainOptions {
  /** Leave the baseline out. */
  readonly alone: boolean;
}

/** What can be measured: each takes the words that name the running backend in its rows. */
export const benchmarks: Readonly<Record<string, (backend: string, options: BenchOptions) => Promise<BenchRow[]>>> = {
  align: benchAlign,
  attention: benchAttention,
  data: benchData,
  decode: benchDecode,
  head: benchHead,
  load: benchLoad,
  market: benchMarket,
  matmul: benchMatmul,
  ops: benchOps,
  peft: benchPEFT,
  quantize: benchQuantize,
  quantized: benchQuantized,
  serve: benchServe,
  tokenizer: benchTokenizer,
  train: benchTrain,
};
