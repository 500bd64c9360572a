/**
 * @file The yardstick of `bench train`: one training step of a small GPT written in TensorFlow.js's plain operations, with
 * nothing of the lab's own above them, so that it measures the backend alone and runs on a stock one too.
 *
 * Shapes: B batch, T tokens, D width, H heads, S head size, V vocabulary.
 */
import { currentDevice, tf, type Scalar, type Tensor, type Tensor2D, type Variable } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import { isSoftwareGpu } from './measure.ts';

export interface YardstickSize {
  readonly batch: number;
  readonly tokens: number;
  readonly width: number;
  readonly heads: number;
  readonly layers: number;
  readonly vocabulary: number;
}

/** 842,496 parameters on 16 × 128 tokens. */
export const YARDSTICK: YardstickSize = { batch: 16, tokens: 128, width: 128, heads: 4, layers: 4, vocabulary: 256 };

/** What `--size` takes: something for slow devices, the yardstick, ten million parameters, GPT-2 small on one short text. */
export const SIZES: Readonly<Record<string, YardstickSize>> = {
  tiny: { batch: 2, tokens: 64, width: 64, heads: 2, layers: 2, vocabulary: 256 },
  small: YARDSTICK,
  medium: { batch: 8, tokens: 256, width: 384, heads: 6, layers: 5, vocabulary: 2048 },
  'gpt2-small': { batch: 1, tokens: 256, width: 768, heads: 12, layers: 12, vocabulary: 50_257 },
};

/** The size that is asked for, or one that the running device gets through in seconds. */
export function sizeNamed(what: string, size: string | undefined): YardstickSize {
  const name = size ?? (isSoftwareGpu() || currentDevice()?.name === 'cpu' ? 'tiny' : 'small');
  const chosen = Object.hasOwn(SIZES, name) ? SIZES[name] : undefined;
  if (!chosen) throw new LabError(`${what}: --size must be one of ${Object.keys(SIZES).join(', ')}, got '${name}'.`);
  return chosen;
}

const INITIAL_STD = 0.02; // as in GPT-2
const ADAM = { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8 };

/** GPT-2 with a tied head: learned positions, layer norm first, GELU. */
export class YardstickModel {
  readonly #size: YardstickSize;
  readonly #parameters = new Map<string, Variable>();
  readonly #mask: Tensor;
  readonly #optimizer = tf.train.adam(ADAM.learningRate, ADAM.beta1, ADAM.beta2, ADAM.epsilon);
  #seed = 1;

  constructor(size: YardstickSize = YARDSTICK) {
    this.#size = size;
    const { tokens: T, width: D, layers, vocabulary: V } = size;
    this.#normal('tokens', [V, D]);
    this.#normal('positions', [T, D]);
    for (let layer = 0; layer < layers; layer++) {
      this.#norm(`${layer}.norm1`);
      this.#linear(`${layer}.qkv`, D, 3 * D);
      this.#linear(`${layer}.output`, D, D);
      this.#norm(`${layer}.norm2`);
      this.#linear(`${layer}.up`, D, 4 * D);
      this.#linear(`${layer}.down`, 4 * D, D);
    }
    this.#norm('norm');
    const at = tf.range(0, T);
    this.#mask = tf.tidy(() => tf.greater(at.reshape([1, T]), at.reshape([T, 1])).cast('float32').mul(-1e9)); // [T, T]
    at.dispose();
  }

  get parameterCount(): number {
    return [...this.#parameters.values()].reduce((sum, p) => sum + p.size, 0);
  }

  #normal(name: string, shape: number[]): void {
    this.#parameters.set(name, tf.variable(tf.randomNormal(shape, 0, INITIAL_STD, 'float32', this.#seed++)));
  }

