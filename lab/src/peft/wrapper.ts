/**
 * @file What stands around a layer that is adapted: the layer itself, unchanged and frozen, and what is trained beside it.
 *
 * Shapes: O outputs, I inputs.
 */
import { tf, type Tensor, type Tensor2D, type Variable } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import { Layer, Linear, type Module, parameter, withoutInitialization } from '../nn/index.ts';
import { QuantizedLayer } from '../quantize/index.ts';

/** A linear layer, with floats or with quantized weights. */
export type LinearLayer = Linear | QuantizedLayer;

export function isLinearLayer(module: Module): module is LinearLayer {
  return module instanceof Linear || module instanceof QuantizedLayer;
}

export interface MergeOptions {
  /** Make floats of quantized weights, which takes their memory; refused unless told. */
  readonly dequantize?: boolean;
}

/** An adapted layer that can be written as an ordinary one. */
export interface Mergeable extends Module {
  /**
   * The ordinary layer that computes the same, with parameters of its own.
   *
   * @throws LabError when there is none.
   */
  merged(options: MergeOptions): Module;
}

export function isMergeable(value: unknown): value is Mergeable {
  return typeof (value as Partial<Mergeable> | undefined)?.merged === 'function';
}

/** The weights as floats [O, I]: the parameter itself, or floats made of quantized ones, which the tidy around frees. */
export function floatWeight(base: LinearLayer): Tensor2D {
  return base instanceof QuantizedLayer ? base.weight() : base.weight;
}

export abstract class AdaptedLinear extends Layer implements Mergeable {
  base: LinearLayer;

  constructor(base: LinearLayer) {
    super();
    this.base = base;
  }

  abstract merged(options: MergeOptions): Linear;

  /** @throws LabError for quantized weights that shall stay so. */
  protected checkMerge({ dequantize = false }: MergeOptions): void {
    if (!(this.base instanceof QuantizedLayer) || dequantize) return;
    throw new LabError(
      `The weights of a ${this.base.constructor.name} are quantized: rounding the sum anew would change what the model says. ` +
        'Leave the adaptation beside them, or merge({ dequantize: true }) into floats.',
    );
  }
}

/** A linear layer of these weights; they are taken over, and the bias is shared or taken over. */
export function linearOf(weight: Tensor2D, bias: Variable<tf.Rank.R1> | null): Linear {
  const [outputs, inputs] = weight.shape;
  const made = withoutInitialization(() => new Linear(inputs, outputs, { bias: false }));
  made.weight.dispose();
  made.weight = parameter(weight, { trainable: false });
  made.bias = bias;
  return made;
}

/** x times s, or x itself. */
export function scaled<T extends Tensor>(x: T, s: number): T {
  return s === 1 ? x : (tf.mul(x, s) as Tensor as T);
}
