/**
 * @file `bench attention`: causal attention as models run it (in one kernel, where the backend has one), beside plain tensor
 * operations on the same device and, with `--torch PYTHON`, PyTorch's own; in turn, forward and with the backward pass.
 */
import { currentDevice, tf, type Tensor, type Tensor4D } from '../backend/index.ts';
import { attention, plainAttention } from '../attention/index.ts';
import { measurePeak } from '../profile/index.ts';
import { isSoftwareGpu, shareOf, type BenchRow, type Times } from './measure.ts';
import { runsOnGpu, TorchProcess } from './torch.ts';
import { takeTurns, tensorCompetitor, torchCompetitor, TURNS, type Competitor } from './turns.ts';

export interface BenchAttentionOptions {
  /** An interpreter that has PyTorch. */
  readonly torch?: string;
}

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
/** Few long turns: a step may take a second. */
const FEW_TURNS = { ...TURNS, turns: 3, steps: 20, budgetMs: 500, warmUp: 1 };

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

/** PyTorch's kernels: on a processor the one that it chooses, on a GPU the fast one in half precision and the plain one. */
interface TorchKernel {
  readonly words: string;
  readonly kernel: 'any' | 'flash' | 'math';
  readonly half: boolean;
}

const torchKernels = (): readonly TorchKernel[] =>
  runsOnGpu()
    ? [{ words: 'flash kernel, f16', kernel: 'flash', half: true }, { words: 'math kernel, f32', kernel: 'math', half: false }]
    : [{ words: 'scaled_dot_product_attention', kernel: 'any', half: false }];

export async function benchAttention(backend: string, { torch }: BenchAttentionOptions = {}): Promise<BenchRow[]> {
  const peak = await measurePeak();
  const rows: BenchRow[] = [];
  for (const one of casesOf(currentDevice()?.name, isSoftwareGpu())) {
    const { batch, heads, keyValueHeads = heads, queries, keys = queries, headSize } = one;
    const normal = (ofHeads: number, length: number, seed: number): Tensor4D =>
      tf.randomNormal([batch, ofHeads, length, headSize], 0, 1, 'float32', seed);
    const qkv = [normal(heads, queries, 1), normal(keyValueHeads, keys, 2), normal(keyValueHeads, keys, 3)];
    for (const name of keys > queries ? ['forward'] : Object.keys(passes)) {
      rows.push(...(await runCase({ name, backend, one, peak, python: torch }, qkv)));
    }
    tf.dispose(qkv);
  }
  return rows;
}

interface Run {
  readonly name: string;
  readonly backend: string;
  readonly one: Case;
  readonly peak: number | undefined;
  readonly python: string | undefined;
}

async function runCase(run: Run, qkv: readonly Tensor4D[]): Promise<BenchRow[]> {
  const { name, backend, one, peak, python } = run;
  const { batch, heads, queries, keys = queries } = one;
  const pass = passes[name]!;
  const labWay = (operation: Operation): Competitor => tensorCompetitor(() => pass.run(operation, qkv));
  const hasBaseline = 4 * batch * heads * queries * keys <= largestWeights(isSoftwareGpu());
  const kernels = python ? torchKernels() : [];
  const processes: TorchProcess[] = [];
  try {
    for (const { kernel, half } of kernels) {
      const task = { ...one, keys, backward: name !== 'forward', kernel, half };
      processes.push(await TorchProcess.start(python!, 'attention.py', task));
    }
    const ours = [labWay(fused), ...(hasBaseline ? [labWay(plain)] : [])];
    const times = await takeTurns([...ours, ...processes.map(torchCompetitor)], FEW_TURNS);
    const [fusedTimes, plainTimes] = [times[0]!, hasBaseline ? times[1]! : undefined];
    const row = rowOf(name, backend, one, fusedTimes);
    return [
      {
        ...row,
        ...shareOf(row.gflops!, peak),
        peakBytes: await peakOf(() => pass.run(fused, qkv)),
        ...(plainTimes && { baseline: BASELINE, ratio: plainTimes.medianMs / fusedTimes.medianMs }),
      },
      ...kernels.map(({ words }, i): BenchRow => {
        const theirs = times[ours.length + i]!;
        const ratio = fusedTimes.medianMs / theirs.medianMs;
        return { ...rowOf(`  PyTorch, ${words}`, processes[i]!.words, one, theirs, pass.cost), baseline: 'the lab', ratio };
      }),
    ];
  } finally {
    for (const process of processes) process.stop();
  }
}

function rowOf(name: string, backend: string, one: Case, times: Times, cost = passes[name]!.cost): BenchRow {
  const { batch, heads, keyValueHeads = heads, queries, keys = queries, headSize } = one;
  const decodes = keys > queries;
  // 4 · B · H · T · U · S operations, half of them hidden by the mask when it is a triangle (Dao 2023, section 4.1).
  const gflops = ((decodes ? 4 : 2) * batch * heads * queries * keys * headSize * cost) / times.medianMs / 1e6;
  const shape = `${batch} × ${headsOf(heads, keyValueHeads)} × ${decodes ? `${queries} on ${keys}` : queries} × ${headSize}`;
  // A single query does so little with each key and value that reading them, once, is what it takes.
  const gbps = (8 * batch * keyValueHeads * keys * headSize) / times.medianMs / 1e6;
  return { name, backend, shape, ...times, gflops, ...(decodes && { gbps }) };
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
