/** @file The linear layer as a module. */
import { tf, type Tensor, type Variable } from '../backend/index.ts';
import { linear } from '../ops/index.ts';
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
