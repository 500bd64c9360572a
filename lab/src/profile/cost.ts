/**
 * @file What one call of a kernel costs by the formula: floating-point operations, and bytes that must at least be moved.
 *
 * Conventions: a multiply-add counts as two; a comparison, a square root, an exponential count as one each. Bytes are those of
 * the inputs, read once, and of the outputs, written once: what a perfect cache would leave.
 */

/** A tensor as far as costs go. */
export interface TensorShape {
  readonly shape: readonly number[];
  readonly dtype: string;
}

/** One call of a kernel. */
export interface KernelCall {
  /** TensorFlow.js's name of the operation: `BatchMatMul`; the lab's own begin with `lab.` */
  readonly name: string;
  /** By their names; absent ones left out. */
  readonly inputs: Readonly<Record<string, TensorShape>>;
  readonly outputs: readonly TensorShape[];
  readonly attributes: Readonly<Record<string, unknown>>;
}

export interface KernelCost {
  /** undefined when no formula is known. */
  readonly flops?: number;
  /** Read and written together. */
  readonly bytes: number;
}

/** What a formula may say; bytes are those of all inputs and outputs unless it does. */
export type CostFormula = (call: KernelCall) => { readonly flops?: number; readonly bytes?: number };

const formulas = new Map<string, CostFormula>();

/** Says what the kernels of these names cost: for kernels of your own, too. The last formula for a name counts. */
export function declareCost(names: readonly string[], formula: CostFormula): void {
  for (const name of names) formulas.set(name, formula);
}

/** The cost of a call, with the bytes of its tensors and no FLOPs when its kernel is not known. */
export function costOf(call: KernelCall): KernelCost {
  const { flops, bytes = bytesMoved(call) } = formulas.get(call.name)?.(call) ?? {};
  return { ...(flops !== undefined && { flops }), bytes };
}

export const sizeOf = ({ shape }: TensorShape): number => shape.reduce((product, n) => product * n, 1);

const BYTES: Readonly<Record<string, number>> = { bool: 1, complex64: 8 };

export const bytesOf = (tensor: TensorShape): number => sizeOf(tensor) * (BYTES[tensor.dtype] ?? 4);

/** All inputs and outputs once. A tensor that goes in twice counts twice. */
export function bytesMoved({ inputs, outputs }: KernelCall): number {
  return [...Object.values(inputs), ...outputs].reduce((sum, tensor) => sum + bytesOf(tensor), 0);
}
