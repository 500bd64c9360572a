/**
 * @file The MLP of GPT-2 as one operation: widen, bend by GELU, narrow again. Kept are the bent values and GELU's derivative,
 * so that nothing is bent twice. Vaswani et al. 2017, section 3.3; Hendrycks and Gimpel 2016.
 *
 * Shapes: N rows (any leading axes multiplied), I inputs, M hidden, O outputs.
 */
import { tf, type Tensor, type Tensor1D, type Tensor2D } from '../../backend/index.ts';
import { gelu, geluReference } from '../activation/index.ts';
import { fusedKernel, type FusedKernel } from '../fused.ts';
import { checkLinear, keptOfLinear, linear, linearGradients, linearReference } from '../linear/index.ts';
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
  const forward = fusedKernel('linear');
  if (forward && fusedKernel('linearGradient')) return fusedMLP(x, up, down, forward);
  return tf.tidy(() => linear(gelu(linear(x, up.weight, up.bias)), down.weight, down.bias));
}

/**
 * dh = (dy W₂) ∘ gelu′, and from dh what a linear layer's gradients are; what only frozen weights would need is neither kept nor
 * computed.
 */
function fusedMLP<T extends Tensor>(x: T, up: LinearWeights, down: LinearWeights, forward: FusedKernel): T {
  const inputs: readonly (Tensor | null)[] = [x, up.weight, up.bias, down.weight, down.bias];
  const present = inputs.filter((tensor) => tensor !== null);
  return withGradient<T>(present, (save, wanted) => {
    const wants = (input: Tensor | null): boolean => input !== null && wanted[present.indexOf(input)]!;
    const ofUp = { x: wants(x), weight: wants(up.weight), bias: wants(up.bias) };
    const ofDown = { x: ofUp.x || ofUp.weight || ofUp.bias, weight: wants(down.weight), bias: wants(down.bias) };
    const [bent, derivative] = forward({ x, ...up }, { gelu: true, derivative: ofDown.x });
    checkLinear('geluMLP', bent!, down.weight, down.bias);
    const [value] = forward({ x: bent!, ...down });
    const keptOfDown = keptOfLinear(bent!, down.weight, ofDown);
    save(...keptOfDown, ...keptOfLinear(x, up.weight, ofUp), ...(ofDown.x ? [derivative!] : []));
    return {
      value: value as T,
      gradient: (dy, saved) => {
        const [dh, ...rest] = linearGradients(dy, saved.slice(0, keptOfDown.length), ofDown, ofDown.x ? saved.at(-1) : undefined);
        const first = dh ? linearGradients(dh, saved.slice(keptOfDown.length), ofUp) : [null, null, null];
        dh?.dispose();
        return [...first, ...rest].filter((_, i) => inputs[i] !== null);
      },
    };
  });
}

/** `geluMLP` in plain tensor operations, differentiated by the tape: what it is tested against. */
export function geluMLPReference(x: Tensor, up: LinearWeights, down: LinearWeights): Tensor {
  return linearReference(geluReference(linearReference(x, up.weight, up.bias)), down.weight, down.bias);
}
