/**
 * @file A key/value cache with room to spare: a step writes its tokens behind those that are there, instead of copying all of
 * them into longer tensors.
 *
 * Shapes: B batch, K key/value heads, T new tokens, U tokens so far, C tokens that there is room for, S head size.
 */
import { tf, type Tensor4D } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import { firstKeys, kvAppend, type KeyValueRoom } from '../ops/index.ts';
import { checkCacheShape, type KeysAndValues, type KVCache } from './cache.ts';

/** The least room that is made. */
const LEAST = 64;

interface Layer {
  room: KeyValueRoom;
  /** Tokens in it, those of an unfinished pass included. */
  tokens: number;
  /** What `append` last gave away. */
  view?: KeysAndValues | undefined;
}

/** Each layer's keys and values in tensors [B, K, C, S], whose room C doubles when it is full, up to the capacity. */
export class PreallocatedKVCache implements KVCache {
  readonly capacity: number;
  #length = 0;
  #layers: Layer[] = [];

  /** @param capacity tokens; without end unless told */
  constructor(capacity = Infinity) {
    invariant(capacity > 0, `PreallocatedKVCache: the capacity must be positive, got ${capacity}`);
    this.capacity = capacity;
  }

  get length(): number {
    return this.#length;
  }

  append(layer: number, k: Tensor4D, v: Tensor4D): KeysAndValues {
    const room = this.appendInPlace(layer, k, v);
    const kept = this.#layers[layer]!;
    const view = tf.tidy(() => ({ k: firstKeys(room.k, kept.tokens), v: firstKeys(room.v, kept.tokens) }));
    // Owned by the cache: a tidy around the forward pass must not take them away. Views of all the room are the room itself.
    if (view.k !== room.k) kept.view = { k: tf.keep(view.k), v: tf.keep(view.v) };
    return view;
  }

  appendInPlace(layer: number, k: Tensor4D, v: Tensor4D, rotaryBase?: number): KeyValueRoom {
    const needed = this.#length + k.shape[2];
    invariant(needed <= this.capacity, `PreallocatedKVCache: ${needed} tokens, but there is room for ${this.capacity}`);
    const kept = this.#withRoom(layer, needed, k);
    releaseView(kept);
    const room = kvAppend(kept.room, k, v, { offset: this.#length, rotaryBase });
    this.#replace(kept, room);
    kept.tokens = needed;
    return kept.room;
  }

  advance(tokens: number): void {
    const next = this.#length + tokens;
    const short = this.#layers.findIndex((layer) => layer.tokens !== next);
    invariant(
      short < 0,
      () => `PreallocatedKVCache: cannot advance to ${next} tokens, layer ${short} has ${this.#layers[short]!.tokens}`,
    );
    this.#length = next;
  }

  truncate(length: number): void {
    invariant(
      Number.isInteger(length) && length >= 0 && length <= this.#length,
      `PreallocatedKVCache: cannot truncate ${this.#length} tokens to ${length}`,
    );
    this.#length = length;
    for (const layer of this.#layers) layer.tokens = length;
  }

  dispose(): void {
    for (const layer of this.#layers) {
      releaseView(layer);
      tf.dispose([layer.room.k, layer.room.v]);
    }
    this.#layers = [];
    this.#length = 0;
  }

  /** The layer, with room for so many tokens. */
  #withRoom(layer: number, tokens: number, { shape }: Tensor4D): Layer {
    const [batch, heads, , headSize] = shape;
    const known = this.#layers[layer];
    invariant(
      known || this.#length === 0,
      `PreallocatedKVCache: layer ${layer} has nothing kept, but the cache holds ${this.#length} tokens`,
    );
    if (known && this.#length > 0) checkCacheShape('PreallocatedKVCache', known.room.k.shape, shape);
    const fits = known && [0, 1, 3].every((axis) => known.room.k.shape[axis] === shape[axis]);
    if (fits && known.room.k.shape[2] >= tokens) return known;
    const size = Math.min(this.capacity, 2 ** Math.ceil(Math.log2(Math.max(tokens, LEAST))));
    const grown = (old?: Tensor4D): Tensor4D => {
      if (!old || !fits) return tf.keep(tf.zeros<tf.Rank.R4>([batch, heads, size, headSize]));
      return tf.keep(tf.pad(old, [[0, 0], [0, 0], [0, size - old.shape[2]], [0, 0]]));
    };
    const room = { k: grown(known?.room.k), v: grown(known?.room.v) };
    if (known) {
      this.#replace(known, room);
      return known;
    }
    return (this.#layers[layer] = { room, tokens: 0 });
  }

  #replace(layer: Layer, room: KeyValueRoom): void {
    for (const name of ['k', 'v'] as const) {
      if (room[name] === layer.room[name]) continue;
      tf.keep(room[name]);
      layer.room[name].dispose();
    }
    layer.room = room;
  }
}

function releaseView(layer: Layer): void {
  if (layer.view) tf.dispose([layer.view.k, layer.view.v]);
  layer.view = undefined;
}
