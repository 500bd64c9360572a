/**
 * @file An operation that brings its own derivative, so that the tape keeps what the formula needs and nothing else.
 */
import { tf, wantedGradients, type Tensor } from '../backend/index.ts';
import { invariant } from '../base/index.ts';

/** What an operation gives: its value, and the gradient of the loss for every input from that for the output. */
export interface Differentiable<T extends Tensor> {
  readonly value: T;
  /**
   * @param saved what was handed to `save`, in that order
   * @returns one gradient for each input, of the input's shape; or what computes it, called only if somebody wants it, and in a
   *   tidy of its own; or null for an input whose gradient is not wanted
   */
  readonly gradient: (outputGradient: T, saved: Tensor[]) => (Tensor | (() => Tensor) | null)[];
}

/** The method behind `tf.customGrad`, which itself computes all gradients, wanted or not. */
interface Engine {
  runKernelFunc<T>(operation: {
    readonly inputs: Readonly<Record<string, Tensor>>;
    readonly forwardFunc: (backend: unknown, save: (tensors: Tensor[]) => void) => T;
    readonly backwardsFunc: (outputGradient: T, saved: Tensor[]) => Record<string, () => Tensor>;
  }): T;
}

/**
 * Runs `forward` off the tape and puts its `gradient` on it. Tensors that the gradient needs must go through `save`, inputs too:
 * everything else that `forward` makes is gone before the backward pass. `wanted` says of each input whether its gradient will be
 * asked for: what only the others need need not be saved nor computed. If none will be, nothing is saved.
 */
export function withGradient<T extends Tensor>(
  inputs: readonly Tensor[],
  forward: (save: (...tensors: Tensor[]) => void, wanted: readonly boolean[]) => Differentiable<T>,
): T {
  const wanted = wantedGradients(inputs);
  const any = wanted.includes(true);
  let gradient: Differentiable<T>['gradient'];
  return (tf.engine() as unknown as Engine).runKernelFunc<T>({
    inputs: Object.fromEntries(inputs.map((input, i) => [i, input])),
    forwardFunc: (_, save) => {
      const result = forward((...tensors) => any && save(tensors), wanted);
      gradient = result.gradient;
      return result.value;
    },
    backwardsFunc: (outputGradient, saved) => {
      const gradients = gradient(outputGradient, saved);
      return Object.fromEntries(gradients.map((g, i) => [i, typeof g === 'function' ? g : () => given(g)]));
    },
  });
}

function given(gradient: Tensor | null): Tensor {
  invariant(gradient, 'withGradient: a gradient was asked for that nobody wanted when the operation was recorded');
  return gradient;
}
