/**
 * @file A linear layer in training for a life in few bits: it computes with fake-quantized weights and inputs, and trains the
 * float weights behind them. Liu et al. 2023 (LLM-QAT), section 3.2.
 */
import { tf, type Tensor, type Tensor2D, type Variable } from '../../backend/index.ts';
import { Layer, type Linear } from '../../nn/index.ts';
import { linear } from '../../ops/index.ts';
import { fakeQuantize, type FakeQuantizeOptions } from './fake-quantize.ts';

/** Bits of what a layer handles; null: floats. */
export interface LayerBits {
  /** Per output channel. */
  readonly weights: number | null;
  /** Of the inputs, per token. */
  readonly activations: number | null;
  /** Of the outputs, per token, over the whole width: for keys and values, before they are split into heads and turned. */
  readonly outputs: number | null;
}

/** `fakeQuantize`, or another function of the same contract. */
export type FakeQuantizer = <T extends Tensor>(x: T, options: FakeQuantizeOptions) => T;

export interface FakeQuantLinearOptions extends LayerBits {
  /** See `FakeQuantizeOptions`. */
  readonly gradientLimit?: number | undefined;
  /** `fakeQuantize` unless told. */
  readonly quantizer?: FakeQuantizer | undefined;
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
    const { weights, activations, outputs, gradientLimit = Infinity, quantizer = fakeQuantize } = this.settings;
    const put = <X extends Tensor>(values: X, bits: number | null): X =>
      bits === null ? values : quantizer(values, { bits, gradientLimit });
    return tf.tidy(() => put(linear(put(x, activations), put<Tensor2D>(this.weight, weights), this.bias), outputs));
  }
}
