/**
 * @file `bench head`: the model's head with its loss, forward and backward, in chunks of rows and by way of all logits: time, and
 * the most memory that it took.
 */
import { tf, type Tensor, type Tensor2D } from '../backend/index.ts';
import { crossEntropy, linear, linearCrossEntropy } from '../ops/index.ts';
import { isSoftwareGpu, type BenchRow, type Times } from './measure.ts';
import { takeTurns, tensorCompetitor, TURNS } from './turns.ts';
import { SIZES } from './yardstick.ts';

interface Case {
  readonly rows: number;
  readonly width: number;
  readonly vocabSize: number;
}

const BASELINE = 'all logits';

/** The heads of `bench train`'s models; a GPU made of software gets a small one. */
function cases(): readonly Case[] {
  if (isSoftwareGpu()) return [{ rows: 64, width: 32, vocabSize: 512 }];
  return Object.values(SIZES).map(({ batch, tokens, width, vocabulary }) => ({ rows: batch * tokens, width, vocabSize: vocabulary }));
}

async function runCase({ rows, width, vocabSize }: Case, backend: string): Promise<BenchRow[]> {
  const x = tf.randomNormal([rows, width]);
  const weight = tf.randomNormal<tf.Rank.R2>([vocabSize, width], 0, 0.02);
  const targets = tf.tensor1d(Int32Array.from({ length: rows }, (_, i) => (31 * i) % vocabSize), 'int32');
  const gradients = (loss: (x: Tensor, weight: Tensor2D) => tf.Scalar): Tensor[] =>
    tf.grads((a, w) => loss(a!, w as Tensor2D))([x, weight]);
  const [chunked, whole] = (await takeTurns(
    [
      tensorCompetitor(() => gradients((a, w) => linearCrossEntropy(a, w, targets))),
      tensorCompetitor(() => gradients((a, w) => crossEntropy(linear(a, w), targets))),
    ],
    TURNS,
  )) as [Times, Times];
  tf.dispose([x, weight, targets]);
  const rowOf = (name: string, times: Times): BenchRow => ({
    name,
    backend,
    shape: `${rows} × ${width} → ${vocabSize}`,
    ...times,
    gflops: (6 * rows * width * vocabSize) / times.medianMs / 1e6,
  });
  return [
    { ...rowOf('head and loss', chunked), baseline: BASELINE, ratio: whole.medianMs / chunked.medianMs },
    rowOf('the same with all logits', whole),
  ];
}

export async function benchHead(backend: string): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const one of cases()) rows.push(...(await runCase(one, backend)));
  return rows;
}
