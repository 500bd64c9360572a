/**
 * @file `bench ops`: every fused operation beside its plain reference, in turn, forward and with the backward pass; and how near
 * it comes to the machine's roofs.
 *
 * Shapes: N rows, D width, V vocabulary.
 */
import { currentDevice, tf, type Tensor, type Tensor1D, type Tensor2D, type Tensor4D } from '../backend/index.ts';
import {
  attentionReference,
  crossEntropy,
  crossEntropyReference,
  embedding,
  fusedAttention,
  gelu,
  geluMLP,
  geluMLPReference,
  geluReference,
  layerNorm,
  layerNormReference,
  linear,
  linearReference,
  rmsNorm,
  rmsNormReference,
  swiglu,
  swigluReference,
} from '../ops/index.ts';
import { measureMachine, profile, type MachineProfile } from '../profile/index.ts';
import { isSoftwareGpu, settled, type BenchRow } from './measure.ts';
import { labCompetitor, takeTurns, TURNS } from './turns.ts';

/** An operation and its reference. */
export interface OperationPair {
  readonly name: string;
  /** Float inputs, by which it is differentiated. */
  readonly inputs: readonly (readonly number[])[];
  /** Token ids: how many, and below what. */
  readonly ids?: readonly [count: number, below: number];
  readonly fused: (x: readonly Tensor[], ids: Tensor1D) => Tensor;
  readonly plain: (x: readonly Tensor[], ids: Tensor1D) => Tensor;
}

const BASELINE = 'plain operations';
const OPTIONS = { ...TURNS, turns: 3, budgetMs: 100 };

/** In the yardstick's shapes, or for slow devices in a small part of them. */
export function operationPairs(slow: boolean): readonly OperationPair[] {
  const [N, D, V, T] = slow ? [128, 32, 256, 64] : [2048, 128, 8192, 512];
  const matrix = (x: Tensor | undefined): Tensor2D => x as Tensor2D;
  const row = (x: Tensor | undefined): Tensor1D => x as Tensor1D;
  const heads = (x: Tensor | undefined): Tensor4D => x as Tensor4D;
  const mlp = ([, up, upBias, down, downBias]: readonly Tensor[]) =>
    [{ weight: matrix(up), bias: row(upBias) }, { weight: matrix(down), bias: row(downBias) }] as const;
  return [
    {
      name: 'linear',
      inputs: [[N, D], [4 * D, D], [4 * D]],
      fused: ([x, w, b]) => linear(x!, matrix(w), row(b)),
      plain: ([x, w, b]) => linearReference(x!, matrix(w), row(b)),
    },
    {
      name: 'geluMLP',
      inputs: [[N, D], [4 * D, D], [4 * D], [D, 4 * D], [D]],
      fused: (x) => geluMLP(x[0]!, ...mlp(x)),
      plain: (x) => geluMLPReference(x[0]!, ...mlp(x)),
    },
    { name: 'gelu', inputs: [[N, 4 * D]], fused: ([x]) => gelu(x!), plain: ([x]) => geluReference(x!) },
    {
      name: 'swiglu',
      inputs: [[N, 4 * D], [N, 4 * D]],
      fused: ([gate, up]) => swiglu(gate!, up!),
      plain: ([gate, up]) => swigluReference(gate!, up!),
    },
    {
      name: 'layerNorm',
      inputs: [[N, D], [D], [D]],
      fused: ([x, gain, bias]) => layerNorm(x!, row(gain), row(bias)),
      plain: ([x, gain, bias]) => layerNormReference(x!, row(gain), row(bias)),
    },
    {
      name: 'rmsNorm',
      inputs: [[N, D], [D]],
      fused: ([x, gain]) => rmsNorm(x!, row(gain)),
      plain: ([x, gain]) => rmsNormReference(x!, row(gain)),
    },
    {
      name: 'crossEntropy',
      inputs: [[N / 4, V]],
      ids: [N / 4, V],
      fused: ([logits], ids) => crossEntropy(logits!, ids),
      plain: ([logits], ids) => crossEntropyReference(logits!, ids),
    },
    {
      name: 'embedding',
      inputs: [[V, D]],
      ids: [N, V],
      fused: ([table], ids) => embedding(matrix(table), ids),
      plain: ([table], ids) => tf.gather(matrix(table), ids),
    },
    {
      name: 'attention, causal',
      inputs: [[1, 8, T, 64], [1, 8, T, 64], [1, 8, T, 64]],
      fused: ([q, k, v]) => fusedAttention(heads(q), heads(k), heads(v), { causal: true }),
      plain: ([q, k, v]) => attentionReference(heads(q), heads(k), heads(v), { causal: true }),
    },
  ];
}

type Operation = OperationPair['fused'];

/** How an operation is run: its value, or the gradients of all its inputs. */
export const passes: Readonly<Record<string, (operation: Operation, inputs: readonly Tensor[], ids: Tensor1D) => Tensor[]>> = {
  forward: (operation, inputs, ids) => [operation(inputs, ids)],
  'forward, backward': (operation, inputs, ids) => tf.grads((...x: Tensor[]) => operation(x, ids))([...inputs]),
};

async function measurePass(pass: string, one: OperationPair, backend: string, machine: MachineProfile): Promise<BenchRow> {
  const inputs = one.inputs.map((shape, i) => tf.randomNormal(shape as number[], 0, 1, 'float32', i + 1));
  const [count, below] = one.ids ?? [1, 2];
  const ids = tf.randomUniform<tf.Rank.R1>([count], 0, below, 'int32', 9);
  const runOf = (operation: Operation) => async (): Promise<void> => {
    const results = tf.tidy(() => passes[pass]!(operation, inputs, ids));
    for (const result of results) await settled(result);
    tf.dispose(results);
  };
  const [fused, plain] = await takeTurns([labCompetitor(runOf(one.fused)), labCompetitor(runOf(one.plain))], OPTIONS);
  const { flops, bytes, leastMs } = await profile(runOf(one.fused), { machine, warmUp: 1 });
  tf.dispose([...inputs, ids]);
  const { medianMs } = fused!;
  return {
    name: `${one.name}, ${pass}`,
    backend,
    shape: one.inputs.map((shape) => shape.join('×')).join(' · '),
    ...fused!,
    gflops: flops / medianMs / 1e6,
    gbps: bytes / medianMs / 1e6,
    ...(leastMs !== undefined && { roofShare: leastMs / medianMs }),
    baseline: BASELINE,
    ratio: plain!.medianMs / medianMs,
  };
}

export async function benchOps(backend: string): Promise<BenchRow[]> {
  const machine = await measureMachine();
  const rows: BenchRow[] = [];
  for (const one of operationPairs(isSoftwareGpu() || currentDevice()?.name === 'cpu')) {
    for (const pass of Object.keys(passes)) rows.push(await measurePass(pass, one, backend, machine));
  }
  return rows;
}
