/**
 * @file Multi-head attention: several attentions side by side, each on its own projections, their answers mixed together.
 * Vaswani et al. 2017, section 3.2.2; fewer key/value heads than query heads: Ainslie et al. 2023.
 *
 * Shapes: B batch, T tokens, D width, H heads, K key/value heads, S head size, U keys.
 */
import { tf, type Tensor, type Tensor3D, type Tensor4D } from '../backend/index.ts';
import { invariant, Random } from '../base/index.ts';
import { Dropout, type Layer, Linear, Module, type Randomness } from '../nn/index.ts';
import { attention, attentionWeights, type AttentionFunction, type AttentionOptions } from './attention.ts';
import type { KeysAndValues, KVCache } from './cache.ts';
import { mergeHeads, splitHeads } from './heads.ts';

/** How positions enter attention; RoPE turns, ALiBi biases, learned positions do neither. */
export interface AttentionPosition {
  /** Turns queries or keys [B, H, T, S] whose first token stands at `offset`. Nobody needs x any more. */
  rotate?(x: Tensor4D, offset: number): Tensor4D;
  /** That `rotate` is `rotaryEmbedding` with this base: it may be left to what handles the keys next. */
  readonly rotaryBase?: number;
  /** Added to the scores: [H, T, U]. */
  bias?(heads: number, queries: number, keys: number): Tensor;
}

export interface MultiHeadAttentionOptions {
  /** D */
  readonly width: number;
  /** H */
  readonly heads: number;
  /** K, divides H; H unless told. 1 is multi-query attention. */
  readonly keyValueHeads?: number;
  /** S; D/H unless told. */
  readonly headSize?: number;
  /** Learn biases in the four projections (default true). */
  readonly bias?: boolean;
  /** Hide the future (default true). */
  readonly causal?: boolean;
  /** The share of attention weights to forget in training (default 0). */
  readonly dropout?: number;
  readonly position?: AttentionPosition;
  /** The attention itself; `attention` unless told. */
  readonly compute?: AttentionFunction;
  /** Standard deviation of the first weights (default 0.02). */
  readonly std?: number;
  /** The same for `output`, which writes into the residual stream (default std). */
  readonly residualStd?: number;
  /** Seed or stream of the first weights (default 0). */
  readonly random?: Randomness;
}

export interface AttentionContext {
  /** Earlier keys and values to look back at; the new ones are appended. */
  readonly cache?: KVCache | undefined;
  /** Which layer of the cache (default 0). */
  readonly layer?: number;
  /** Is shown the weights [B, H, T, U] of the plain attention, whatever `compute` is; keep a clone to keep them. */
  readonly observe?: ((weights: Tensor4D, layer: number) => void) | undefined;
}

export class MultiHeadAttention extends Module {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly causal: boolean;
  compute: AttentionFunction;
  query: Layer;
  key: Layer;
  value: Layer;
  output: Layer;
  readonly dropout: Dropout;
  readonly #position: AttentionPosition;

  /** @throws RangeError when the heads do not fit the width, or the key/value heads the heads. */
  constructor(options: MultiHeadAttentionOptions) {
    super();
    const { width, heads, keyValueHeads = heads, bias = true, std = 0.02, residualStd = std } = options;
    const { headSize = width / heads, causal = true, dropout = 0, position = {}, compute = attention } = options;
    invariant(
      Number.isInteger(headSize),
      `MultiHeadAttention: width ${width} is not a multiple of ${heads} heads; set headSize to uncouple them`,
    );
    invariant(
      heads % keyValueHeads === 0,
      `MultiHeadAttention: heads must be a multiple of keyValueHeads, got ${heads} heads and ${keyValueHeads} key/value heads`,
    );
    const random = typeof options.random === 'object' ? options.random : new Random(options.random ?? 0);
    this.heads = heads;
    this.keyValueHeads = keyValueHeads;
    this.headSize = headSize;
    this.causal = causal;
    this.compute = compute;
    this.query = new Linear(width, heads * headSize, { bias, std, random });
    this.key = new Linear(width, keyValueHeads * headSize, { bias, std, random });
    this.value = new Linear(width, keyValueHeads * headSize, { bias, std, random });
    this.output = new Linear(heads * headSize, width, { bias, std: residualStd, random });
    this.dropout = new Dropout(dropout, random.fork());
    this.#position = position;
  }

  /**
   * @param x [B, T, D]
   * @returns [B, T, D]
   */
  forward(x: Tensor3D, { cache, layer = 0, observe }: AttentionContext = {}): Tensor3D {
    return tf.tidy(() => {
      const offset = cache?.length ?? 0;
      const heads = splitHeads(this.query.forward(x), this.heads); // [B, H, T, S]
      const q = this.#position.rotate?.(heads, offset) ?? heads;
      const newKeys = splitHeads(this.key.forward(x), this.keyValueHeads); // [B, K, T, S]
      const newValues = splitHeads(this.value.forward(x), this.keyValueHeads);
      const { k, v } = this.#keysAndValues(newKeys, newValues, cache, layer);
      const options = this.#options(q, k, offset + x.shape[1]);
      observe?.(attentionWeights(q, k, options), layer);
      return this.output.forward(mergeHeads(this.compute(q, k, v, options)));
    });
  }

  /** The new keys, turned, and values, behind those in the cache; there may be room behind them for `attention` to overlook. */
  #keysAndValues(keys: Tensor4D, values: Tensor4D, cache: KVCache | undefined, layer: number): KeysAndValues {
    const inPlace = this.compute === attention && !tf.engine().isTapeOn() ? cache?.appendInPlace?.bind(cache) : undefined;
    const position = this.#position;
    if (inPlace && position.rotaryBase !== undefined) return inPlace(layer, keys, values, position.rotaryBase);
    const k = position.rotate?.(keys, cache?.length ?? 0) ?? keys;
    return inPlace?.(layer, k, values) ?? cache?.append(layer, k, values) ?? { k, v: values };
  }

  /** @param keys how many of k count */
  #options(q: Tensor4D, k: Tensor4D, keys: number): AttentionOptions {
    const bias = this.#position.bias?.(this.heads, q.shape[2], keys);
    const drops = this.training && this.dropout.rate > 0;
    return {
      causal: this.causal,
      ...(keys < k.shape[2] && { keys }),
      ...(bias && { bias }),
      ...(drops && { dropout: (weights: Tensor4D) => this.dropout.forward(weights) }),
    };
  }
}
