/**
 * @file A linear layer in training for a life in few bits: it computes with fake-quantized weights and inputs, and trains the
 * float weights behind them. Liu et al. 2023 (LLM-QAT), section 3.2.
 */
import { tf, type Tensor, type Variable } from '../../backend/index.ts';
import { Layer, type Linear } from '../../nn/index.ts';
import { linear } from '../../ops/index.ts';
import { fakeQuantize } from './fake-quantize.ts';

/** Bits of what a layer handles; null: floats. */
export interface LayerBits {
  /** Per output channel. */
  readonly weights: number | null;
  /** Of the inputs, per token. */
  readonly activations: number | null;
  /** Of the outputs, per token, over the whole width: for keys and values, before they are split into heads and turned. */
  readonly outputs: number | null;
}

export interface FakeQuantLinearOptions extends LayerBits {
  /** See `FakeQuantizeOptions`. */
  readonly gradientLimit?: number | undefined;
}

/** y = Q(x) Q(W)ᵀ + b over the last axis of x; Q is `fakeQuantize`. */
export class FakeQuantLinear extends Layer {
  readonly inputs: number;
  readonly outputs: number;
  /** The floats behind the grid, [outputs, inputs]. */
  weight: Variable<tf.Rank.R2>;
  /** [outputs] */
  bias: Variable<tf.Rank.R1> | null;
  /** May be changed at any time: the floats stay what they are. */
  settings: FakeQuantLinearOptions;

  /** @param layer its parameters are taken over, not copied: their paths stay the same */
  constructor({ inputs, outputs, weight, bias }: Linear, settings: FakeQuantLinearOptions) {
    super();
    this.inputs = inputs;
    this.outputs = outputs;
    this.weight = weight;
    this.bias = bias;
    this.settings = settings;
  }

  /**
   * @param x [..., inputs]
   * @returns [..., outputs]
   */
  override forward<T extends Tensor>(x: T): T {
    const { weights, activations, outputs, gradientLimit = Infinity } = this.settings;
    const put = <X extends Tensor>(values: X, bits: number | null): X =>
      bits === null ? values : fakeQuantize(values, { bits, gradientLimit });
    return tf.tidy(() => put(linear(put(x, activations), put(this.weight, weights) as Tensor as Variable<tf.Rank.R2>, this.bias), outputs));
  }
}
