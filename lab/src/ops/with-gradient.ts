/**
 * @file An operation that brings its own derivative, so that the tape keeps what the formula needs and nothing else.
 */
import { tf, type Tensor } from '../backend/index.ts';

/** What an operation gives: its value, and the gradient of the loss for every input from that for the output. */
export interface Differentiable<T extends Tensor> {
  readonly value: T;
  /**
   * @param saved what was handed to `save`, in that order
   * @returns one gradient for each input, of the input's shape; or what computes it, called only if somebody wants it, and in a
   *   tidy of its own
   */
  readonly gradient: (outputGradient: T, saved: Tensor[]) => (Tensor | (() => Tensor))[];
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
 * everything else that `forward` makes is gone before the backward pass. `wanted` says whether there will be one: what only the
 * gradient needs need not be computed otherwise.
 */
export function withGradient<T extends Tensor>(
  inputs: readonly Tensor[],
  forward: (save: (...tensors: Tensor[]) => void, wanted: boolean) => Differentiable<T>,
): T {
  const wanted = tf.engine().isTapeOn();
  let gradient: Differentiable<T>['gradient'];
  return (tf.engine() as unknown as Engine).runKernelFunc<T>({
    inputs: Object.fromEntries(inputs.map((input, i) => [i, input])),
    forwardFunc: (_, save) => {
      const result = forward((...tensors) => save(tensors), wanted);
      gradient = result.gradient;
      return result.value;
    },
    backwardsFunc: (outputGradient, saved) => {
      const gradients = gradient(outputGradient, saved);
      return Object.fromEntries(gradients.map((g, i) => [i, typeof g === 'function' ? g : () => g]));
    },
  });
}

/** Sums over every axis but the last: how the gradient of something that was broadcast over rows is collected. */
export function sumOverRows(x: Tensor): Tensor {
  return tf.sum(tf.reshape(x, [-1, x.shape.at(-1)!]), 0);
}
