/**
 * @file The Hessian of a linear layer's squared error, 2 X Xᵀ averaged over the calibration tokens: which inputs go together, and
 * how strong they are. The same for every output. Frantar et al. 2022 (GPTQ), section 3.
 */
import { offTape, tf, type Tensor, type Tensor2D } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import { rowsOf } from '../ops/rows.ts';

/** Adds up, a batch at a time, as a running average: so the sum does not outgrow single precision. */
export class HessianAverage {
  readonly inputs: number;
  #average: Tensor2D;
  #tokens = 0;

  constructor(inputs: number) {
    this.inputs = inputs;
    this.#average = tf.keep(tf.zeros([inputs, inputs]));
  }

  /** How many tokens were seen. */
  get tokens(): number {
    return this.#tokens;
  }

  /** @param x [..., inputs] */
  add(x: Tensor): void {
    invariant(x.shape.at(-1) === this.inputs, () => `HessianAverage: x [${x.shape}] must end in ${this.inputs}`);
    const before = this.#average;
    const count = x.size / this.inputs;
    const all = this.#tokens + count;
    this.#average = offTape(() =>
      tf.tidy(() => {
        const rows = rowsOf(x);
        const product = tf.matMul<Tensor2D>(rows, rows, true, false);
        return tf.keep(tf.add<Tensor2D>(tf.mul(before, this.#tokens / all), tf.mul(product, 2 / all)));
      }),
    );
    this.#tokens = all;
    before.dispose();
  }

  /** [inputs, inputs] */
  async values(): Promise<Float32Array> {
    return (await this.#average.data<'float32'>()).slice();
  }

  dispose(): void {
    this.#average.dispose();
  }
}

/** ‖X(Q − W)ᵀ‖² / ‖X Wᵀ‖², from the Hessian of X: the share of a layer's output that quantization turned into noise. */
export async function relativeOutputError(
  weights: Float32Array,
  quantized: Float32Array,
  hessian: ArrayLike<number>,
): Promise<number> {
  const inputs = Math.sqrt(hessian.length);
  const [noise, signal] = offTape(() =>
    tf.tidy(() => {
      const W = tf.tensor2d(weights, [weights.length / inputs, inputs]);
      const change = tf.sub(tf.tensor2d(quantized, [weights.length / inputs, inputs]), W);
      const H = tf.tensor2d(Float32Array.from(hessian), [inputs, inputs]);
      return [change, W].map((x) => tf.sum(tf.mul(tf.matMul(x as Tensor2D, H), x)));
    }),
  ) as [Tensor, Tensor];
  const found = (await noise.data())[0]! / (await signal.data())[0]!;
  tf.dispose([noise, signal]);
  return Number.isFinite(found) ? Math.max(0, found) : 0;
}
