/**
 * @file `bench quantized`: products with packed weights of 8 and 4 bits beside the same with floats, from one row (generating a
 * token, where reading the weights is all the work) to many.
 */
import { currentDevice, tf, type Tensor, type Tensor2D } from '../backend/index.ts';
import { linear, packWeights, quantizedMatmul, quantizedWeights, disposeQuantized, type BitWidth, type QuantizedWeights } from '../ops/index.ts';
import { alternate } from './alternate.ts';
import type { BenchRow } from './measure.ts';

interface Case {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly rounds: number;
}

const GROUP = 128;
const BASELINE = 'float32';

/** Weights larger than the caches that one core has for itself; a GPU made of software gets small ones. */
function cases(): readonly Case[] {
  const software = currentDevice()?.description.includes('(software)') ?? false;
  if (software) return [1, 8].map((rows) => ({ rows, inputs: 256, outputs: 256, rounds: 3 }));
  return [
    { rows: 1, inputs: 4096, outputs: 8192, rounds: 30 },
    { rows: 1, inputs: 4096, outputs: 4096, rounds: 60 },
    { rows: 8, inputs: 4096, outputs: 4096, rounds: 20 },
    { rows: 256, inputs: 4096, outputs: 4096, rounds: 4 },
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
  const { rows, inputs, outputs, rounds } = one;
  const x = tf.randomNormal<tf.Rank.R2>([rows, inputs]);
  const floats = tf.randomNormal<tf.Rank.R2>([outputs, inputs]);
  const [eight, four] = [packed(8, one), packed(4, one)];
  const product = (weights: QuantizedWeights) => (): Tensor[] => [quantizedMatmul<Tensor2D>(x, weights)];
  const times = await alternate({ float32: () => [linear(x, floats)], int8: product(eight), int4: product(four) }, { warmUp: 2, rounds });
  const bytes = { float32: 4 * floats.size, int8: bytesOf(eight), int4: bytesOf(four) };
  tf.dispose([x, floats]);
  for (const weights of [eight, four]) disposeQuantized(weights);
  return (['float32', 'int8', 'int4'] as const).map((name) => {
    const { medianMs } = times[name];
    const row = {
      name,
      backend,
      shape: `${rows} × ${inputs} → ${outputs}, ${(bytes[name] / 2 ** 20).toFixed(1)} MiB of weights`,
      ...times[name],
      gflops: (2 * rows * inputs * outputs) / medianMs / 1e6,
      gbps: bytes[name] / medianMs / 1e6,
    };
    return name === BASELINE ? row : { ...row, baseline: BASELINE, ratio: times[BASELINE].medianMs / medianMs };
  });
}

export async function benchQuantized(backend: string): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const one of cases()) rows.push(...(await runCase(one, backend)));
  return rows;
}
