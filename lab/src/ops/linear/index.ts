/**
 * @file The linear layer: every output is a weighted sum of the inputs.
 *
 * Shapes: N rows (any leading axes multiplied), I inputs, O outputs.
 */
import { tf, type Tensor, type Tensor1D, type Tensor2D } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { fusedKernel } from '../fused.ts';
import { withGradient } from '../with-gradient.ts';
import { rowsOf, sumOverRows } from '../rows.ts';
import './tensorflow.ts';
import './wasm.ts';
import './webgpu.ts';

/**
 * x Wᵀ + b. The leading axes are multiplied into one: a product of two matrices is the fastest thing any backend does.
 *
 * dx = dy W, dW = dyᵀ x, db = Σ dy. Kept for it: x and W; of a frozen layer W alone.
 *
 * @param x [..., I]
 * @param weight [O, I], as in PyTorch
 * @param bias [O], or null for none
 * @returns [..., O]
 * @throws RangeError when the sizes do not fit each other.
 */
export function linear<T extends Tensor>(x: T, weight: Tensor2D, bias: Tensor1D | null = null): T {
  checkLinear('linear', x, weight, bias);
  return withGradient<T>(bias ? [x, weight, bias] : [x, weight], (save, [ofX = false, ofWeight = false, ofBias = false]) => {
    const wanted = { x: ofX, weight: ofWeight, bias: ofBias };
    save(...keptOfLinear(x, weight, wanted));
    return {
      value: linearForward(x, weight, bias) as T,
      gradient: (dy, saved) => linearGradients(dy, saved, wanted),
    };
  });
}

/** `linear` in plain tensor operations, differentiated by the tape: what it is tested against. */
export function linearReference(x: Tensor, weight: Tensor2D, bias: Tensor1D | null = null): Tensor {
  return tf.tidy(() => {
    const product = tf.matMul(rowsOf(x), weight, false, true);
    return (bias ? product.add(bias) : product).reshape([...x.shape.slice(0, -1), weight.shape[0]]);
  });
}

/** Off the tape: x Wᵀ + b. */
function linearForward(x: Tensor, weight: Tensor2D, bias: Tensor1D | null): Tensor {
  const fused = fusedKernel('linear');
  if (fused) return fused({ x, weight, bias })[0]!;
  const product = tf.matMul(rowsOf(x), weight, false, true);
  return tf.reshape(bias ? tf.add(product, bias) : product, [...x.shape.slice(0, -1), weight.shape[0]]);
}

/** Which gradients of a linear layer somebody wants. */
export interface WantedOfLinear {
  readonly x: boolean;
  readonly weight: boolean;
  readonly bias: boolean;
}

/** What the gradients that are wanted are made from, besides that of the output: x for dW, then W for dx. */
export function keptOfLinear(x: Tensor, weight: Tensor2D, wanted: WantedOfLinear): Tensor[] {
  return [...(wanted.weight ? [x] : []), ...(wanted.x ? [weight] : [])];
}

/**
 * Off the tape: the gradients that are wanted, for each of x, W and b; null for the others.
 *
 * @param dy [..., O]
 * @param kept what `keptOfLinear` says
 * @param factor [..., I], what dx is multiplied by: the derivative of what bent x
 */
export function linearGradients(dy: Tensor, kept: readonly Tensor[], wanted: WantedOfLinear, factor?: Tensor): (Tensor | null)[] {
  const [x, weight] = wanted.weight ? kept : [undefined, kept[0]];
  const fused = wanted.x && wanted.weight && fusedKernel('linearGradient');
  if (fused) {
    const gradients = fused({ x: x!, weight: weight!, dy, factor: factor ?? null }, { bias: wanted.bias });
    return wanted.bias ? gradients : [...gradients, null];
  }
  const rows = rowsOf(dy);
  const dx = wanted.x ? tf.reshape(tf.matMul(rows, weight as Tensor2D), [...dy.shape.slice(0, -1), weight!.shape[1]!]) : null;
  return [
    dx && factor ? tf.mul(dx, factor) : dx,
    wanted.weight ? tf.matMul(rows, rowsOf(x!), true, false) : null,
    wanted.bias ? sumOverRows(dy) : null,
  ];
}

/** @throws RangeError when the sizes do not fit each other. */
export function checkLinear(what: string, x: Tensor, weight: Tensor, bias: Tensor | null): void {
  const [outputs, inputs] = weight.shape;
  invariant(
    weight.rank === 2 && x.shape.at(-1) === inputs,
    () => `${what}: the last axis of x [${x.shape}] must be ${inputs}, the inputs of weight [${weight.shape}]`,
  );
  invariant(
    !bias || (bias.rank === 1 && bias.size === outputs),
    () => `${what}: weight is [${weight.shape}], so bias must be [${outputs}], got [${bias!.shape}]`,
  );
}
