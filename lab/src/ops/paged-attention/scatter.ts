/**
 * @file Writing keys and values into the slots of a cache that lies in blocks: each row goes to a place of its own.
 *
 * Shapes: N rows, K key/value heads, C slots, S head size.
 */
import { tf, type Tensor, type Tensor3D, type Tensor4D } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { fusedKernel } from '../fused.ts';
import { hasFusedKVAppend, kvAppend, type KeyValueRoom } from '../kv-append/index.ts';

/** A row that is not to be written. */
export const NO_SLOT = -1;

/**
 * Writes rows into slots.
 *
 * @param k [N, K, S]
 * @param v [N, K, S]
 * @param slots where each row goes, or NO_SLOT; no slot twice
 * @returns the room: the very tensors that were given, changed in place, where the running backend has a kernel for it and no
 *   other tensor holds their numbers; else new ones, and those that were given stay as they are
 */
export function scatterRows(room: KeyValueRoom, k: Tensor3D, v: Tensor3D, slots: readonly number[]): KeyValueRoom {
  checkScatter(room, k, v, slots);
  const fused = fusedKernel('scatterRows');
  const isAlone = ({ dataId }: Tensor): boolean => tf.backend().refCount(dataId) === 1;
  if (!isAlone(room.k) || !isAlone(room.v) || !(fused || hasFusedKVAppend())) return scatterRowsReference(room, k, v, slots);
  if (fused) fused({ k, v, keys: room.k, values: room.v }, { slots: [...slots] });
  else tf.tidy(() => appendRuns(room, k, v, slots));
  return room;
}

/** Rows that go to neighbouring slots are appended together: for a backend that can append in place. */
function appendRuns(room: KeyValueRoom, k: Tensor3D, v: Tensor3D, slots: readonly number[]): void {
  const [, heads, headSize] = k.shape;
  for (let from = 0, to = 1; from < slots.length; from = to++) {
    if (slots[from] === NO_SLOT) continue;
    while (to < slots.length && slots[to] === slots[from]! + to - from) to++;
    const run = (x: Tensor3D): Tensor4D => {
      const rows = tf.slice(x, [from, 0, 0], [to - from, heads, headSize]);
      return tf.reshape(tf.transpose(rows, [1, 0, 2]), [1, heads, to - from, headSize]);
    };
    kvAppend(room, run(k), run(v), { offset: slots[from]! });
  }
}

/** The same in plain tensor operations: a new room, each slot of which comes from the old one or from a row. */
export function scatterRowsReference(room: KeyValueRoom, k: Tensor3D, v: Tensor3D, slots: readonly number[]): KeyValueRoom {
  const [, heads, size, headSize] = room.k.shape;
  return tf.tidy(() => {
    const sources = Int32Array.from({ length: size }, (_, slot) => slot);
    for (const [row, slot] of slots.entries()) if (slot !== NO_SLOT) sources[slot] = size + row;
    const index = tf.tensor1d(sources, 'int32');
    const written = (old: Tensor4D, added: Tensor3D): Tensor4D => {
      const rows = tf.reshape(tf.transpose(added, [1, 0, 2]), [1, heads, slots.length, headSize]) as Tensor4D;
      return tf.gather(tf.concat([old, rows], 2), index, 2);
    };
    return { k: written(room.k, k), v: written(room.v, v) };
  });
}

function checkScatter(room: KeyValueRoom, k: Tensor3D, v: Tensor3D, slots: readonly number[]): void {
  const [, heads, size, headSize] = room.k.shape;
  const wanted = [slots.length, heads, headSize].join();
  invariant(!tf.engine().isTapeOn(), 'scatterRows: what is written in place has no gradient');
  invariant(
    k.shape.join() === wanted && v.shape.join() === wanted && room.v.shape.join() === room.k.shape.join(),
    () => `scatterRows: k [${k.shape}] and v [${v.shape}] must be [${wanted}], for ${slots.length} slots in [${room.k.shape}]`,
  );
  const wrong = slots.find((slot) => !Number.isInteger(slot) || slot < NO_SLOT || slot >= size);
  invariant(wrong === undefined, () => `scatterRows: slot ${wrong} is none of 0 … ${size - 1}`);
}
