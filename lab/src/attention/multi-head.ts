/**
 * @file Multi-head attention: several attentions side by side, each on its own projections, their answers mixed together.
 * Vaswani et al. 2017, section 3.2.2; fewer key/value heads than query heads: Ainslie et al. 2023.
 *
 * Shapes: B batch, T tokens, D width, H heads, K key/value heads, S head size, U keys.
 */
import { tf, type Tensor, type Tensor3D, type Tensor4D } from '../backend/index.ts';
import { invariant, Random } from '../base/index.ts';
import { Dropout, type Layer, Linear, Module, type Randomness } from '../nn/index.ts';
import type { PackedDocuments } from '../ops/index.ts';
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
  /** ALiBi's slopes [H], in place of the bias where the attention function takes them: then no matrix need be there. */
  slopes?(heads: number): Float32Array;
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
  /** The same for the output projection alone; `bias` unless told. */
  readonly outputBias?: boolean;
  /** Hide the future (default true). */
  readonly causal?: boolean;
  /** How many tokens each one sees, itself included, when not all before it. Beltagy et al. 2020, section 3.1. */
  readonly slidingWindow?: number | undefined;
  /** Bends the scores into (−softCap, softCap). Gemma Team 2024, section 2. */
  readonly softCap?: number | undefined;
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
  /** Where the documents end that are packed into the rows: none sees another. Not together with a cache. */
  readonly documents?: PackedDocuments | undefined;
  /** Is shown the weights [B, H, T, U] of the plain attention, whatever `compute` is; keep a clone to keep them. */
  readonly observe?: ((weights: Tensor4D, layer: number) => void) | undefined;
}

export class MultiHeadAttention extends Module {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly causal: boolean;
  readonly slidingWindow: number | undefined;
  readonly softCap: number | undefined;
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
    const { width, heads, keyValueHeads = heads, bias = true, outputBias = bias, std = 0.02 } = options;
    const { headSize = width / heads, causal = true, dropout = 0, position = {}, compute = attention, residualStd = std } = options;
    invariant(
      Number.isInteger(headSize),
      `MultiHeadAttention: width ${width} is not a multiple of ${heads} heads; set headSize to uncouple them`,
    );
    invariant(
      heads % keyValueHeads === 0,
      `MultiHeadAttention: heads must be a multiple of keyValueHeads, got ${heads} heads and ${keyValueHeads} key/value heads`,
    );
    const { slidingWindow, softCap } = options;
    invariant(
      slidingWindow === undefined || (Number.isInteger(slidingWindow) && slidingWindow > 0),
      `MultiHeadAttention: slidingWindow must be a positive number of tokens, got ${slidingWindow}`,
    );
    const random = typeof options.random === 'object' ? options.random : new Random(options.random ?? 0);
    this.heads = heads;
    this.keyValueHeads = keyValueHeads;
    this.headSize = headSize;
    this.causal = causal;
    this.slidingWindow = slidingWindow;
    this.softCap = softCap;
    this.compute = compute;
    this.query = new Linear(width, heads * headSize, { bias, std, random });
    this.key = new Linear(width, keyValueHeads * headSize, { bias, std, random });
    this.value = new Linear(width, keyValueHeads * headSize, { bias, std, random });
    this.output = new Linear(heads * headSize, width, { bias: outputBias, std: residualStd, random });
    this.dropout = new Dropout(dropout, random.fork());
    this.#position = position;
  }

  /**
   * @param x [B, T, D]
   * @returns [B, T, D]
   */
  forward(x: Tensor3D, { cache, layer = 0, documents, observe }: AttentionContext = {}): Tensor3D {
    invariant(!cache || !documents, 'MultiHeadAttention: packed documents and a cache do not go together');
    return tf.tidy(() => {
      const offset = cache?.length ?? 0;
      const heads = splitHeads(this.query.forward(x), this.heads); // [B, H, T, S]
      const q = this.#position.rotate?.(heads, offset) ?? heads;
      const newKeys = splitHeads(this.key.forward(x), this.keyValueHeads); // [B, K, T, S]
      const newValues = splitHeads(this.value.forward(x), this.keyValueHeads);
      const { k, v } = this.#keysAndValues(newKeys, newValues, cache, layer);
      const options = this.#options(q, k, offset + x.shape[1], documents);
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
  #options(q: Tensor4D, k: Tensor4D, keys: number, documents: PackedDocuments | undefined): AttentionOptions {
    const { causal, slidingWindow, softCap } = this;
    const drops = this.training && this.dropout.rate > 0;
    return {
      causal,
      ...(keys < k.shape[2] && { keys }),
      ...(slidingWindow !== undefined && { window: { left: slidingWindow - 1, ...(!causal && { right: slidingWindow - 1 }) } }),
      ...(documents && { documents }),
      ...(softCap !== undefined && { softCap }),
      ...this.#positionOptions(q, keys),
      ...(drops && { dropout: { rate: this.dropout.rate, seed: this.dropout.random.uint32() } }),
    };
  }

  #positionOptions(q: Tensor4D, keys: number): AttentionOptions {
    const position = this.#position;
    if (position.slopes && this.compute.takesSlopes) return { alibiSlopes: position.slopes(this.heads) };
    const bias = position.bias?.(this.heads, q.shape[2], keys);
    return bias ? { bias } : {};
  }
}
