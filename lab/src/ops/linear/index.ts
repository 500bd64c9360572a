/**
 * @file The linear layer: every output is a weighted sum of the inputs.
 *
 * Shapes: N rows (any leading axes multiplied), I inputs, O outputs.
 */
import { tf, type Tensor, type Tensor1D, type Tensor2D } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { fusedKernel } from '../fused.ts';
import { sumOverRows, withGradient } from '../with-gradient.ts';
import './tensorflow.ts';
import './wasm.ts';

/**
 * x Wᵀ + b. The leading axes are multiplied into one: a product of two matrices is the fastest thing any backend does.
 *
 * dx = dy W, dW = dyᵀ x, db = Σ dy. Kept for it: x and W.
 *
 * @param x [..., I]
 * @param weight [O, I], as in PyTorch
 * @param bias [O], or null for none
 * @returns [..., O]
 * @throws RangeError when the sizes do not fit each other.
 */
export function linear<T extends Tensor>(x: T, weight: Tensor2D, bias: Tensor1D | null = null): T {
  checkLinear('linear', x, weight, bias);
  return withGradient<T>(bias ? [x, weight, bias] : [x, weight], (save) => {
    save(x, weight);
    return {
      value: linearForward(x, weight, bias) as T,
      gradient: (dy, [savedX, savedWeight]) => linearBackward(savedX!, savedWeight as Tensor2D, dy, { bias: bias !== null }),
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

/** [..., I] → [N, I] */
function rowsOf(x: Tensor): Tensor2D {
  return (x.rank === 2 ? x : tf.reshape(x, [-1, x.shape.at(-1)!])) as Tensor2D;
}

/** Off the tape: x Wᵀ + b. */
function linearForward(x: Tensor, weight: Tensor2D, bias: Tensor1D | null): Tensor {
  const fused = fusedKernel('linear');
  if (fused) return fused({ x, weight, bias })[0]!;
  const product = tf.matMul(rowsOf(x), weight, false, true);
  return tf.reshape(bias ? tf.add(product, bias) : product, [...x.shape.slice(0, -1), weight.shape[0]]);
}

/** Off the tape: [dx, dW], and db if there is a bias. */
function linearBackward(x: Tensor, weight: Tensor2D, dy: Tensor, { bias }: { readonly bias: boolean }): Tensor[] {
  const fused = fusedKernel('linearGradient');
  if (fused) return fused({ x, weight, dy }, { bias });
  const rows = rowsOf(dy);
  const gradients = [tf.reshape(tf.matMul(rows, weight), x.shape), tf.matMul(rows, rowsOf(x), true, false)];
  return bias ? [...gradients, sumOverRows(dy)] : gradients;
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
