/** @file The two normalizations as modules, with the operation itself exchangeable. */
import { tf, type Tensor, type Tensor1D, type Variable } from '../backend/index.ts';
import { layerNorm, rmsNorm } from '../ops/index.ts';
import { Layer } from './module.ts';
import { parameter } from './parameter.ts';

/** `layerNorm`, or another function of the same contract. */
export type LayerNormFunction = (x: Tensor, gain: Tensor1D, bias: Tensor1D | null, epsilon: number) => Tensor;
/** `rmsNorm`, or another function of the same contract. */
export type RMSNormFunction = (x: Tensor, gain: Tensor1D, epsilon: number) => Tensor;

export interface LayerNormOptions {
  /** Added to the variance (default 1e-5). */
  readonly epsilon?: number;
  /** Learn a bias beside the gain (default true). */
  readonly bias?: boolean;
  readonly compute?: LayerNormFunction;
}

export interface RMSNormOptions {
  /** Added to the mean square (default 1e-6). */
  readonly epsilon?: number;
  readonly compute?: RMSNormFunction;
}

export class LayerNorm extends Layer {
  readonly epsilon: number;
  compute: LayerNormFunction;
  /** The gain [width], one at first. */
  weight: Variable<tf.Rank.R1>;
  /** [width], zero at first */
  bias: Variable<tf.Rank.R1> | null;

  constructor(width: number, { epsilon = 1e-5, bias = true, compute = layerNorm }: LayerNormOptions = {}) {
    super();
    this.epsilon = epsilon;
    this.compute = compute;
    this.weight = parameter(tf.ones<tf.Rank.R1>([width]));
    this.bias = bias ? parameter(tf.zeros<tf.Rank.R1>([width])) : null;
  }

  /** @param x [..., width] */
  override forward<T extends Tensor>(x: T): T {
    return this.compute(x, this.weight, this.bias, this.epsilon) as T;
  }
}

export class RMSNorm extends Layer {
  readonly epsilon: number;
  compute: RMSNormFunction;
  /** The gain [width], one at first. */
  weight: Variable<tf.Rank.R1>;

  constructor(width: number, { epsilon = 1e-6, compute = rmsNorm }: RMSNormOptions = {}) {
    super();
    this.epsilon = epsilon;
    this.compute = compute;
    this.weight = parameter(tf.ones<tf.Rank.R1>([width]));
  }

  /** @param x [..., width] */
  override forward<T extends Tensor>(x: T): T {
    return this.compute(x, this.weight, this.epsilon) as T;
  }
}
