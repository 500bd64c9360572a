/**
 * @file Linear layers whose weights stay packed: they take the place of a `Linear`, and the weights become floats only where
 * they are multiplied.
 *
 * Shapes: O outputs, I inputs, G groups of a row.
 */
import { tf, type Tensor, type Tensor2D, type Variable } from '../backend/index.ts';
import { Layer, parameter } from '../nn/index.ts';
import {
  dequantize,
  packedLayout,
  quantizedMatmul,
  quantizedWeights,
  type PackedLayout,
  type PackedWeights,
  type QuantizedWeights,
} from '../ops/index.ts';

/** What all layers with quantized weights have in common. */
export abstract class QuantizedLayer extends Layer {
  abstract readonly inputs: number;
  abstract readonly outputs: number;
  /** [O] */
  abstract bias: Variable<tf.Rank.R1> | null;

  /** The weights as floats, [O, I]; yours to dispose of. */
  abstract weight(): Tensor2D;

  /** What the weights take, in bytes; the bias not counted. */
  get bytes(): number {
    return this.#ownParameters().reduce((sum, { size }) => sum + 4 * size, 0);
  }

  get bitsPerWeight(): number {
    return (8 * this.bytes) / (this.inputs * this.outputs);
  }

  /** Frees the weights, and leaves the bias to the layer that this one took the place of. */
  disposeWeights(): void {
    for (const variable of this.#ownParameters()) variable.dispose();
  }

  #ownParameters(): Variable[] {
    return this.parameters().filter((variable) => variable !== this.bias);
  }
}

export interface QuantizedLinearOptions {
  /** [O]; taken over, not copied. */
  readonly bias?: Variable<tf.Rank.R1> | null;
  /**
   * What x is multiplied by before the product, [I]: AWQ's 1/s, where the weights were multiplied by s. (Its authors fold it
   * into the layer before.)
   */
  readonly inputFactors?: Float32Array | null;
}

/** y = x Wᵀ + b over the last axis of x, the weights on uniform grids: RTN, GPTQ, AWQ. They are not trained. */
export class QuantizedLinear extends QuantizedLayer {
  readonly layout: PackedLayout;
  /** [O, words in a row] int32 */
  words: Variable<tf.Rank.R2>;
  /** [O, G] */
  scales: Variable<tf.Rank.R2>;
  /** [O, G], or null where all are 2^(bits − 1) */
  zeros: Variable<tf.Rank.R2> | null;
  /** [I] int32: the input at each place, where groups are not runs of neighbours. */
  orderInputs: Variable<tf.Rank.R1> | null;
  /** [I] int32: the place of each input. */
  orderPlaces: Variable<tf.Rank.R1> | null;
  inputFactors: Variable<tf.Rank.R1> | null;
  override bias: Variable<tf.Rank.R1> | null;

  constructor(packed: PackedWeights, { bias = null, inputFactors = null }: QuantizedLinearOptions = {}) {
    super();
    const { layout, words, scales, zeros, order } = quantizedWeights(packed);
    this.layout = layout;
    this.words = frozen(words);
    this.scales = frozen(scales);
    this.zeros = zeros && frozen(zeros);
    this.orderInputs = order && frozen(order.inputs);
    this.orderPlaces = order && frozen(order.places);
    this.inputFactors = inputFactors && frozen(tf.tensor1d(inputFactors));
    this.bias = bias;
  }

  override get inputs(): number {
    return this.layout.inputs;
  }

  override get outputs(): number {
    return this.layout.outputs;
  }

  /**
   * @param x [..., I]
   * @returns [..., O]
   */
  override forward<T extends Tensor>(x: T): T {
    const { inputFactors: factors, bias } = this;
    if (!factors) return quantizedMatmul(x, this.#weights(), bias);
    return tf.tidy(() => quantizedMatmul(tf.mul<T>(x, factors), this.#weights(), bias));
  }

  override weight(): Tensor2D {
    return tf.tidy(() => {
      const floats = dequantize(this.#weights());
      return this.inputFactors ? tf.mul<Tensor2D>(floats, this.inputFactors) : floats;
    });
  }

  /** The packed weights, back from the device; without the input factors. */
  async packed(): Promise<PackedWeights> {
    const { outputs, inputs, bits, groupSize } = packedLayout(this.layout);
    const floats = async (tensor: Tensor): Promise<Float32Array> => (await tensor.data<'float32'>()).slice();
    const integers = async (tensor: Tensor): Promise<Int32Array> => (await tensor.data<'int32'>()).slice();
    return {
      outputs,
      inputs,
      bits,
      groupSize,
      words: await integers(this.words),
      scales: await floats(this.scales),
      zeros: this.zeros && (await floats(this.zeros)),
      order: this.orderInputs && (await integers(this.orderInputs)),
    };
  }

  #weights(): QuantizedWeights {
    const { layout, words, scales, zeros, orderInputs: inputs, orderPlaces: places } = this;
    return { layout, words, scales, zeros, order: inputs && places && { inputs, places } };
  }
}

/** A tensor of the caller's as a parameter that is not trained. */
export function frozen<R extends tf.Rank>(tensor: Tensor<R>): Variable<R> {
  return parameter(tensor, { trainable: false });
}
