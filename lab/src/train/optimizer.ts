/**
 * @file What an optimizer is: the seam between gradients and parameters.
 */
import type { Tensor, Variable } from '../backend/index.ts';

/** Tensors by the path of the parameter they belong to: `blocks.0.attention.query.weight`. */
export type NamedTensors = ReadonlyMap<string, Tensor>;

export interface StepOptions {
  /** Shorten all gradients together to this length (default Infinity: leave them as they are). */
  readonly clipNorm?: number;
}

export interface Optimizer {
  /** Whether `step` heeds `clipNorm`; for one that does not say so, the loop clips the gradients itself. */
  readonly clips?: boolean;
  /** Changes the parameters. Gradients that are missing leave their parameter as it is; nothing is disposed. */
  step(gradients: NamedTensors, learningRate: number, options?: StepOptions): void;
  /** Everything that a resumed run needs, as tensors that the caller disposes. */
  state(): Map<string, Tensor>;
  /** @throws RangeError when a tensor is missing or has another shape. */
  load(state: NamedTensors): void | Promise<void>;
  dispose(): void;
}

/** Makes the optimizer for a model's parameters: the seam `train({ optimizer })`. */
export type OptimizerFactory = (parameters: ReadonlyMap<string, Variable>) => Optimizer;
