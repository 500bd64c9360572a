/**
 * @file How long GPTQ takes: blocks of GPT-2 small's shape with random weights and inputs that go together, and beside it how long
 * the device would need for the arithmetic alone.
 *
 * Shapes: D width, O outputs, I inputs of a layer, N calibration tokens.
 */
import { currentDevice, wasmHeap } from '../backend/index.ts';
import { Random } from '../base/index.ts';
import { TokenDataset } from '../data/index.ts';
import { presets, Transformer } from '../model/index.ts';
import { measurePeak } from '../profile/index.ts';
import { calibrationBatches, quantizeModel } from '../quantize/index.ts';
import { shareOf, timesOf, type BenchRow } from './measure.ts';

const VOCABULARY = 8192;

interface Problem {
  readonly width: number;
  readonly heads: number;
  readonly blocks: number;
  readonly sequences: number;
  readonly contextLength: number;
}

/** Calibration as in the paper's smallest runs; the slow devices get what takes them seconds. */
function problemOf(blocks: number, isSlow: boolean): Problem {
  if (isSlow) return { width: 64, heads: 2, blocks: 1, sequences: 2, contextLength: 32 };
  return { width: presets.gpt2.width, heads: presets.gpt2.heads, blocks, sequences: 32, contextLength: 512 };
}

/** Text as Zipf's law has it: a few tokens are everywhere, so that inputs are far from independent. */
function zipfText(length: number): TokenDataset {
  const random = new Random(1);
  const ids = Int32Array.from({ length }, () => Math.min(VOCABULARY - 1, Math.floor(VOCABULARY ** random.uniform()) - 1));
  return new TokenDataset(ids, VOCABULARY);
}

/**
 * What nobody can do without: each block forward twice (the last one once), a Hessian for each of a block's four inputs, their
 * factors, 2/3 I³, and the sweep's O I² for each layer.
 */
function operations({ width: D, blocks, sequences, contextLength }: Problem): number {
  const N = sequences * contextLength;
  const attention = 2 * D * contextLength * N; // half of all pairs, scores and sums
  const forward = (2 * blocks - 1) * (2 * 12 * D ** 2 * N + attention);
  const hessians = 2 * N * (3 * D ** 2 + (4 * D) ** 2);
  const factors = (2 / 3) * (3 * D ** 3 + (4 * D) ** 3);
  const sweeps = 4 * D * D ** 2 + 4 * D * D ** 2 + D * (4 * D) ** 2;
  return forward + blocks * (hessians + factors + sweeps);
}

export async function benchQuantizationTime(backend: string, blocks: number, isSlow: boolean): Promise<BenchRow[]> {
  const problem = problemOf(blocks, isSlow);
  const { width, heads, sequences, contextLength } = problem;
  const peak = await measurePeak();
  const model = new Transformer({ vocabSize: VOCABULARY, contextLength, layers: problem.blocks, width, heads });
  const calibration = calibrationBatches(zipfText(8 * contextLength), { sequences, contextLength, batchSize: 4 });
  const heap = currentDevice()?.name === 'wasm' ? wasmHeap().usage : undefined;
  heap?.resetPeak();
  const { seconds, bytesBefore, bytesAfter } = await quantizeModel(model, { method: 'gptq', bits: 4, calibration });
  model.dispose();
  const flops = operations(problem);
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  const about = {
    backend,
    shape: `${problem.blocks} blocks of width ${width}, ${sequences} × ${contextLength} tokens, ${mib(bytesBefore)} to ${mib(bytesAfter)}`,
  };
  const row = (name: string, ms: number, peakBytes: number): BenchRow => {
    const gflops = flops / ms / 1e6;
    return { name, ...about, ...timesOf([ms], peakBytes), gflops, ...shareOf(gflops, peak) };
  };
  const ours = row('GPTQ', 1000 * seconds, heap?.peak ?? 0);
  if (peak === undefined) return [ours];
  const floor = row('its arithmetic at the peak', (1000 * flops) / peak, 0);
  return [{ ...ours, baseline: 'the arithmetic', ratio: floor.medianMs / ours.medianMs }, floor];
}
