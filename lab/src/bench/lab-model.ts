/**
 * @file The lab's own Transformer at the yardstick's size: the step that `npm run lab -- train` makes, with every fused operation
 * that the running backend has.
 */
import { tf } from '../backend/index.ts';
import { Transformer } from '../model/index.ts';
import { AdamW, lossAndGradients } from '../train/index.ts';
import { yardstickTokens, type YardstickSize } from './yardstick.ts';

export const STEP = { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, weightDecay: 0.1, clipNorm: 1 };

export class LabModel {
  readonly #size: YardstickSize;
  readonly #model: Transformer;
  readonly #optimizer: AdamW;

  constructor(size: YardstickSize) {
    this.#size = size;
    const { tokens, width, heads, layers, vocabulary } = size;
    this.#model = new Transformer({ vocabSize: vocabulary, contextLength: tokens, layers, width, heads }).train();
    const { beta1, beta2, weightDecay } = STEP;
    this.#optimizer = new AdamW(this.#model.namedParameters(), { beta1, beta2, weightDecay });
  }

  get parameterCount(): number {
    return this.#model.parameterCount();
  }

  /** One step; the loss before it. */
  async step(index: number): Promise<number> {
    const { batch: batchSize, tokens: contextLength } = this.#size;
    const { inputs, targets } = yardstickTokens(this.#size, index);
    const loss = tf.tidy(() => {
      const batch = { inputs, targets, batchSize, contextLength };
      const found = lossAndGradients(this.#model, [batch]);
      this.#optimizer.step(found.gradients, STEP.learningRate, { clipNorm: STEP.clipNorm });
      return found.loss;
    });
    const [value] = await loss.data();
    loss.dispose();
    return value!;
  }

  dispose(): void {
    this.#optimizer.dispose();
    this.#model.dispose();
  }
}
