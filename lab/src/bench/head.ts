/**
 * @file `bench head`: the model's head with its loss, forward and backward, in chunks of rows and by way of all logits: time, and
 * the most memory that it took.
 */
import { currentDevice, tf, type Tensor, type Tensor2D } from '../backend/index.ts';
import { crossEntropy, linear, linearCrossEntropy } from '../ops/index.ts';
import { alternate } from './alternate.ts';
import type { BenchRow } from './measure.ts';
import { SIZES } from './yardstick.ts';

interface Case {
  readonly rows: number;
  readonly width: number;
  readonly vocabSize: number;
  readonly rounds: number;
}

const BASELINE = 'all logits';

/** The heads of `bench train`'s models; a GPU made of software gets a small one. */
function cases(): readonly Case[] {
  const software = currentDevice()?.description.includes('(software)') ?? false;
  if (software) return [{ rows: 64, width: 32, vocabSize: 512, rounds: 3 }];
  return Object.values(SIZES).map(({ batch, tokens, width, vocabulary }) => {
    const rows = batch * tokens;
    return { rows, width, vocabSize: vocabulary, rounds: Math.max(5, Math.min(100, Math.round(1e11 / (6 * rows * width * vocabulary)))) };
  });
}

async function runCase({ rows, width, vocabSize, rounds }: Case, backend: string): Promise<BenchRow[]> {
  const x = tf.randomNormal([rows, width]);
  const weight = tf.randomNormal<tf.Rank.R2>([vocabSize, width], 0, 0.02);
  const targets = tf.tensor1d(Int32Array.from({ length: rows }, (_, i) => (31 * i) % vocabSize), 'int32');
  const gradients = (loss: (x: Tensor, weight: Tensor2D) => tf.Scalar) => (): Tensor[] =>
    tf.grads((a, w) => loss(a!, w as Tensor2D))([x, weight]);
  const ways = {
    whole: gradients((a, w) => crossEntropy(linear(a, w), targets)),
    chunked: gradients((a, w) => linearCrossEntropy(a, w, targets)),
  };
  const times = await alternate(ways, { warmUp: 2, rounds });
  tf.dispose([x, weight, targets]);
  const rowOf = (name: string, of: keyof typeof ways): BenchRow => ({
    name,
    backend,
    shape: `${rows} × ${width} → ${vocabSize}`,
    ...times[of],
    gflops: (6 * rows * width * vocabSize) / times[of].medianMs / 1e6,
  });
  return [
    { ...rowOf('head and loss', 'chunked'), baseline: BASELINE, ratio: times.whole.medianMs / times.chunked.medianMs },
    rowOf('the same with all logits', 'whole'),
  ];
}

export async function benchHead(backend: string): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const one of cases()) rows.push(...(await runCase(one, backend)));
  return rows;
}
