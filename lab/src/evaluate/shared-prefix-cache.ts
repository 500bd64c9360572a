/**
 * @file A key/value cache for one beginning and many ends: the prefix is read once, by one row, and then every row of a batch
 * goes on from it. Only for scoring: a second batch starts at the prefix again.
 *
 * Shapes: B rows, K key/value heads, P tokens of the prefix, T tokens of the ends, S head size.
 */
import { tf, type Tensor4D } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import type { KeysAndValues, KVCache } from '../attention/index.ts';

export class SharedPrefixCache implements KVCache {
  readonly capacity: number;
  #length = 0;
  /** [1, K, P, S] of each layer. */
  readonly #prefix: KeysAndValues[] = [];
  /** [B, K, P + T, S], what `append` last gave away for a layer. */
  readonly #given: (KeysAndValues | undefined)[] = [];

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
    if (this.#length === 0) {
      invariant(rows === 1, `SharedPrefixCache: the prefix is read by one row, got ${rows}`);
      this.#release(this.#prefix[layer]);
      return (this.#prefix[layer] = tf.tidy(() => ({ k: tf.keep(tf.clone(k)), v: tf.keep(tf.clone(v)) })));
    }
    const prefix = this.#prefix[layer];
    invariant(prefix, `SharedPrefixCache: layer ${layer} has read no prefix`);
    this.#release(this.#given[layer]);
    const joined = (kept: Tensor4D, added: Tensor4D): Tensor4D => {
      const repeated = rows === 1 ? kept : tf.tile(kept, [rows, 1, 1, 1]);
      return tf.keep(tf.concat([repeated, added], 2));
    };
    return (this.#given[layer] = tf.tidy(() => ({ k: joined(prefix.k, k), v: joined(prefix.v, v) })));
  }

  /** Behind the prefix nothing is kept: the next batch goes on from it as well. */
  advance(tokens: number): void {
    if (this.#length === 0) this.#length = tokens;
  }

  truncate(length: number): void {
    invariant(
      length === 0 || length === this.#length,
      `SharedPrefixCache: cannot truncate ${this.#length} tokens to ${length}`,
    );
    if (length === 0) this.dispose();
  }

  dispose(): void {
    for (const layer of [...this.#prefix.splice(0), ...this.#given.splice(0)]) this.#release(layer);
    this.#length = 0;
  }

  #release(layer: KeysAndValues | undefined): void {
    if (layer) tf.dispose([layer.k, layer.v]);
  }
}
