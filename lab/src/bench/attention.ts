/**
 * @file `bench attention`: causal attention as models run it (in one kernel, where the backend has one), beside plain tensor
 * operations on the same device in the same minutes, forward and with the backward pass.
 */
import { currentDevice, tf, type Tensor, type Tensor4D } from '../backend/index.ts';
import { attention, plainAttention } from '../attention/index.ts';
import { measure, settled, type BenchRow, type MeasureOptions, type Times } from './measure.ts';

interface Case {
  readonly batch: number;
  readonly heads: number;
  /** As many as heads unless told. */
  readonly keyValueHeads?: number;
  readonly queries: number;
  /** As many as queries unless told. */
  readonly keys?: number;
  readonly headSize: number;
}
type Operation = (q: Tensor4D, k: Tensor4D, v: Tensor4D) => Tensor4D;

const BASELINE = 'plain operations';
const OPTIONS: MeasureOptions = { warmUp: 1, leastRuns: 2, mostRuns: 20, budgetMs: 1000 };
/** The two take turns, so that both meet the same other load of the machine. */
const ROUNDS = 3;

/**
 * Training lengths, and one query on a long cache, with a key/value head for each head and for each four. A GPU made of software
 * gets one head, a real one what plain operations cannot.
 */
function casesOf(name: string | undefined, software: boolean): readonly Case[] {
  const one = { batch: 1, queries: 1, keys: 4096, headSize: 64 };
  const decode: readonly Case[] = [{ ...one, heads: 8 }, { ...one, heads: 32, keyValueHeads: 8 }];
  const training = (heads: number, lengths: readonly number[]): Case[] =>
    lengths.map((queries) => ({ batch: 1, heads, queries, headSize: 64 }));
  if (name === 'webgpu' && software) return [...training(1, [512, 1024, 2048]), ...decode];
  if (name === 'webgpu' || name === 'tensorflow') return [...training(8, [1024, 2048, 4096, 8192, 16384]), ...decode];
  return [{ batch: 4, heads: 8, queries: 512, headSize: 64 }, ...training(1, [1024]), ...decode];
}

/** The most bytes that the weights of the plain operations may take (there are several tensors of that size), for memory or time. */
const largestWeights = (software: boolean): number => (software ? 2 ** 22 : 2 ** 29);

const fused: Operation = (q, k, v) => attention(q, k, v, { causal: true });
const plain: Operation = (q, k, v) => plainAttention(q, k, v, { causal: true });

interface Pass {
  /** Operations, in forward passes. */
  readonly cost: number;
  readonly run: (operation: Operation, qkv: readonly Tensor4D[]) => Tensor[];
}

const passes: Readonly<Record<string, Pass>> = {
  forward: { cost: 1, run: (operation, [q, k, v]) => [operation(q!, k!, v!)] },
  // The backward pass costs 2.5 times the forward one: five products of that size against two (Dao 2023, section 4.1).
  'forward, backward': {
    cost: 3.5,
    run: (operation, qkv) => tf.grads((q, k, v) => operation(q as Tensor4D, k as Tensor4D, v as Tensor4D))([...qkv]),
  },
};

const isSoftware = (): boolean => currentDevice()?.description.includes('(software)') ?? false;

export async function benchAttention(backend: string): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const one of casesOf(currentDevice()?.name, isSoftware())) {
    const { batch, heads, keyValueHeads = heads, queries, keys = queries, headSize } = one;
    const normal = (ofHeads: number, length: number, seed: number): Tensor4D =>
      tf.randomNormal([batch, ofHeads, length, headSize], 0, 1, 'float32', seed);
    const qkv = [normal(heads, queries, 1), normal(keyValueHeads, keys, 2), normal(keyValueHeads, keys, 3)];
    for (const name of keys > queries ? ['forward'] : Object.keys(passes)) rows.push(await runCase(name, backend, one, qkv));
    tf.dispose(qkv);
  }
  return rows;
}

async function runCase(name: string, backend: string, one: Case, qkv: readonly Tensor4D[]): Promise<BenchRow> {
  const { batch, heads, keyValueHeads = heads, queries, keys = queries, headSize } = one;
  const decodes = keys > queries;
  const weights = batch * heads * queries * keys;
  const { cost, run } = passes[name]!;
  const timesOf = (operation: Operation) =>
    measure(async () => {
      const results = run(operation, qkv);
      for (const result of results) await settled(result);
      tf.dispose(results);
    }, OPTIONS);
  const hasBaseline = 4 * weights <= largestWeights(isSoftware());
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
    shape: `${batch} × ${headsOf(heads, keyValueHeads)} × ${decodes ? `${queries} on ${keys}` : queries} × ${headSize}`,
    medianMs,
    minMs: Math.min(...rounds.map(({ times }) => times.minMs)),
    maxMs: Math.max(...rounds.map(({ times }) => times.maxMs)),
    // 4 · B · H · T · U · S operations, half of them hidden by the mask when it is a triangle (Dao 2023, section 4.1).
    gflops: ((decodes ? 4 : 2) * weights * headSize * cost) / medianMs / 1e6,
    // A single query does so little with each key and value that reading them, once, is what it takes.
    ...(decodes && { gbps: (2 * 4 * batch * keyValueHeads * keys * headSize) / medianMs / 1e6 }),
    peakBytes: await peakOf(() => run(fused, qkv)),
    ...(hasBaseline && { baseline: BASELINE, ratio: median(rounds.map(({ ratio }) => ratio)) }),
  };
}

const headsOf = (heads: number, keyValueHeads: number): string =>
  heads === keyValueHeads ? `${heads}` : `${heads} on ${keyValueHeads}`;

/** The most bytes of tensors that were there at once in a run, the inputs included. */
async function peakOf(run: () => Tensor[]): Promise<number> {
  const before = tf.memory().numBytes;
  const { peakBytes, result } = await tf.profile(run as unknown as () => tf.TensorContainer);
  const after = tf.memory().numBytes;
  tf.dispose(result);
  return Math.max(peakBytes, before, after);
}
