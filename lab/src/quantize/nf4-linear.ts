/**
 * @file A linear layer with weights in NF4, as QLoRA keeps a frozen model: 4 bits a weight, and a size for every block of 64.
 *
 * Shapes: O outputs, I inputs, B blocks in a row.
 */
import { tf, type Tensor, type Tensor2D, type Variable } from '../backend/index.ts';
import {
  dequantize,
  linear,
  packedLayout,
  packWeights,
  quantizedWeights,
  withGradient,
  type PackedLayout,
} from '../ops/index.ts';
import { NF4_VALUES, type DoubleQuantized, type NF4Matrix } from './nf4.ts';
import { frozen, QuantizedLayer } from './quantized-linear.ts';

/** Packed numbers: layout, words [rows, words in a row], scales [rows, 1]. */
interface PackedNumbers {
  readonly layout: PackedLayout;
  readonly words: Variable<tf.Rank.R2>;
  readonly scales: Variable<tf.Rank.R2>;
}

/**
 * y = x Wᵀ + b, dx = dy W. The floats are made anew for every product, on the way back too, by looking the codes up: this saves
 * memory, not time.
 */
export class NF4Linear extends QuantizedLayer {
  override readonly inputs: number;
  override readonly outputs: number;
  readonly groupSize: number;
  /** [O, words in a row] int32: the codes as a grid of 4 bits whose scales are 1. */
  words: Variable<tf.Rank.R2>;
  /** [16] */
  values: Variable<tf.Rank.R1>;
  /** [O · B] floats; null with double quantization. */
  sizes: Variable<tf.Rank.R1> | null = null;
  /**
   * With double quantization the sizes' codes, packed in rows of a group each, [groups, words], and their scales [groups, 1].
   */
  sizeWords: Variable<tf.Rank.R2> | null = null;
  sizeScales: Variable<tf.Rank.R2> | null = null;
  readonly #sizeLayout: PackedLayout | null = null;
  readonly #meanSize: number = 0;
  override bias: Variable<tf.Rank.R1> | null;

  constructor(matrix: NF4Matrix, bias: Variable<tf.Rank.R1> | null = null) {
    super();
    const { outputs, inputs, groupSize, codes, sizes } = matrix;
    this.inputs = inputs;
    this.outputs = outputs;
    this.groupSize = groupSize;
    const { words } = packWeights(codes, { outputs, inputs, bits: 4, scales: new Float32Array(outputs).fill(1) });
    this.words = frozen(tf.tensor2d(words, [outputs, words.length / outputs], 'int32'));
    this.values = frozen(tf.tensor1d([...NF4_VALUES]));
    if (sizes instanceof Float32Array) this.sizes = frozen(tf.tensor1d(sizes));
    else {
      const packed = packSizes(sizes);
      this.#sizeLayout = packed.layout;
      this.sizeWords = packed.words;
      this.sizeScales = packed.scales;
      this.#meanSize = sizes.mean;
    }
    this.bias = bias;
  }

  override forward<T extends Tensor>(x: T): T {
    const { bias } = this;
    return withGradient<T>(bias ? [x, bias] : [x], (_, [ofX = false, ofBias = false]) => ({
      value: tf.tidy(() => linear(x, this.weight(), bias)),
      gradient: (dy) => [
        ofX ? () => tf.reshape(tf.matMul(rowsOf(dy, this.outputs), this.weight()), x.shape) : null,
        ...(bias ? [ofBias ? () => tf.sum(rowsOf(dy, this.outputs), 0) : null] : []),
      ],
    }));
  }

  override weight(): Tensor2D {
    const { outputs, inputs, groupSize } = this;
    return tf.tidy(() => {
      const layout = packedLayout({ outputs, inputs, bits: 4, groupSize: inputs });
      const [scales, zeros] = [tf.ones<tf.Rank.R2>([outputs, 1]), tf.zeros<tf.Rank.R2>([outputs, 1])];
      const codes = dequantize({ layout, words: this.words, scales, zeros, order: null });
      const values = tf.gather(this.values, tf.cast(tf.reshape(codes, [-1]), 'int32'));
      const sized = tf.mul(tf.reshape(values, [-1, groupSize]), tf.reshape(this.#sizes(), [-1, 1]));
      return tf.reshape(sized, [outputs, inputs]);
    });
  }

  /** [O · B] */
  #sizes(): Tensor {
    if (this.sizes) return this.sizes;
    const floats = dequantize({
      layout: this.#sizeLayout!,
      words: this.sizeWords!,
      scales: this.sizeScales!,
      zeros: null,
      order: null,
    });
    const count = (this.outputs * this.inputs) / this.groupSize;
    return tf.add(tf.slice(tf.reshape(floats, [-1]), 0, count), this.#meanSize);
  }
}

/** [..., O] → [N, O] */
const rowsOf = (x: Tensor, outputs: number): Tensor2D => tf.reshape(x, [-1, outputs]);

/** The last group is filled up with zeros. */
function packSizes({ codes, scales, groupSize }: DoubleQuantized): PackedNumbers {
  const padded = new Int8Array(scales.length * groupSize);
  padded.set(codes);
  const packed = quantizedWeights(packWeights(padded, { outputs: scales.length, inputs: groupSize, bits: 8, scales }));
  return { layout: packed.layout, words: frozen(packed.words), scales: frozen(packed.scales) };
}
