/**
 * @file `bench matmul`: matrix products in the shapes of a small GPT's training step, and a large square one.
 */
import { tf } from '../backend/index.ts';
import { measure, settled, type BenchRow } from './measure.ts';

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

function shapeText({ batch, m, k, n, transposeA, transposeB }: Case): string {
  return `${batch ? `${batch} × ` : ''}${m}×${k}${transposeA ? 'ᵀ' : ''} · ${k}×${n}${transposeB ? 'ᵀ' : ''}`;
}

async function runCase(one: Case, backend: string): Promise<BenchRow> {
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
  return { name, backend, shape: shapeText(one), ...times, gflops };
}

export async function benchMatmul(backend: string): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const one of cases) rows.push(await runCase(one, backend));
  return rows;
}
