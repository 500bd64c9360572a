/** @file The MLP of a block: every token, alone, is widened, bent and narrowed again. */
import { tf, type Tensor } from '../backend/index.ts';
import { gelu, geluMLP, swiglu } from '../ops/index.ts';
import { Linear } from './linear.ts';
import { Layer } from './module.ts';
import { stream, type Randomness } from './parameter.ts';

/** `gelu`, or another function from any shape to the same. */
export type ActivationFunction = (x: Tensor) => Tensor;
/** `swiglu`, or another function of a gate and what it gates. */
export type GateFunction = (gate: Tensor, up: Tensor) => Tensor;

export interface MLPOptions {
  /** Learn biases (default true; GatedMLP false). */
  readonly bias?: boolean;
  /** Standard deviation of the first weights (default 0.02). */
  readonly std?: number;
  /** The same for `down`, which writes into the residual stream (default std). */
  readonly residualStd?: number;
  /** Seed or stream of the first weights (default 0). */
  readonly random?: Randomness;
}

/** down(gelu(up(x))): Vaswani et al. 2017, section 3.3, with GPT-2's activation. */
export class MLP extends Layer {
  up: Layer;
  down: Layer;
  activation: ActivationFunction;

  constructor(width: number, hiddenSize: number, options: MLPOptions & { readonly activation?: ActivationFunction } = {}) {
    super();
    const { bias = true, std = 0.02, residualStd = std, activation = gelu } = options;
    const random = stream(options.random);
    this.up = new Linear(width, hiddenSize, { bias, std, random });
    this.down = new Linear(hiddenSize, width, { bias, std: residualStd, random });
    this.activation = activation;
  }

  /** @param x [..., width] */
  override forward<T extends Tensor>(x: T): T {
    const { up, down, activation } = this;
    if (activation === gelu && isPlainLinear(up) && isPlainLinear(down)) return geluMLP(x, up, down);
    return tf.tidy(() => down.forward(activation(up.forward(x))) as T);
  }
}

/** A `Linear` itself: an adapter or a quantized layer in its place computes something else. */
function isPlainLinear(layer: Layer): layer is Linear {
  return layer.constructor === Linear;
}

/** down(swiglu(gate(x), up(x))): Shazeer 2020, the MLP of Llama. */
export class GatedMLP extends Layer {
  gate: Layer;
  up: Layer;
  down: Layer;
  combine: GateFunction;

  constructor(width: number, hiddenSize: number, options: MLPOptions & { readonly combine?: GateFunction } = {}) {
    super();
    const { bias = false, std = 0.02, residualStd = std, combine = swiglu } = options;
    const random = stream(options.random);
    this.gate = new Linear(width, hiddenSize, { bias, std, random });
    this.up = new Linear(width, hiddenSize, { bias, std, random });
    this.down = new Linear(hiddenSize, width, { bias, std: residualStd, random });
    this.combine = combine;
  }

  /** @param x [..., width] */
  override forward<T extends Tensor>(x: T): T {
    return tf.tidy(() => this.down.forward(this.combine(this.gate.forward(x), this.up.forward(x))) as T);
  }
}
