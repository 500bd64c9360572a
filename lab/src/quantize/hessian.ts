/**
 * @file The Hessian of a linear layer's squared error, 2 X Xᵀ averaged over the calibration tokens: which inputs go together,
 * and how strong they are. The same for every output. Frantar et al. 2022 (GPTQ), section 3.
 */
import { offTape, tf, type Tensor, type Tensor1D, type Tensor2D } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import { rowsOf } from '../ops/rows.ts';

/** Adds up, a batch at a time, as a running average: so the sum does not outgrow single precision. */
export class HessianAverage {
  readonly inputs: number;
  #average: Tensor2D;
  #sizes: Tensor1D;
  #tokens = 0;

  constructor(inputs: number) {
    this.inputs = inputs;
    this.#average = tf.keep(tf.zeros([inputs, inputs]));
    this.#sizes = tf.keep(tf.zeros([inputs]));
  }

  /** How many tokens were seen. */
  get tokens(): number {
    return this.#tokens;
  }

  /** @param x [..., inputs] */
  add(x: Tensor): void {
    invariant(x.shape.at(-1) === this.inputs, () => `HessianAverage: x [${x.shape}] must end in ${this.inputs}`);
    const before = [this.#average, this.#sizes] as const;
    const count = x.size / this.inputs;
    const all = this.#tokens + count;
    const kept = this.#tokens / all;
    offTape(() =>
      tf.tidy(() => {
        const rows = rowsOf(x);
        const product = tf.matMul<Tensor2D>(rows, rows, true, false);
        const sizes = tf.sum<Tensor1D>(tf.abs(rows), 0);
        this.#average = tf.keep(tf.add<Tensor2D>(tf.mul(before[0], kept), tf.mul(product, 2 / all)));
        this.#sizes = tf.keep(tf.add<Tensor1D>(tf.mul(before[1], kept), tf.mul(sizes, 1 / all)));
      }),
    );
    this.#tokens = all;
    tf.dispose([...before]);
  }

  /** [inputs, inputs] */
  async values(): Promise<Float32Array> {
    return (await this.#average.data<'float32'>()).slice();
  }

  /** The mean size |x| of each input, [inputs]: what AWQ judges them by. */
  async meanSizes(): Promise<Float32Array> {
    return (await this.#sizes.data<'float32'>()).slice();
  }

  dispose(): void {
    tf.dispose([this.#average, this.#sizes]);
  }
}

/**
 * ‖X Aᵀ‖² · 2/n, from the Hessian of X: how much comes out of a layer with the weights A, over all tokens.
 *
 * @param weights A [outputs, inputs]
 * @param hessian [inputs, inputs]
 */
export async function outputEnergy(weights: Float32Array, hessian: Tensor2D): Promise<number> {
  const inputs = hessian.shape[0];
  const energy = offTape(() =>
    tf.tidy(() => {
      const A = tf.tensor2d(weights, [weights.length / inputs, inputs]);
      return tf.sum(tf.mul(tf.matMul(A, hessian), A));
    }),
  );
  const [found] = await energy.data();
  energy.dispose();
  return found!;
}

/** ‖X(Q − W)ᵀ‖² / ‖X Wᵀ‖²: the share of a layer's output that quantization turned into noise; 0 where nothing comes out. */
export async function relativeOutputError(
  weights: Float32Array,
  quantized: Float32Array,
  hessian: ArrayLike<number>,
): Promise<number> {
  const inputs = Math.sqrt(hessian.length);
  const H = tf.tensor2d(Float32Array.from(hessian), [inputs, inputs]);
  try {
    const noise = await outputEnergy(
      quantized.map((value, i) => value - weights[i]!),
      H,
    );
    const signal = await outputEnergy(weights, H);
    return signal > 0 ? Math.max(0, noise / signal) : 0;
  } finally {
    H.dispose();
  }
}
