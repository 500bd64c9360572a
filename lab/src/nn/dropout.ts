/**
 * @file Dropout: in training, forget a random share of the numbers and scale up the rest, so that nothing relies on one of them.
 * Srivastava et al. 2014.
 */
import { tf, type Tensor } from '../backend/index.ts';
import { invariant, type Random } from '../base/index.ts';
import { Layer } from './module.ts';
import { stream, type Randomness } from './parameter.ts';

export class Dropout extends Layer {
  readonly rate: number;
  /** Decides what is forgotten; its state is what must be saved to go on with the same sequence. */
  readonly random: Random;

  /**
   * @param rate the share to forget, 0 … 1 (1 excluded)
   * @param random seed or stream
   */
  constructor(rate: number, random: Randomness = 0) {
    super();
    invariant(rate >= 0 && rate < 1, `Dropout: the rate must be at least 0 and below 1, got ${rate}`);
    this.rate = rate;
    this.random = stream(random);
  }

  /** x itself when not training or when the rate is 0, else x with a share of zeros and the rest times 1/(1 − rate). */
  override forward<T extends Tensor>(x: T): T {
    if (!this.training || this.rate === 0) return x;
    const threshold = this.rate * 0x100000000;
    const kept = 1 / (1 - this.rate);
    const factors = new Float32Array(x.size);
    for (let i = 0; i < factors.length; i++) factors[i] = this.random.uint32() >= threshold ? kept : 0;
    return tf.tidy(() => tf.mul(x, tf.tensor(factors, x.shape)) as Tensor as T);
  }
}
