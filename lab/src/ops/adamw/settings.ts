/** @file What the AdamW kernels are told besides the tensors. */

export interface AdamWSettings {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Infinity for none */
  readonly clipNorm: number;
  /** The tensors of group i are `first${i}` and `second${i}`, and of each of its parameters `value.${name}`, `gradient.${name}`. */
  readonly groups: readonly {
    readonly parameters: readonly string[];
    readonly decay: number;
    readonly rate: number;
    readonly correction: number;
  }[];
}

/** What gradients of that length together are multiplied by. The small number is PyTorch's: a length of zero divides by something. */
export function clipFactor(length: number, maximum: number): number {
  return Math.min(1, maximum / (length + 1e-6));
}
