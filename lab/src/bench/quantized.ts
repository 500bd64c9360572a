/**
 * @file `bench quantized`: products with packed weights of 8 and 4 bits beside the same with floats, from one row (generating a
 * token, where reading the weights is all the work) to many.
 */
import { tf, type Tensor2D } from '../backend/index.ts';
import {
  disposeQuantized,
  linear,
  packWeights,
  quantizedMatmul,
  quantizedWeights,
  type BitWidth,
  type QuantizedWeights,
} from '../ops/index.ts';
import { isSoftwareGpu, type BenchRow } from './measure.ts';
import { takeTurns, tensorCompetitor } from './turns.ts';

interface Case {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
}

const GROUP = 128;
const BASELINE = 'float32';

/** Weights larger than the caches that one core has for itself; a GPU made of software gets small ones. */
function cases(): readonly Case[] {
  if (isSoftwareGpu()) return [1, 8].map((rows) => ({ rows, inputs: 256, outputs: 256 }));
  return [
    { rows: 1, inputs: 4096, outputs: 8192 },
    ...[1, 8, 256].map((rows) => ({ rows, inputs: 4096, outputs: 4096 })),
  ];
}

/** Weights of any codes: what they are does not change the time. */
function packed(bits: BitWidth, { inputs, outputs }: Case): QuantizedWeights {
  const groups = outputs * (inputs / GROUP);
  const codes = Uint8Array.from({ length: outputs * inputs }, (_, i) => (i * 7 + (i >> 5)) & (2 ** bits - 1));
  const [scales, zeros] = [new Float32Array(groups).fill(0.01), new Float32Array(groups).fill(2 ** (bits - 1))];
  return quantizedWeights(packWeights(codes, { outputs, inputs, bits, groupSize: GROUP, scales, zeros }));
}

const bytesOf = ({ words, scales, zeros }: QuantizedWeights): number => 4 * (words.size + scales.size + (zeros?.size ?? 0));

async function runCase(one: Case, backend: string): Promise<BenchRow[]> {
  const { rows, inputs, outputs } = one;
  const x = tf.randomNormal<tf.Rank.R2>([rows, inputs]);
  const floats = tf.randomNormal<tf.Rank.R2>([outputs, inputs]);
  const quantized = ([8, 4] as const).map((bits) => ({ bits, weights: packed(bits, one) }));
  const ways = [
    { name: BASELINE, bytes: 4 * floats.size, run: () => linear(x, floats) },
    ...quantized.map(({ bits, weights }) => ({
      name: `int${bits}`,
      bytes: bytesOf(weights),
      run: () => quantizedMatmul<Tensor2D>(x, weights),
    })),
  ];
  const times = await takeTurns(ways.map(({ run }) => tensorCompetitor(() => [run()])));
  tf.dispose([x, floats]);
  for (const { weights } of quantized) disposeQuantized(weights);
  return ways.map(({ name, bytes }, i) => {
    const { medianMs } = times[i]!;
    const row = {
      name,
      backend,
      shape: `${rows} × ${inputs} → ${outputs}, ${(bytes / 2 ** 20).toFixed(1)} MiB of weights`,
      ...times[i]!,
      gflops: (2 * rows * inputs * outputs) / medianMs / 1e6,
      gbps: bytes / medianMs / 1e6,
    };
    return name === BASELINE ? row : { ...row, baseline: BASELINE, ratio: times[0]!.medianMs / medianMs };
  });
}

export async function benchQuantized(backend: string): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const one of cases()) rows.push(...(await runCase(one, backend)));
  return rows;
}
