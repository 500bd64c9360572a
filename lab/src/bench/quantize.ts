/**
 * @file `bench quantize`: what quantization costs, what it saves, and what it does to a model. GPTQ on the shape of GPT-2 small
 * beside its arithmetic; writing text with weights of 4 bits beside floats; perplexity of a trained model with every method.
 */
import { currentDevice } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import { isSoftwareGpu, type BenchRow } from './measure.ts';
import { benchQuantizedDecode } from './quantize-decode.ts';
import { benchQuantizationTable } from './quantize-table.ts';
import { benchQuantizationTime } from './quantize-time.ts';

export interface BenchQuantizeOptions {
  /** How many of GPT-2 small's 12 blocks are quantized (default 1). */
  readonly size?: string;
}

const BLOCKS = 12;

export async function benchQuantize(backend: string, { size = '1' }: BenchQuantizeOptions = {}): Promise<BenchRow[]> {
  const blocks = Number(size);
  if (!(Number.isInteger(blocks) && blocks >= 1 && blocks <= BLOCKS)) {
    throw new LabError(`bench quantize: --size is a number of blocks from 1 to ${BLOCKS}, got '${size}'.`);
  }
  const isSlow = isSoftwareGpu() || currentDevice()?.name === 'cpu';
  return [
    ...(await benchQuantizationTime(backend, blocks, isSlow)),
    ...(await benchQuantizedDecode(backend, isSlow)),
    ...(isSlow ? [] : await benchQuantizationTable(backend)),
  ];
}
