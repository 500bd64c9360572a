/**
 * @file The key/value cache: in decoding, the keys and values of earlier tokens never change, so they are computed once and kept.
 *
 * Shapes: B batch, K key/value heads, T new tokens, U tokens so far, S head size.
 */
import { tf, type Tensor4D } from '../backend/index.ts';
import { invariant } from '../base/index.ts';

/** The keys and values of one layer. */
export interface KeysAndValues {
  /** [B, K, U, S] */
  readonly k: Tensor4D;
  /** [B, K, U, S] */
  readonly v: Tensor4D;
}

/**
 * What a model needs of a cache. One forward pass appends to every layer and then calls `advance` once; until then `length`,
 * the position of the first new token, stays where it is.
 */
export interface KVCache {
  /** Tokens that are kept: the position of the next one. */
  readonly length: number;
  /** How many tokens it can keep. */
  readonly capacity: number;
  /**
   * Puts the keys and values of T new tokens behind the `length` tokens of this layer, over what an unfinished pass left there.
   *
   * @returns all `length` + T of them, owned by the cache: valid until the next call for this layer
   * @throws RangeError beyond the capacity, or when the shapes differ from what is kept.
   */
  append(layer: number, k: Tensor4D, v: Tensor4D): KeysAndValues;
  /**
   * The same without copying what is kept: the keys and values [B, K, capacity or less, S] as they lie, of which the first
   * `length` + T count. Off the tape only. A cache need not have it.
   *
   * @param rotaryBase turns the new keys by their positions first, as `rotaryEmbedding` does
   */
  appendInPlace?(layer: number, k: Tensor4D, v: Tensor4D, rotaryBase?: number): KeysAndValues;
  /** Every layer has its T new tokens. */
  advance(tokens: number): void;
  /** Forgets everything behind the first `length` tokens. */
  truncate(length: number): void;
  dispose(): void;
}

/** Each layer's keys and values in one tensor each, replaced by a longer one at every step. */
export class ContiguousKVCache implements KVCache {
  readonly capacity: number;
  #length = 0;
  readonly #layers: KeysAndValues[] = [];

  /** @param capacity tokens; without end unless told */
  constructor(capacity = Infinity) {
    invariant(capacity > 0, `ContiguousKVCache: the capacity must be positive, got ${capacity}`);
    this.capacity = capacity;
  }

  get length(): number {
    return this.#length;
  }

  append(layer: number, k: Tensor4D, v: Tensor4D): KeysAndValues {
    const needed = this.#length + k.shape[2];
    invariant(needed <= this.capacity, `ContiguousKVCache: ${needed} tokens, but there is room for ${this.capacity}`);
    const old = this.#layers[layer];
    invariant(
      old || this.#length === 0,
      `ContiguousKVCache: layer ${layer} has nothing kept, but the cache holds ${this.#length} tokens`,
    );
    if (old) checkCacheShape('ContiguousKVCache', old.k.shape, k.shape);
    const grown = tf.tidy(() => ({ k: this.#behind(old?.k, k), v: this.#behind(old?.v, v) }));
    // Kept, so that a tidy around the forward pass does not take them away.
    this.#layers[layer] = { k: tf.keep(grown.k), v: tf.keep(grown.v) };
    old?.k.dispose();
    old?.v.dispose();
    return grown;
  }

  advance(tokens: number): void {
    const next = this.#length + tokens;
    const short = this.#layers.findIndex((layer) => layer.k.shape[2] !== next);
    invariant(
      short < 0,
      `ContiguousKVCache: cannot advance to ${next} tokens, layer ${short} has ${this.#layers[short]?.k.shape[2]}`,
    );
    this.#length = next;
  }

  truncate(length: number): void {
    invariant(
      Number.isInteger(length) && length >= 0 && length <= this.#length,
      `ContiguousKVCache: cannot truncate ${this.#length} tokens to ${length}`,
    );
    this.#length = length;
    if (length === 0) this.dispose();
  }

  dispose(): void {
    for (const { k, v } of this.#layers.splice(0)) tf.dispose([k, v]);
    this.#length = 0;
  }

  #behind(old: Tensor4D | undefined, added: Tensor4D): Tensor4D {
    if (!old || this.#length === 0) return tf.clone(added);
    const [batch, heads, kept, headSize] = old.shape;
    const valid = kept === this.#length ? old : tf.slice(old, [0, 0, 0, 0], [batch, heads, this.#length, headSize]);
    return tf.concat([valid, added], 2);
  }
}

/** @throws RangeError when what is added [B, K, T, S] does not belong to what is kept. */
export function checkCacheShape(what: string, kept: readonly number[], added: readonly number[]): void {
  for (const [axis, name] of [
    [0, 'batch'],
    [1, 'heads'],
    [3, 'head size'],
  ] as const) {
    invariant(kept[axis] === added[axis], `${what}: ${name} ${kept[axis]} is kept, but ${added[axis]} is added`);
  }
}
