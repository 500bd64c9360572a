/**
 * @file `bench matmul`: matrix products in the shapes of a small GPT's training step, and a large square one.
 */
import { currentDevice, tf } from '../backend/index.ts';
import { measurePeak } from '../profile/index.ts';
import { isSoftwareGpu, measure, settled, shareOf, type BenchRow } from './measure.ts';

interface Case {
  readonly name: string;
  readonly batch?: number;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

/** 16 × 128 tokens of width 128 with 4 heads of size 32, as in the yardstick. */
const cases: readonly Case[] = [
  { name: 'linear', m: 2048, k: 128, n: 512 },
  { name: 'linear, input gradient', m: 2048, k: 512, n: 128, transposeB: true },
  { name: 'linear, weight gradient', m: 128, k: 2048, n: 512, transposeA: true },
  { name: 'attention scores', batch: 64, m: 128, k: 32, n: 128, transposeB: true },
  { name: 'attention values', batch: 64, m: 128, k: 128, n: 32 },
  { name: 'one token', m: 1, k: 128, n: 512 },
  { name: 'square', m: 1024, k: 1024, n: 1024 },
  { name: 'square, both transposed', m: 1024, k: 1024, n: 1024, transposeA: true, transposeB: true },
];

/** For a GPU made of software, where those above would take minutes. */
const smallCases: readonly Case[] = [
  { name: 'linear', m: 256, k: 64, n: 256 },
  { name: 'linear, input gradient', m: 256, k: 256, n: 64, transposeB: true },
  { name: 'linear, weight gradient', m: 64, k: 256, n: 256, transposeA: true },
  { name: 'attention scores', batch: 8, m: 64, k: 32, n: 64, transposeB: true },
  { name: 'one token', m: 1, k: 128, n: 512 },
  { name: 'square', m: 256, k: 256, n: 256 },
];

/** Where there is a real GPU, work to fill it. */
const largeCases: readonly Case[] = [...cases, { name: 'large square', m: 4096, k: 4096, n: 4096 }];

function casesHere(): readonly Case[] {
  if (currentDevice()?.name === 'cpu' || isSoftwareGpu()) return smallCases;
  return currentDevice()?.name === 'webgpu' ? largeCases : cases;
}

function shapeText({ batch, m, k, n, transposeA, transposeB }: Case): string {
  return `${batch ? `${batch} × ` : ''}${m}×${k}${transposeA ? 'ᵀ' : ''} · ${k}×${n}${transposeB ? 'ᵀ' : ''}`;
}

async function runCase(one: Case, backend: string, peak: number | undefined): Promise<BenchRow> {
  const { name, batch, m, k, n, transposeA = false, transposeB = false } = one;
  const leading = batch ? [batch] : [];
  const a = tf.randomNormal([...leading, ...(transposeA ? [k, m] : [m, k])]);
  const b = tf.randomNormal([...leading, ...(transposeB ? [n, k] : [k, n])]);
  const times = await measure(
    async () => {
      const product = tf.matMul(a, b, transposeA, transposeB);
      await settled(product);
      product.dispose();
    },
    { warmUp: 20, leastRuns: 5, mostRuns: 200, budgetMs: 1000 },
  );
  tf.dispose([a, b]);
  const gflops = (2 * (batch ?? 1) * m * n * k) / times.medianMs / 1e6;
  return { name, backend, shape: shapeText(one), ...times, gflops, ...shareOf(gflops, peak) };
}

/** What the device can do at best stands in the first row: multiply-adds between registers, no memory touched. */
export async function benchMatmul(backend: string): Promise<BenchRow[]> {
  const peak = await measurePeak({ budgetMs: 200 });
  const rows: BenchRow[] = [];
  if (peak) {
    const ms = 1e12 / peak;
    const times = { medianMs: ms, minMs: ms, maxMs: ms, peakBytes: 0, gflops: peak / 1e9, peakShare: 1 };
    rows.push({ name: 'multiply-adds in registers', backend, shape: '10⁹ operations', ...times });
  }
  for (const one of casesHere()) rows.push(await runCase(one, backend, peak));
  return rows;
}
