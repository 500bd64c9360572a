/**
 * @file `bench attention`: causal attention in one kernel, beside the same in plain tensor operations on the same device in the same
 * minutes, forward and with the backward pass.
 */
import { currentDevice, tf, type Tensor, type Tensor4D } from '../backend/index.ts';
import { attention } from '../attention/index.ts';
import { fusedAttention } from '../ops/index.ts';
import { measure, settled, type BenchRow, type MeasureOptions, type Times } from './measure.ts';

/** [B, H, T, S] */
type Shape = readonly [batch: number, heads: number, tokens: number, headSize: number];
type Operation = (q: Tensor4D, k: Tensor4D, v: Tensor4D) => Tensor4D;

const BASELINE = 'plain operations';
const OPTIONS: MeasureOptions = { warmUp: 1, leastRuns: 2, mostRuns: 20, budgetMs: 1000 };
/** The two take turns, so that both meet the same other load of the machine. */
const ROUNDS = 3;

/** A GPU made of software gets one head; a real one gets lengths that plain operations cannot take. */
function shapesOf(name: string | undefined, software: boolean): readonly Shape[] {
  if (name !== 'webgpu' && name !== 'tensorflow') return [[4, 8, 512, 64], [1, 1, 1024, 64]];
  if (software) return [[1, 1, 512, 64], [1, 1, 1024, 64]];
  return [1024, 2048, 4096, 8192, 16384].map((tokens) => [1, 8, tokens, 64]);
}

/** The most bytes that the weights of the plain operations may take: there are several tensors of that size. */
const LARGEST_WEIGHTS = 2 ** 29;

const fused: Operation = (q, k, v) => fusedAttention(q, k, v, { causal: true });
/** Whoever asks to see the weights gets attention in plain operations. */
const plain: Operation = (q, k, v) => attention(q, k, v, { causal: true, dropout: (weights) => weights });

const passes: Readonly<Record<string, { readonly cost: number; readonly run: (operation: Operation, qkv: readonly Tensor4D[]) => Tensor[] }>> = {
  forward: { cost: 1, run: (operation, [q, k, v]) => [operation(q!, k!, v!)] },
  // The backward pass costs 2.5 times the forward one: five products of that size against two (Dao 2023, section 4.1).
  'forward, backward': {
    cost: 3.5,
    run: (operation, qkv) => tf.grads((q, k, v) => operation(q as Tensor4D, k as Tensor4D, v as Tensor4D))([...qkv]),
  },
};

export async function benchAttention(backend: string): Promise<BenchRow[]> {
  const device = currentDevice();
  const rows: BenchRow[] = [];
  for (const shape of shapesOf(device?.name, device?.description.includes('(software)') ?? false)) {
    const qkv = [1, 2, 3].map((seed) => tf.randomNormal<tf.Rank.R4>([...shape], 0, 1, 'float32', seed));
    for (const name of Object.keys(passes)) rows.push(await runCase(name, backend, shape, qkv));
    tf.dispose(qkv);
  }
  return rows;
}

async function runCase(name: string, backend: string, shape: Shape, qkv: readonly Tensor4D[]): Promise<BenchRow> {
  const [batch, heads, tokens, headSize] = shape;
  const { cost, run } = passes[name]!;
  const timesOf = (operation: Operation) =>
    measure(async () => {
      const results = run(operation, qkv);
      for (const result of results) await settled(result);
      tf.dispose(results);
    }, OPTIONS);
  const hasBaseline = 4 * batch * heads * tokens ** 2 <= LARGEST_WEIGHTS;
  const rounds: { readonly times: Times; readonly ratio: number }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const times = await timesOf(fused);
    rounds.push({ times, ratio: hasBaseline ? (await timesOf(plain)).medianMs / times.medianMs : NaN });
  }
  const median = (values: number[]): number => values.sort((x, y) => x - y)[values.length >> 1]!;
  const medianMs = median(rounds.map(({ times }) => times.medianMs));
  return {
    name,
    backend,
    shape: shape.join(' × '),
    medianMs,
    minMs: Math.min(...rounds.map(({ times }) => times.minMs)),
    maxMs: Math.max(...rounds.map(({ times }) => times.maxMs)),
    // 4 · B · H · T² · S operations, half of them hidden by the mask.
    gflops: (2 * batch * heads * tokens ** 2 * headSize * cost) / medianMs / 1e6,
    peakBytes: await peakOf(() => run(fused, qkv)),
    ...(hasBaseline && { baseline: BASELINE, ratio: median(rounds.map(({ ratio }) => ratio)) }),
  };
}

/** The most bytes of tensors that were there at once in a run, the inputs included. */
async function peakOf(run: () => Tensor[]): Promise<number> {
  const before = tf.memory().numBytes;
  const { peakBytes, result } = await tf.profile(run as unknown as () => tf.TensorContainer);
  const after = tf.memory().numBytes;
  tf.dispose(result);
  return Math.max(peakBytes, before, after);
}
