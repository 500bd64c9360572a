/**
 * @file Prefix tuning: n trained keys and values stand before those of the text, in every layer. They are not turned by their
 * positions. Li and Liang 2021, section 4; made by an MLP out of n vectors: section 4.3.
 *
 * Shapes: n virtual tokens, B batch, T tokens, D width, K key/value heads, S head size, L layers, M inside the MLP.
 */
import { tf, type Tensor, type Tensor2D, type Tensor3D, type Tensor4D, type Variable } from '../backend/index.ts';
import type { KeysAndValues, KVCache } from '../attention/index.ts';
import type { Random } from '../base/index.ts';
import type { ForwardOptions, ResolvedTransformerConfig, Transformer } from '../model/index.ts';
import { Linear } from '../nn/index.ts';
import { VirtualTokens } from './virtual-tokens.ts';

/** L · 2 · K · S: the keys and values of one virtual token in all layers. */
export function prefixWidth({ layers, keyValueHeads, headSize }: ResolvedTransformerConfig): number {
  return layers * 2 * keyValueHeads * headSize;
}

export class Prefix extends VirtualTokens {
  /** [n, L·2·K·S]: of each layer the keys, then the values; with the MLP [n, D], what it makes them from. */
  prefix: Variable<tf.Rank.R2>;
  /** D → M, then tanh; null without the MLP. */
  inner: Linear | null = null;
  /** M → L·2·K·S */
  outer: Linear | null = null;

  constructor(prefix: Variable<tf.Rank.R2>) {
    super(prefix.shape[0]);
    this.prefix = prefix;
  }

  /** Puts an MLP of width M between. */
  withMLP(hiddenSize: number, outputs: number, random: Random): this {
    const inputs = this.prefix.shape[1];
    this.inner = new Linear(inputs, hiddenSize, { std: 1 / Math.sqrt(inputs), random });
    this.outer = new Linear(hiddenSize, outputs, { std: 1 / Math.sqrt(hiddenSize), random });
    return this;
  }

  /** The keys and values as one matrix [n, L·2·K·S]: all that is needed once training is over. */
  matrix(): Tensor2D {
    const { inner, outer, prefix } = this;
    return tf.tidy(() => (inner && outer ? outer.forward(tf.tanh(inner.forward(prefix)) as Tensor2D) : tf.clone(prefix)));
  }

  override transform(model: Transformer, tokens: Tensor2D, { cache, ...context }: ForwardOptions): Tensor3D {
    const begins = (cache?.length ?? 0) === 0;
    const layers = begins ? this.#layers(model.config, tokens.shape[0]) : [];
    if (cache && begins) {
      for (const [layer, { k, v }] of layers.entries()) cache.append(layer, k, v);
      cache.advance(this.count);
    }
    const seen = cache ?? new PrefixCache(layers, this.count);
    const embedded = model.tokenEmbedding.forward<Tensor3D>(tokens);
    const placed = model.dropout.forward(model.positionEmbedding.embed?.(embedded, seen.length) ?? embedded);
    return model.transform(placed, { ...context, cache: seen });
  }

  /** For each layer keys and values [B, K, n, S]. */
  #layers({ layers, keyValueHeads, headSize }: ResolvedTransformerConfig, batch: number): KeysAndValues[] {
    const parts = tf.transpose(tf.reshape(this.matrix(), [this.count, 2 * layers, keyValueHeads, headSize]), [1, 2, 0, 3]);
    const part = (i: number): Tensor4D =>
      tf.tile(tf.slice(parts as Tensor4D, [i, 0, 0, 0], [1, keyValueHeads, this.count, headSize]), [batch, 1, 1, 1]);
    return Array.from({ length: layers }, (_, layer) => ({ k: part(2 * layer), v: part(2 * layer + 1) }));
  }
}

/** Shows each layer its prefix, and keeps nothing: for a text that is read in one go, in training too. */
class PrefixCache implements KVCache {
  readonly length: number;
  readonly capacity = Infinity;
  readonly #layers: readonly KeysAndValues[];

  constructor(layers: readonly KeysAndValues[], length: number) {
    this.#layers = layers;
    this.length = length;
  }

  append(layer: number, k: Tensor4D, v: Tensor4D): KeysAndValues {
    const behind = (first: Tensor, rest: Tensor): Tensor4D => tf.concat([first, rest], 2) as Tensor4D;
    const prefix = this.#layers[layer]!;
    return { k: behind(prefix.k, k), v: behind(prefix.v, v) };
  }

  advance(): void {
    // Nothing is kept that would grow.
  }

  truncate(): void {
    // Nor is there anything to forget.
  }

  dispose(): void {
    // The prefix is the model's.
  }
}
