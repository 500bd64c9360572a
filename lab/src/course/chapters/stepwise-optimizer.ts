/**
 * @file An optimizer made of one function: every parameter by itself goes through the reader's AdamW step.
 * The library's own puts the parameters in long rows instead, which is faster.
 */
import { tf, type Scalar, type Tensor, type Variable } from '../../backend/index.ts';
import type { NamedTensors, Optimizer } from '../../train/index.ts';

export interface AdamWStepOptions {
  /** Counted from 1. */
  readonly step: number;
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
}

/** The parameter, the running mean of its gradient and that of its square. */
export type Moved = Readonly<Record<'parameter' | 'mean' | 'square', Tensor>>;

/** One step of one parameter: all tensors have its shape. */
export type AdamWStep = (parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, options: AdamWStepOptions) => Moved;

interface Moments {
  readonly mean: Tensor;
  readonly square: Tensor;
  readonly steps: number;
}

/** An optimizer that takes each parameter through one function, with nanoGPT's settings; matrices decay, vectors do not. */
export class StepwiseOptimizer implements Optimizer {
  readonly #parameters: readonly (readonly [string, Variable])[];
  readonly #step: AdamWStep;
  readonly #moments = new Map<string, Moments>();

  constructor(parameters: ReadonlyMap<string, Variable>, step: AdamWStep) {
    this.#parameters = [...parameters].filter(([, variable]) => variable.trainable);
    this.#step = step;
    for (const [path, { shape }] of this.#parameters) {
      this.#moments.set(path, { mean: tf.keep(tf.zeros(shape)), square: tf.keep(tf.zeros(shape)), steps: 0 });
    }
  }

  step(gradients: NamedTensors, learningRate: number): void {
    for (const [path, variable] of this.#parameters) {
      const gradient = gradients.get(path);
      if (gradient) this.#move(path, variable, gradient, learningRate);
    }
  }

  #move(path: string, variable: Variable, gradient: Tensor, learningRate: number): void {
    const { mean, square, steps } = this.#moments.get(path)!;
    const weightDecay = variable.rank >= 2 ? 0.1 : 0;
    const options = { step: steps + 1, learningRate, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay };
    tf.tidy(() => {
      const moved = this.#step(variable, gradient, mean, square, options);
      variable.assign(moved.parameter);
      this.#moments.set(path, { mean: tf.keep(moved.mean), square: tf.keep(moved.square), steps: steps + 1 });
    });
    tf.dispose([mean, square]);
  }

  state(): Map<string, Tensor> {
    const state = new Map<string, Tensor>();
    for (const [path, { mean, square, steps }] of this.#moments) {
      state.set(`${path}.firstMoment`, mean.clone());
      state.set(`${path}.secondMoment`, square.clone());
      state.set(`${path}.steps`, tf.scalar(steps, 'int32'));
    }
    return state;
  }

  async load(state: NamedTensors): Promise<void> {
    for (const [path] of this.#parameters) {
      const [mean, square, steps] = ['firstMoment', 'secondMoment', 'steps'].map((name) => state.get(`${path}.${name}`));
      if (!mean || !square || !steps) throw new RangeError(`The saved state of the optimizer lacks ${path}.`);
      const old = this.#moments.get(path)!;
      const count = (await (steps as Scalar).data())[0]!;
      this.#moments.set(path, { mean: tf.keep(mean.clone()), square: tf.keep(square.clone()), steps: count });
      tf.dispose([old.mean, old.square]);
    }
  }

  dispose(): void {
    for (const { mean, square } of this.#moments.values()) tf.dispose([mean, square]);
    this.#moments.clear();
  }
}
