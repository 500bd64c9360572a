/**
 * @file An operation that brings its own derivative, so that the tape keeps what the formula needs and nothing else.
 */
import { tf, type Tensor } from '../backend/index.ts';

/** What an operation gives: its value, and the gradient of the loss for every input from that for the output. */
export interface Differentiable<T extends Tensor> {
  readonly value: T;
  /** @param saved what was handed to `save`, in that order; returns one gradient for each input, of the input's shape */
  readonly gradient: (outputGradient: T, saved: Tensor[]) => Tensor[];
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
  const operation = tf.customGrad<T>((...inputsAndSave) => {
    const save = inputsAndSave.at(-1) as (tensors: Tensor[]) => void;
    const { value, gradient } = forward((...tensors) => save(tensors), wanted);
    return { value, gradFunc: gradient };
  });
  return operation(...inputs);
}

/** Sums over every axis but the last: how the gradient of something that was broadcast over rows is collected. */
export function sumOverRows(x: Tensor): Tensor {
  return tf.sum(tf.reshape(x, [-1, x.shape.at(-1)!]), 0);
}
