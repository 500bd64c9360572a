/** @file The linear layer: every output is a weighted sum of the inputs. */
import { tf, type Tensor, type Tensor1D, type Tensor2D, type Variable } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import { sumOverRows, withGradient } from '../ops/index.ts';
import { Layer } from './module.ts';
import { normalParameter, parameter, type Randomness } from './parameter.ts';

export interface LinearOptions {
  /** Add a learned bias, zero at first (default true). */
  readonly bias?: boolean;
  /** Standard deviation of the first weights (default 0.02, as in GPT-2). */
  readonly std?: number;
  /** Seed or stream of the first weights (default 0). */
  readonly random?: Randomness;
}

/** y = x Wᵀ + b over the last axis of x. */
export class Linear extends Layer {
  readonly inputs: number;
  readonly outputs: number;
  /** [outputs, inputs], as in PyTorch. */
  weight: Variable<tf.Rank.R2>;
  /** [outputs] */
  bias: Variable<tf.Rank.R1> | null;

  constructor(inputs: number, outputs: number, { bias = true, std = 0.02, random = 0 }: LinearOptions = {}) {
    super();
    this.inputs = inputs;
    this.outputs = outputs;
    this.weight = normalParameter<tf.Rank.R2>([outputs, inputs], std, random);
    this.bias = bias ? parameter(tf.zeros<tf.Rank.R1>([outputs])) : null;
  }

  /**
   * @param x [..., inputs]
   * @returns [..., outputs]
   */
  override forward<T extends Tensor>(x: T): T {
    return linear(x, this.weight, this.bias);
  }
}

/**
 * x Wᵀ + b. The leading axes are multiplied into one: a product of two matrices is the fastest thing any backend does.
 *
 * @param x [..., inputs]
 * @param weight [outputs, inputs]
 * @param bias [outputs]
 * @returns [..., outputs]
 */
export function linear<T extends Tensor>(x: T, weight: Tensor2D, bias: Tensor1D | null = null): T {
  const [outputs, inputs] = weight.shape;
  invariant(
    x.shape.at(-1) === inputs,
    () => `linear: the last axis of x [${x.shape}] must be ${inputs}, the inputs of weight [${weight.shape}]`,
  );
  return tf.tidy(() => {
    const rows = (x.rank === 2 ? x : tf.reshape(x, [-1, inputs])) as Tensor2D;
    const product = tf.matMul<Tensor2D>(rows, weight, false, true);
    const y = bias ? addBias(product, bias) : product;
    return (x.rank === 2 ? y : tf.reshape(y, [...x.shape.slice(0, -1), outputs])) as Tensor as T;
  });
}

/** x + b for each row. The tape's own addition would keep x, only to know its shape. */
function addBias(x: Tensor2D, bias: Tensor1D): Tensor2D {
  return withGradient<Tensor2D>([x, bias], () => ({
    value: tf.add<Tensor2D>(x, bias),
    gradient: (dy) => [tf.clone(dy), sumOverRows(dy)],
  }));
}
