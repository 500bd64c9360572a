/**
 * @file Attention without ever writing down the scores: exact, with memory linear in the length.
 * Dao et al. 2022 (FlashAttention), Dao 2023 (FlashAttention-2).
 *
 * Shapes: B batch, H heads, K key/value heads, T queries, U keys, S head size.
 */
import { tf, type Tensor, type Tensor4D } from '../../backend/index.ts';
import { withGradient } from '../with-gradient.ts';
import { hasAttentionKernel, runAttentionKernel } from './kernel.ts';
import { attentionProblem, firstKeys, type AttentionProblem, type FusedAttentionOptions } from './problem.ts';
import { attentionReference } from './reference.ts';
import './tensorflow.ts';

export * from './blockwise.ts';
export { dropoutFactors, rowHash, weightHash, type AttentionDropout } from './dropout.ts';
export { RowBlockAttention, type RowBlockOptions } from './row-blocks.ts';
export * from './kernel.ts';
export * from './lesson.wgsl.ts';
export * from './mask-rule.ts';
export * from './online-softmax.ts';
export * from './problem.ts';
export { attentionReference, distances } from './reference.ts';
export * from './shader-text.ts';
export * from './tile-map.ts';
export * from './traffic.ts';
export { WasmAttention } from './wasm.ts';
export { WebGpuAttention } from './webgpu.ts';

/**
 * dropout(softmax(cap(q kᵀ · scale) + ALiBi + bias + mask)) v, in one kernel where the running backend has one that takes the
 * problem, else by `attentionReference`.
 *
 * When K < H, each run of H/K neighbouring query heads shares one key/value head. A query that sees no key gets zeros.
 * What is not finite stays in its batch entry and in the heads that share its key/value head. A query with NaN, and a query
 * that sees a key with NaN, get a row of NaN; a value that is not finite makes its column so for the queries that see it. (So
 * may queries of the same tile become that do not see the key: 0 · NaN is NaN.) A score of −∞ hides the key, one of +∞ gives
 * NaN.
 *
 * Kept for the gradient: the inputs, the output, and one number a query, L = log Σ exp(score); the weights are computed again
 * from it. With D = rowsum(dO ∘ O): dV = PᵀdO, dS = P ∘ (dO Vᵀ − D), dQ = dS K · scale, dK = dSᵀ Q · scale.
 *
 * @param q [B, H, T, S]
 * @param k [B, K, U, S], K divides H
 * @param v [B, K, U, S]
 * @returns [B, H, T, S]
 * @throws RangeError when shapes or options do not belong together, naming the axis or the option.
 */
export function fusedAttention(q: Tensor4D, k: Tensor4D, v: Tensor4D, options: FusedAttentionOptions = {}): Tensor4D {
  return kernelAttention(q, k, v, options) ?? attentionReference(q, k, v, options);
}

/** The same on a kernel of the running backend, or undefined where it has none that takes the problem. */
export function kernelAttention(q: Tensor4D, k: Tensor4D, v: Tensor4D, options: FusedAttentionOptions): Tensor4D | undefined {
  const problem = attentionProblem(q, k, v, options);
  const { keys, keyCapacity } = problem;
  if (keys < keyCapacity && tf.engine().isTapeOn()) {
    return kernelAttention(q, firstKeys(k, keys), firstKeys(v, keys), options);
  }
  if (!hasAttentionKernel(problem)) return undefined;
  const { bias } = options;
  return withGradient<Tensor4D>(bias ? [q, k, v, bias] : [q, k, v], (save) => {
    const [output, logSumExp] = runAttentionKernel('FusedAttention', { q, k, v, ...(bias && { bias }) }, problem);
    save(q, k, v, output!, logSumExp!, ...(bias ? [bias] : []));
    return { value: output as Tensor4D, gradient: (outputGradient, saved) => gradients(problem, outputGradient, saved) };
  });
}

function gradients(problem: AttentionProblem, outputGradient: Tensor, saved: Tensor[]): (Tensor | (() => Tensor))[] {
  const [q, k, v, output, logSumExp, bias] = saved as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor?];
  const inputs = { q, k, v, output, logSumExp, outputGradient, ...(bias && { bias }) };
  const ofInputs = runAttentionKernel('FusedAttentionGradient', inputs, problem);
  const ofBias = (): Tensor => runAttentionKernel('FusedAttentionBiasGradient', inputs, problem)[0]!;
  return bias ? [...ofInputs, ofBias] : ofInputs;
}
