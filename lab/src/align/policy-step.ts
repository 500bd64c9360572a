/**
 * @file One update of a policy or its values from a loss of one's own: gradients, clipping, AdamW; nothing is changed when the
 * loss or the gradients are no finite numbers.
 */
import { tf, valueAndGradients, type Scalar, type Tensor, type Variable } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import { AdamW, globalNorm } from '../train/index.ts';

export interface PolicyStepOptions {
  readonly learningRate: number;
  /** Gradients longer than this are shortened to it (default 1). */
  readonly clipNorm?: number;
}

export class PolicyStep {
  readonly #parameters: readonly (readonly [path: string, variable: Variable])[];
  readonly #optimizer: AdamW;
  readonly #options: PolicyStepOptions;

  constructor(parameters: ReadonlyMap<string, Variable>, options: PolicyStepOptions) {
    this.#parameters = [...parameters].filter(([, { trainable }]) => trainable);
    if (this.#parameters.length === 0) throw new LabError('There is nothing to train: every parameter of the policy is frozen.');
    this.#optimizer = new AdamW(parameters, { weightDecay: 0, beta2: 0.999 });
    this.#options = options;
  }

  /**
   * @param when for the message: `PPO iteration 3`
   * @returns the loss
   * @throws LabError when it is not finite; the parameters are then as they were before this step.
   */
  async take(lossOf: () => Scalar, when: string): Promise<number> {
    const { norm, loss, kept } = tf.tidy(() => {
      const variables = this.#parameters.map(([, variable]) => variable);
      const { value, gradients } = valueAndGradients(lossOf, variables);
      const found = this.#parameters.filter(([, variable]) => gradients.has(variable));
      return {
        loss: value,
        norm: globalNorm(new Map(found.map(([path, variable]) => [path, gradients.get(variable)!]))),
        kept: Object.fromEntries(found.map(([path, variable]) => [path, gradients.get(variable)!])),
      };
    });
    try {
      const [value, length] = [(await loss.data())[0]!, (await norm.data())[0]!];
      if (!Number.isFinite(value) || !Number.isFinite(length)) {
        throw new LabError(
          `${when}: the loss is ${value}, its gradient ${length} long, so the step was not taken and the weights are those before ` +
            'it. A reward may not be a finite number, or the learning rate is too high.',
        );
      }
      const { learningRate, clipNorm = 1 } = this.#options;
      tf.tidy(() => this.#optimizer.step(new Map(Object.entries(kept)), learningRate, { clipNorm }));
      return value;
    } finally {
      tf.dispose([norm, loss, kept]);
    }
  }

  /** The optimizer's, to be saved: the caller's to dispose of. */
  state(): Map<string, Tensor> {
    return this.#optimizer.state();
  }

  async load(state: ReadonlyMap<string, Tensor>): Promise<void> {
    await this.#optimizer.load(state);
  }

  dispose(): void {
    this.#optimizer.dispose();
  }
}
