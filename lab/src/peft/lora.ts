/**
 * @file LoRA: the change of a matrix is a product of two thin ones, y = W x + s·B A x; W stays as it is. Hu et al. 2021,
 * section 4.1; s = alpha/√r: Kalajdzievski 2023 (rsLoRA).
 *
 * Shapes: O outputs, I inputs, r rank, V vocabulary, D width.
 */
import { offTape, tf, type Tensor, type Tensor2D, type Variable } from '../backend/index.ts';
import { type Random } from '../base/index.ts';
import { Dropout, Embedding, type Linear, Module, normalParameter, parameter } from '../nn/index.ts';
import { embedding, linear, residual } from '../ops/index.ts';
import {
  AdaptedLinear,
  floatWeight,
  linearOf,
  type LinearLayer,
  type MergeOptions,
  type Mergeable,
  scaled,
} from './wrapper.ts';

export interface LowRank {
  readonly rank: number;
  /** s, what the product is multiplied by. */
  readonly scale: number;
  readonly dropout: number;
}

/** alpha/r, or alpha/√r. */
export function loraScale(alpha: number, rank: number, rankStabilized: boolean): number {
  return alpha / (rankStabilized ? Math.sqrt(rank) : rank);
}

/** Uniform in ±1/√I, as the authors' code has it. */
function uniformParameter(rows: number, inputs: number, random: Random): Variable<tf.Rank.R2> {
  const bound = 1 / Math.sqrt(inputs);
  const values = Float32Array.from({ length: rows * inputs }, () => (2 * random.uniform() - 1) * bound);
  return parameter(tf.tensor2d(values, [rows, inputs]));
}

export class LoRALinear extends AdaptedLinear {
  readonly scale: number;
  /** A [r, I], random at first. */
  down: Variable<tf.Rank.R2>;
  /** B [O, r], zero at first: the layer begins as it was. */
  up: Variable<tf.Rank.R2>;
  readonly dropout: Dropout;

  constructor(base: LinearLayer, { rank, scale, dropout }: LowRank, random: Random) {
    super(base);
    this.scale = scale;
    this.down = uniformParameter(rank, base.inputs, random);
    this.up = parameter(tf.zeros<tf.Rank.R2>([base.outputs, rank]));
    this.dropout = new Dropout(dropout, random.fork());
  }

  /** @param x [..., I] */
  override forward<T extends Tensor>(x: T): T {
    return tf.tidy(() => residual(this.base.forward(x), this.change(this.dropout.forward(x))));
  }

  /** s·B A x, [..., O]. */
  protected change<T extends Tensor>(x: T): T {
    return linear(scaled(linear(x, this.down), this.scale), this.up);
  }

  /** s·B A, [O, I]: what training found. */
  delta(): Tensor2D {
    return tf.tidy(() => scaled(tf.matMul(this.up, this.down), this.scale));
  }

  override merged(options: MergeOptions): Linear {
    this.checkMerge(options);
    return linearOf(
      tf.tidy(() => tf.add(floatWeight(this.base), this.delta())),
      this.base.bias,
    );
  }
}

/**
 * LoRA with a direction and a length apart: every row of W + s·B A is divided by its length and multiplied by a trained one, m.
 * The length counts as a constant on the way back. Liu et al. 2024 (DoRA), section 4.
 */
export class DoRALinear extends LoRALinear {
  /** m [O]: at first the lengths of W's rows. */
  magnitude: Variable<tf.Rank.R1>;

  constructor(base: LinearLayer, options: LowRank, random: Random) {
    super(base, options, random);
    this.magnitude = parameter(tf.tidy(() => tf.norm(floatWeight(base), 'euclidean', 1) as Tensor<tf.Rank.R1>));
  }

  override forward<T extends Tensor>(x: T): T {
    return tf.tidy(() => {
      const { base } = this;
      const dropped = this.dropout.forward(x);
      const weight = floatWeight(base);
      const length = offTape(() => tf.tidy(() => tf.norm(tf.add(weight, this.delta()), 'euclidean', 1)));
      const factor = tf.div(this.magnitude, length); // [O]
      const turned = residual(linear(dropped, weight), this.change(dropped)); // before its length is set
      const own = tf.mul(turned, factor) as Tensor as T;
      if (dropped === x) return (base.bias ? tf.add(own, base.bias) : own) as Tensor as T;
      // What is forgotten is forgotten of the change alone.
      return residual(base.forward(x), tf.sub(own, linear(dropped, weight)) as Tensor as T);
    });
  }

  override merged(options: MergeOptions): Linear {
    this.checkMerge(options);
    const weight = tf.tidy(() => {
      const turned = tf.add<Tensor2D>(floatWeight(this.base), this.delta());
      const factor = tf.div(this.magnitude, tf.norm(turned, 'euclidean', 1));
      return tf.mul<Tensor2D>(turned, tf.reshape(factor, [-1, 1]));
    });
    return linearOf(weight, this.base.bias);
  }
}

/** The same for a table, whose input is one token: here A is zero at first and B random. A tied head keeps the table alone. */
export class LoRAEmbedding extends Module implements Mergeable {
  base: Embedding;
  /** The base's own: what a tied head multiplies by. */
  weight: Variable<tf.Rank.R2>;
  readonly scale: number;
  /** Aᵀ [V, r], zero at first. */
  down: Variable<tf.Rank.R2>;
  /** B [D, r], random at first. */
  up: Variable<tf.Rank.R2>;

  constructor(base: Embedding, { rank, scale }: LowRank, random: Random) {
    super();
    const [entries, width] = base.weight.shape;
    this.base = base;
    this.weight = base.weight;
    this.scale = scale;
    this.down = parameter(tf.zeros<tf.Rank.R2>([entries, rank]));
    this.up = normalParameter<tf.Rank.R2>([width, rank], 1, random);
  }

  /**
   * @param ids int32, any shape
   * @returns [...ids, D]
   */
  forward<T extends Tensor>(ids: Tensor): T {
    return tf.tidy(() => {
      const change = linear(scaled(embedding<T>(this.down, ids), this.scale), this.up);
      return residual(this.base.forward<T>(ids), change);
    });
  }

  merged(): Embedding {
    const table = new Embedding(1, 1, { std: 0 });
    table.weight.dispose();
    table.weight = tf.tidy(() =>
      tf.variable(tf.add<Tensor2D>(this.weight, scaled(tf.matMul(this.down, this.up, false, true), this.scale)), false),
    );
    return table;
  }
}