  #linear(name: string, inputs: number, outputs: number): void {
    this.#normal(`${name}.weight`, [inputs, outputs]);
    this.#parameters.set(`${name}.bias`, tf.variable(tf.zeros([outputs])));
  }

  #norm(name: string): void {
    this.#parameters.set(`${name}.gain`, tf.variable(tf.ones([this.#size.width])));
    this.#parameters.set(`${name}.bias`, tf.variable(tf.zeros([this.#size.width])));
  }

  #parameter(name: string): Variable {
    return this.#parameters.get(name)!;
  }

  #applyLinear(name: string, x: Tensor): Tensor {
    return tf.matMul(x, this.#parameter(`${name}.weight`)).add(this.#parameter(`${name}.bias`));
  }

  #applyNorm(name: string, x: Tensor): Tensor {
    const centred = x.sub(x.mean(-1, true));
    const variance = centred.mul(centred).mean(-1, true);
    return centred.mul(variance.add(1e-5).rsqrt()).mul(this.#parameter(`${name}.gain`)).add(this.#parameter(`${name}.bias`));
  }

  #attention(layer: number, x: Tensor): Tensor {
    const { batch: B, tokens: T, width: D, heads: H } = this.#size;
    const S = D / H;
    const qkv = this.#applyLinear(`${layer}.qkv`, x).reshape([B, T, 3, H, S]).transpose([2, 0, 3, 1, 4]);
    const [q, k, v] = tf.unstack(qkv) as [Tensor, Tensor, Tensor]; // [B, H, T, S]
    const scores = tf.matMul(q, k, false, true).mul(1 / Math.sqrt(S)).add(this.#mask); // [B, H, T, T]
    const heads = tf.matMul(tf.softmax(scores), v);
    return this.#applyLinear(`${layer}.output`, heads.transpose([0, 2, 1, 3]).reshape([B * T, D]));
  }

  #mlp(layer: number, x: Tensor): Tensor {
    const u = this.#applyLinear(`${layer}.up`, x);
    const inner = u.add(u.mul(u).mul(u).mul(0.044715)).mul(Math.sqrt(2 / Math.PI));
    return this.#applyLinear(`${layer}.down`, u.mul(0.5).mul(tf.tanh(inner).add(1)));
  }

  /** Mean cross-entropy of the next token. */
  #loss(inputs: Tensor2D, targets: Tensor2D): Scalar {
    const { batch: B, tokens: T, width: D, layers, vocabulary: V } = this.#size;
    const embedded = tf.gather(this.#parameter('tokens'), inputs.flatten()).reshape([B, T, D]);
    let x: Tensor = embedded.add(this.#parameter('positions')).reshape([B * T, D]);
    for (let layer = 0; layer < layers; layer++) {
      x = x.add(this.#attention(layer, this.#applyNorm(`${layer}.norm1`, x)));
      x = x.add(this.#mlp(layer, this.#applyNorm(`${layer}.norm2`, x)));
    }
    const logits = tf.matMul(this.#applyNorm('norm', x), this.#parameter('tokens'), false, true); // [B T, V]
    const oneHot = tf.oneHot(targets.flatten().toInt(), V).cast('float32');
    return tf.logSoftmax(logits).mul(oneHot).sum().neg().div(B * T);
  }

  /** One step of Adam on made-up, learnable text; the loss before it. */
  async step(index: number): Promise<number> {
    const loss = tf.tidy(() => {
      const [inputs, targets] = this.#batch(index);
      const variables = [...this.#parameters.values()];
      const { value, grads } = tf.variableGrads(() => this.#loss(inputs, targets), variables);
      this.#optimizer.applyGradients(grads as Record<string, Variable>);
      return value;
    });
    const [value] = await loss.data();
    loss.dispose();
    return value!;
  }

  #batch(index: number): [Tensor2D, Tensor2D] {
    const { batch, tokens } = this.#size;
    const { inputs, targets } = yardstickTokens(this.#size, index);
    return [tf.tensor2d(inputs, [batch, tokens], 'int32'), tf.tensor2d(targets, [batch, tokens], 'int32')];
  }

  dispose(): void {
    for (const parameter of this.#parameters.values()) parameter.dispose();
    this.#mask.dispose();
    this.#optimizer.dispose();
  }
}

/** Made-up, learnable text, [B, T] each: a token follows from the one before it, x' = 3 x + 7 + (t mod 5), modulo V. */
export function yardstickTokens(size: YardstickSize, index: number): { inputs: Int32Array; targets: Int32Array } {
  const { batch: B, tokens: T, vocabulary: V } = size;
  const [inputs, targets] = [new Int32Array(B * T), new Int32Array(B * T)];
  for (let b = 0; b < B; b++) {
    let token = (b * 37 + index * 101) % V;
    for (let t = 0; t < T; t++) {
      inputs[b * T + t] = token;
      token = (3 * token + 7 + (t % 5)) % V;
      targets[b * T + t] = token;
    }
  }
  return { inputs, targets };
}
