/**
 * @file The MLP of GPT-2 as one operation: widen, bend by GELU, narrow again. Kept are the bent values and GELU's derivative,
 * so that nothing is bent twice. Vaswani et al. 2017, section 3.3; Hendrycks and Gimpel 2016.
 *
 * Shapes: N rows (any leading axes multiplied), I inputs, M hidden, O outputs.
 */
import { tf, type Tensor, type Tensor1D, type Tensor2D } from '../../backend/index.ts';
import { gelu, geluReference } from '../activation/index.ts';
import { fusedKernel, type FusedKernel } from '../fused.ts';
import { checkLinear, linear, linearReference } from '../linear/index.ts';
import { withGradient } from '../with-gradient.ts';

/** The weights of one linear layer. */
export interface LinearWeights {
  /** [outputs, inputs] */
  readonly weight: Tensor2D;
  /** [outputs] */
  readonly bias: Tensor1D | null;
}

/**
 * gelu(x W₁ᵀ + b₁) W₂ᵀ + b₂, GELU by its tanh formula.
 *
 * @param x [..., I]
 * @param up weight [M, I]
 * @param down weight [O, M]
 * @returns [..., O]
 * @throws RangeError when the sizes do not fit each other.
 */
export function geluMLP<T extends Tensor>(x: T, up: LinearWeights, down: LinearWeights): T {
  checkLinear('geluMLP', x, up.weight, up.bias);
  const [forward, backward] = [fusedKernel('linear'), fusedKernel('linearGradient')];
  if (forward && backward) return fusedMLP(x, up, down, forward, backward);
  return tf.tidy(() => linear(gelu(linear(x, up.weight, up.bias)), down.weight, down.bias));
}

function fusedMLP<T extends Tensor>(
  x: T,
  up: LinearWeights,
  down: LinearWeights,
  forward: FusedKernel,
  backward: FusedKernel,
): T {
  const inputs = [x, up.weight, up.bias, down.weight, down.bias].filter((tensor) => tensor !== null);
  return withGradient<T>(inputs, (save, wanted) => {
    const [bent, derivative] = forward({ x, ...up }, { gelu: true, derivative: wanted });
    checkLinear('geluMLP', bent!, down.weight, down.bias);
    const [value] = forward({ x: bent!, ...down });
    if (wanted) save(x, up.weight, bent!, derivative!, down.weight);
    return {
      value: value as T,
      gradient: (dy, [savedX, weight1, savedBent, factor, weight2]) => {
        const [du, ...ofDown] = backward(
          { x: savedBent!, weight: weight2!, dy, factor: factor! },
          { bias: down.bias !== null },
        );
        const ofUp = backward({ x: savedX!, weight: weight1!, dy: du! }, { bias: up.bias !== null });
        du!.dispose();
        return [...ofUp, ...ofDown];
      },
    };
  });
}

/** `geluMLP` in plain tensor operations, differentiated by the tape: what it is tested against. */
export function geluMLPReference(x: Tensor, up: LinearWeights, down: LinearWeights): Tensor {
  return linearReference(geluReference(linearReference(x, up.weight, up.bias)), down.weight, down.bias);
}
