/**
 * @file Prompt tuning: n trained vectors stand before those of the text, as if they were tokens. Lester et al. 2021, section 2.
 *
 * Shapes: n virtual tokens, B batch, T tokens, D width.
 */
import { tf, type Tensor2D, type Tensor3D, type Variable } from '../backend/index.ts';
import type { ForwardOptions, Transformer } from '../model/index.ts';
import { VirtualTokens } from './virtual-tokens.ts';

export class SoftPrompt extends VirtualTokens {
  /** [n, D] */
  prompt: Variable<tf.Rank.R2>;

  constructor(prompt: Variable<tf.Rank.R2>) {
    super(prompt.shape[0]);
    this.prompt = prompt;
  }

  override transform(model: Transformer, tokens: Tensor2D, { cache, ...context }: ForwardOptions): Tensor3D {
    const offset = cache?.length ?? 0;
    const embedded = model.tokenEmbedding.forward<Tensor3D>(tokens);
    const begins = offset === 0;
    const whole = begins ? tf.concat([this.#repeated(tokens.shape[0]), embedded], 1) : embedded;
    const placed = model.dropout.forward(model.positionEmbedding.embed?.(whole, offset) ?? whole);
    const hidden = model.transform(placed, { ...context, cache });
    const [batch, length, width] = hidden.shape;
    return begins ? tf.slice(hidden, [0, this.count, 0], [batch, length - this.count, width]) : hidden;
  }

  /** [B, n, D] */
  #repeated(batch: number): Tensor3D {
    return tf.tile(tf.expandDims(this.prompt, 0) as Tensor3D, [batch, 1, 1]);
  }
}
