/**
 * @file A key/value cache for one beginning and many ends: the beginning is read by one row and kept, and then every row of a
 * batch goes on from it, without being kept.
 *
 * Shapes: B rows, K key/value heads, P tokens of the beginning, T new tokens, S head size.
 */
import { tf, type Tensor4D } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import type { KeysAndValues, KVCache } from '../attention/index.ts';

export class SharedPrefixCache implements KVCache {
  readonly capacity: number;
  /** false (at first): one row lengthens what is kept; true: any number of rows go on from it, each pass from there again. */
  branching = false;
  #length = 0;
  /** [1, K, P or more, S] of each layer. */
  readonly #kept: KeysAndValues[] = [];
  /** [B, K, P + T, S], what `append` last gave away for a layer when branching. */
  readonly #given: KeysAndValues[] = [];

  constructor(capacity = Infinity) {
    this.capacity = capacity;
  }

  get length(): number {
    return this.#length;
  }

  append(layer: number, k: Tensor4D, v: Tensor4D): KeysAndValues {
    const [rows, , tokens] = k.shape;
    const needed = this.#length + tokens;
    invariant(needed <= this.capacity, `SharedPrefixCache: ${needed} tokens, but there is room for ${this.capacity}`);
    invariant(this.branching || rows === 1, `SharedPrefixCache: the beginning is read by one row, got ${rows}`);
    const kept = this.#kept[layer];
    invariant(kept || this.#length === 0, `SharedPrefixCache: layer ${layer} has not read the beginning`);
    const joined = tf.tidy(() => ({ k: tf.keep(this.#behind(kept?.k, k)), v: tf.keep(this.#behind(kept?.v, v)) }));
    const place = this.branching ? this.#given : this.#kept;
    release(place[layer]);
    return (place[layer] = joined);
  }

  advance(tokens: number): void {
    if (!this.branching) this.#length += tokens;
  }

  truncate(length: number): void {
    invariant(
      Number.isInteger(length) && length >= 0 && length <= this.#length,
      `SharedPrefixCache: cannot truncate ${this.#length} tokens to ${length}`,
    );
    this.#length = length;
  }

  dispose(): void {
    for (const layer of [...this.#kept.splice(0), ...this.#given.splice(0)]) release(layer);
    this.#length = 0;
  }

  /** @param kept [1, K, P or more, S] @param added [B, K, T, S] */
  #behind(kept: Tensor4D | undefined, added: Tensor4D): Tensor4D {
    if (!kept || this.#length === 0) return tf.clone(added);
    const [, heads, there, headSize] = kept.shape;
    const valid = there === this.#length ? kept : tf.slice(kept, [0, 0, 0, 0], [1, heads, this.#length, headSize]);
    // On wasm a hundred times as fast as tf.tile.
    const rows = Array.from({ length: added.shape[0] }, () => valid);
    return tf.concat([rows.length === 1 ? valid : tf.concat(rows, 0), added], 2);
  }
}

function release(layer: KeysAndValues | undefined): void {
  if (layer) tf.dispose([layer.k, layer.v]);
}
