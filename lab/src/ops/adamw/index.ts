/**
 * @file AdamW for all parameters in one call, where the running backend has a kernel for it. What it computes, in plain tensor
 * operations, is train/adamw.ts. Loshchilov and Hutter 2019, algorithm 2.
 */
import type { Tensor, Tensor1D, Variable } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { fusedKernel } from '../fused.ts';
import type { AdamWSettings } from './settings.ts';
import './wasm.ts';
import './webgpu.ts';

export { clipFactor, type AdamWSettings } from './settings.ts';

/** Parameters whose moments lie one behind the other in two rows. Nobody else may hold the data of what is changed. */
export interface AdamWGroup {
  /** Changed in place. */
  readonly values: readonly Variable[];
  /** One for each value, of its shape. */
  readonly gradients: readonly Tensor[];
  /** m in the papers: [elements of the group], changed in place. */
  readonly firstMoment: Tensor1D;
  /** v in the papers: [elements of the group], changed in place. */
  readonly secondMoment: Tensor1D;
  /** What the values are multiplied by before the step: 1 − learningRate · weightDecay. */
  readonly decay: number;
  /** learningRate / (1 − β₁ᵗ) */
  readonly rate: number;
  /** 1 / √(1 − β₂ᵗ) */
  readonly correction: number;
}

export interface AdamWNumbers {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** All gradients together are shortened to this length; Infinity for never. */
  readonly clipNorm: number;
}

/** Whether the running backend has a kernel for it. */
export function hasFusedAdamW(): boolean {
  return fusedKernel('adamw') !== undefined;
}

/**
 * One step for all groups.
 *
 * @throws RangeError when the running backend has no kernel for it.
 */
export function fusedAdamW(groups: readonly AdamWGroup[], numbers: AdamWNumbers): void {
  const fused = fusedKernel('adamw');
  invariant(fused, 'fusedAdamW: the running backend has no kernel for it');
  const inputs: Record<string, Tensor> = {};
  const settings: AdamWSettings = {
    ...numbers,
    groups: groups.map(({ values, gradients, firstMoment, secondMoment, decay, rate, correction }, i) => {
      inputs[`first${i}`] = firstMoment;
      inputs[`second${i}`] = secondMoment;
      const parameters = values.map((value, j) => {
        const name = `${i}.${j}`;
        inputs[`value.${name}`] = value;
        inputs[`gradient.${name}`] = gradients[j]!;
        return name;
      });
      return { parameters, decay, rate, correction };
    }),
  };
  for (const output of fused(inputs, settings)) output.dispose();
}
