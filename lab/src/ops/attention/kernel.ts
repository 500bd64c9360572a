/**
 * @file What a backend must bring to compute attention in one go: three functions, hung in as kernels of TensorFlow.js so that
 * its profiler sees them and its memory is theirs.
 *
 * Shapes: B batch, H heads, K key/value heads, T queries, U keys, S head size.
 */
import { tf, type BackendName, type Tensor } from '../../backend/index.ts';
import type { AttentionProblem } from './problem.ts';

type Info = tf.TensorInfo;

/** What goes into the forward pass. */
export interface AttentionInputs {
  /** [B, H, T, S] */
  readonly q: Info;
  /** [B, K, U, S] */
  readonly k: Info;
  /** [B, K, U, S] */
  readonly v: Info;
  /** Of the shape `biasShape` but for leading ones; there exactly when that is not null. */
  readonly bias?: Info;
}

/** What goes into the backward pass besides. */
export interface AttentionGradientInputs extends AttentionInputs {
  /** [B, H, T, S] */
  readonly output: Info;
  /** [B, H, T]; anything for a query that sees no key */
  readonly logSumExp: Info;
  /** [B, H, T, S] */
  readonly outputGradient: Info;
}

/** One backend's way to compute attention. */
export interface AttentionKernel {
  /** Whether it can do that; what it declines runs on the plain reference. */
  takes(problem: AttentionProblem): boolean;
  /**
   * The output [B, H, T, S], 0 for a query that sees no key, and the logarithm of each row's Σ exp(score) [B, H, T], over
   * the scores as they enter the softmax: scaled, capped, biased, hidden ones left out, dropout not yet there.
   */
  forward(problem: AttentionProblem, inputs: AttentionInputs): [output: Info, logSumExp: Info];
  /** The gradients of q, k and v, in their shapes. */
  backward(problem: AttentionProblem, inputs: AttentionGradientInputs): [dq: Info, dk: Info, dv: Info];
  /** The gradient of the bias, in its shape: Σ dS over the axes along which it was broadcast. */
  biasGradient(problem: AttentionProblem, inputs: AttentionGradientInputs): Info;
}

/** The names under which the kernels stand in TensorFlow.js's register. */
export const ATTENTION_KERNELS = ['FusedAttention', 'FusedAttentionGradient', 'FusedAttentionBiasGradient'] as const;

const kernels = new Map<string, AttentionKernel>();

/**
 * Has attention run on that kernel whenever that backend does.
 *
 * @returns what takes it out again
 */
export function registerAttentionKernel(backendName: BackendName, kernel: AttentionKernel): () => void {
  const [forward, backward, biasGradient] = ATTENTION_KERNELS;
  const register = (kernelName: string, run: (problem: AttentionProblem, inputs: never) => Info | Info[]): void =>
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: ({ inputs, attrs }) => run(attrs as unknown as AttentionProblem, inputs as never),
    });
  kernels.set(backendName, kernel);
  register(forward, (problem, inputs) => kernel.forward(problem, inputs));
  register(backward, (problem, inputs) => kernel.backward(problem, inputs));
  register(biasGradient, (problem, inputs) => kernel.biasGradient(problem, inputs));
  return () => {
    kernels.delete(backendName);
    for (const name of ATTENTION_KERNELS) tf.unregisterKernel(name, backendName);
  };
}

/** Whether the running backend has a kernel that takes the problem. */
export function hasAttentionKernel(problem: AttentionProblem): boolean {
  return kernels.get(tf.getBackend())?.takes(problem) ?? false;
}

type TensorMap = Readonly<Record<string, Tensor>>;

/** Runs one of the running backend's attention kernels. */
export function runAttentionKernel(
  name: (typeof ATTENTION_KERNELS)[number],
  inputs: TensorMap,
  problem: AttentionProblem,
): Tensor[] {
  const attributes = problem as unknown as tf.NamedAttrMap;
  const outputs = tf.engine().runKernel(name, inputs as tf.NamedTensorMap, attributes) as unknown as Tensor | Tensor[];
  return Array.isArray(outputs) ? outputs : [outputs];
}
