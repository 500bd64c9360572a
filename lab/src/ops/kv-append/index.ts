/**
 * @file Appending to a key/value cache: new keys and values are written behind those that are there, into room that was
 * allocated before, and the keys turned by their positions on the way. The work is that of the new tokens, however long the cache.
 *
 * Shapes: B batch, K key/value heads, T new tokens, C tokens that there is room for, S head size.
 */
import { tf, type Tensor4D } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { fusedKernel } from '../fused.ts';
import { checkRotary, rotaryEmbedding } from '../rotary/index.ts';
import './wasm.ts';
import './webgpu.ts';

/** Room for the keys and values of a layer. */
export interface KeyValueRoom {
  /** [B, K, C, S] */
  readonly k: Tensor4D;
  /** [B, K, C, S] */
  readonly v: Tensor4D;
}

export interface KVAppendOptions {
  /** Tokens that are there already: where the new ones go, and the position of the first of them. */
  readonly offset: number;
  /** Turn the keys by their positions, as `rotaryEmbedding` does with this base. Not unless told. */
  readonly rotaryBase?: number | undefined;
}

/** Whether the running backend has a kernel for it. */
export function hasFusedKVAppend(): boolean {
  return fusedKernel('kvAppend') !== undefined;
}

/**
 * Writes k and v behind the first `offset` tokens of the room. It has no gradient.
 *
 * @param k [B, K, T, S]
 * @param v [B, K, T, S]
 * @returns the room: the very tensors that were given, changed in place, where the running backend has a kernel for it and no
 *   other tensor holds their numbers; else new ones, and those that were given stay as they are
 * @throws RangeError when the shapes do not fit, there is no room, or a gradient is being recorded.
 */
export function kvAppend(room: KeyValueRoom, k: Tensor4D, v: Tensor4D, options: KVAppendOptions): KeyValueRoom {
  checkAppend(room, k, v, options);
  if (k.size === 0) return room;
  const fused = fusedKernel('kvAppend');
  const isAlone = ({ dataId }: Tensor4D): boolean => tf.backend().refCount(dataId) === 1;
  if (!fused || !isAlone(room.k) || !isAlone(room.v)) return kvAppendReference(room, k, v, options);
  fused({ k, v, keys: room.k, values: room.v }, options);
  return room;
}

/** The same in plain tensor operations, with new tensors: what runs where there is no kernel. */
export function kvAppendReference(room: KeyValueRoom, k: Tensor4D, v: Tensor4D, options: KVAppendOptions): KeyValueRoom {
  const { offset, rotaryBase } = options;
  return tf.tidy(() => {
    const turned = rotaryBase === undefined ? k : rotaryEmbedding(k, { base: rotaryBase, offset });
    return { k: written(room.k, turned, offset), v: written(room.v, v, offset) };
  });
}

function written(room: Tensor4D, added: Tensor4D, offset: number): Tensor4D {
  const [batch, heads, capacity, headSize] = room.shape;
  const part = (from: number, to: number): Tensor4D[] =>
    to > from ? [tf.slice(room, [0, 0, from, 0], [batch, heads, to - from, headSize])] : [];
  return tf.concat([...part(0, offset), added, ...part(offset + added.shape[2], capacity)], 2);
}

function checkAppend(room: KeyValueRoom, k: Tensor4D, v: Tensor4D, { offset, rotaryBase }: KVAppendOptions): void {
  const [batch, heads, capacity, headSize] = room.k.shape;
  const [, , tokens] = k.shape;
  for (const [name, x, wanted] of [
    ['the values', v, k.shape],
    ['the room for values', room.v, room.k.shape],
    ['the keys', k, [batch, heads, tokens, headSize]],
  ] as const) {
    invariant(x.shape.join() === wanted.join(), () => `kvAppend: ${name} are [${x.shape}], but must be [${wanted}]`);
  }
  if (rotaryBase !== undefined) checkRotary('kvAppend', k, offset);
  invariant(
    Number.isInteger(offset) && offset >= 0 && offset + tokens <= capacity,
    () => `kvAppend: ${tokens} tokens from ${offset} on do not fit into room for ${capacity}`,
  );
  invariant(!tf.engine().isTapeOn(), 'kvAppend: what is written in place has no gradient; use a ContiguousKVCache');
}
