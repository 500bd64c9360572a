/**
 * @file (IA)³: every output of a layer, or every input, is multiplied by a trained number, one at first. Liu et al. 2022,
 * section 3.3.
 *
 * Shapes: O outputs, I inputs.
 */
import { tf, type Tensor, type Variable } from '../backend/index.ts';
import { type Linear, parameter } from '../nn/index.ts';
import { AdaptedLinear, floatWeight, linearOf, type LinearLayer, type MergeOptions } from './wrapper.ts';

export class IA3Linear extends AdaptedLinear {
  /** The inputs are scaled: W (l ∘ x) + b; else the outputs with their bias: l ∘ (W x + b). */
  readonly scalesInput: boolean;
  /** l, [I] or [O] */
  factors: Variable<tf.Rank.R1>;

  constructor(base: LinearLayer, scalesInput: boolean) {
    super(base);
    this.scalesInput = scalesInput;
    this.factors = parameter(tf.ones<tf.Rank.R1>([scalesInput ? base.inputs : base.outputs]));
  }

  /** @param x [..., I] */
  override forward<T extends Tensor>(x: T): T {
    const { base, factors } = this;
    return tf.tidy(() =>
      this.scalesInput ? base.forward(tf.mul(x, factors) as Tensor as T) : (tf.mul(base.forward(x), factors) as Tensor as T),
    );
  }

  override merged(options: MergeOptions): Linear {
    this.checkMerge(options);
    const { base, factors, scalesInput } = this;
    const weight = tf.tidy(() =>
      tf.mul<Tensor<tf.Rank.R2>>(floatWeight(base), scalesInput ? factors : tf.reshape(factors, [-1, 1])),
    );
    const { bias } = base;
    if (scalesInput || !bias) return linearOf(weight, bias);
    return linearOf(
      weight,
      parameter(
        tf.tidy(() => tf.mul<Tensor<tf.Rank.R1>>(bias, factors)),
        { trainable: false },
      ),
    );
  }
}
