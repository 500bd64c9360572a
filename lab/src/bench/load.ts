/**
 * @file `bench load`: a checkpoint of the shape of GPT-2 (498 MB in 32 bits) and of SmolLM2-135M (269 MB in BF16), random, from the
 * disk's cache into a model; beside reading the bytes of the same file and nothing else.
 */
import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { currentDevice, wasmHeap } from '../backend/index.ts';
import { Random } from '../base/index.ts';
import { type FloatDtype, fromFloat32, labFolder, type LazyTensor, streamSafetensors, writeAtomically } from '../files/index.ts';
import { loadPretrained, type PretrainedFormat } from '../interop/index.ts';
import { namedWeights } from '../interop/names.ts';
import { formatOf, writeConfig } from '../interop/write-config.ts';
import { presets, resolveConfig, type TransformerConfig } from '../model/index.ts';
import { type BenchRow, timesOf } from './measure.ts';

const RUNS = 5;
/** Bytes that the yardstick reads at once. */
const PIECE = 1 << 22;
const BASELINE = 'reading the file';

interface Shape {
  readonly name: string;
  readonly dtype: FloatDtype;
  readonly config: TransformerConfig;
}

const shapes: readonly Shape[] = [
  { name: 'GPT-2 small', dtype: 'F32', config: { ...presets.gpt2, vocabSize: 50257 } },
  {
    name: 'SmolLM2-135M',
    dtype: 'BF16',
    config: {
      ...presets.llama,
      vocabSize: 49152,
      contextLength: 8192,
      layers: 30,
      width: 576,
      heads: 9,
      keyValueHeads: 3,
      hiddenSize: 1536,
    },
  },
];

export async function benchLoad(backend: string): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const shape of shapes) rows.push(await benchShape(shape, backend));
  return rows;
}

async function benchShape(shape: Shape, backend: string): Promise<BenchRow> {
  const folder = await writtenCheckpoint(shape);
  const file = join(folder, 'model.safetensors');
  const bytes = statSync(file).size;
  readWhole(file);
  const before = process.memoryUsage().rss;
  const device = currentDevice()?.name;
  if (device === 'wasm') wasmHeap().usage.resetPeak();
  const live = device === 'wasm' ? wasmHeap().usage.live : 0;
  const times: number[] = [];
  const plain: number[] = [];
  let peak = 0;
  for (let run = 0; run < RUNS; run++) {
    const started = performance.now();
    const { model } = await loadPretrained(folder, { quiet: true });
    times.push(performance.now() - started);
    // Everything that the process holds more than before; where an earlier run has left its memory, what tensors took of it.
    const tensors = device === 'wasm' ? wasmHeap().usage.peak - live : 0;
    if (run === 0) peak = Math.max(process.resourceUsage().maxRSS * 1024 - before, tensors);
    model.dispose();
    plain.push(readWhole(file));
  }
  const measured = timesOf(times, peak);
  return {
    name: `load ${shape.name}`,
    backend,
    shape: `${(bytes / 1e6).toFixed(0)} MB, ${shape.dtype}`,
    ...measured,
    gbps: bytes / measured.medianMs / 1e6,
    baseline: BASELINE,
    ratio: timesOf(plain, 0).medianMs / measured.medianMs,
  };
}

/** Milliseconds. */
function readWhole(path: string): number {
  const piece = new Uint8Array(PIECE);
  const started = performance.now();
  const file = openSync(path, 'r');
  while (readSync(file, piece) > 0);
  closeSync(file);
  return performance.now() - started;
}

/** The folder of a random checkpoint of that shape, written once. */
async function writtenCheckpoint({ name, dtype, config: given }: Shape): Promise<string> {
  const folder = labFolder('bench', name.toLowerCase().replaceAll(' ', '-'));
  if (existsSync(join(folder, 'config.json'))) return folder;
  const config = resolveConfig(given);
  const format: PretrainedFormat = formatOf(config);
  const torch = dtype === 'F32' ? 'float32' : 'bfloat16';
  const noise = new Random(1).normals(1 << 16, 0.02);
  const tensors = namedWeights(format, config)
    .filter(({ name: weight }) => weight !== 'lm_head.weight' && !(format === 'llama' && weight.endsWith('.bias')))
    .map(({ name: weight, shape }): [string, LazyTensor] => {
      const data = () => fromFloat32(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => noise[i & 0xffff]!), dtype);
      return [weight, { dtype, shape, data }];
    });
  await streamSafetensors(join(folder, 'model.safetensors'), new Map(tensors), { format: 'pt' });
  const json = writeConfig(config, { format, dtype: torch, stopTokens: [] });
  await writeAtomically(join(folder, 'config.json'), [Buffer.from(JSON.stringify(json))]);
  return folder;
}
