/**
 * @file Attention over keys and values that lie in blocks, as in a server whose requests share one memory. Kwon et al. 2023
 * (PagedAttention), section 4.1. Off the tape only: there is no gradient.
 *
 * Shapes: N rows, H heads, K key/value heads, C slots, S head size; slot t of block b is b · blockSize + t.
 */
import { tf, type Tensor3D, type Tensor4D } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { attentionReference } from '../attention/index.ts';
import { FORWARD_QUERIES, LARGEST_HEAD, SPLIT_KEYS } from '../attention/shared.ts';
import { fusedKernel } from '../fused.ts';
import type { KeyValueRoom } from '../kv-append/index.ts';
import './wasm.ts';

export * from './scatter.ts';

/** A row's view of the cache. An array of them is read once: it must not change afterwards. */
export interface PagedRow {
  /** How many keys it sees, its own included; 0 gives zeros. */
  readonly keys: number;
  /** The blocks that they lie in, in order; there may be more. */
  readonly table: readonly number[];
}

export interface PagedAttentionOptions {
  /** Tokens of a block. */
  readonly blockSize: number;
  /** Multiplies the scores; 1/√S unless told. */
  readonly scale?: number;
}

/** Whether the running backend has a kernel for rows and blocks of that kind. */
export function hasFusedPagedAttention(heads: number, keyValueHeads: number, headSize: number, blockSize: number): boolean {
  return (
    fusedKernel('pagedAttention') !== undefined &&
    headSize <= LARGEST_HEAD &&
    heads / keyValueHeads <= FORWARD_QUERIES &&
    blockSize % 4 === 0 &&
    SPLIT_KEYS % blockSize === 0
  );
}

/**
 * softmax(q kᵀ · scale) v for each row over its own keys. On a kernel, what a row gets does not depend on the others.
 *
 * @param q [N, H, S]
 * @param room [1, K, C, S], K divides H
 * @returns [N, H, S]
 * @throws RangeError when shapes or tables do not belong together.
 */
export function pagedAttention(
  q: Tensor3D,
  room: KeyValueRoom,
  rows: readonly PagedRow[],
  options: PagedAttentionOptions,
): Tensor3D {
  checkPaged(q, room, rows, options);
  const [, heads, headSize] = q.shape;
  const { blockSize, scale = 1 / Math.sqrt(headSize) } = options;
  if (!hasFusedPagedAttention(heads, room.k.shape[1], headSize, blockSize))
    return pagedAttentionReference(q, room, rows, options);
  const { views, tables } = flattened(rows);
  return fusedKernel('pagedAttention')!(
    { q, keys: room.k, values: room.v },
    { rows: views, tables, blockSize, scale },
  )[0] as Tensor3D;
}

/** Rows as the kernel reads them: of each how many keys it sees and where its blocks begin in the tables. */
interface FlatRows {
  readonly views: Int32Array;
  readonly tables: Int32Array;
}

/** All layers of a pass ask for the same rows. */
const flatRows = new WeakMap<readonly PagedRow[], FlatRows>();

function flattened(rows: readonly PagedRow[]): FlatRows {
  const known = flatRows.get(rows);
  if (known) return known;
  const tables: number[] = [];
  const begins = new Map<readonly number[], number>();
  const views = new Int32Array(2 * rows.length);
  for (const [n, { keys, table }] of rows.entries()) {
    // Rows of one request share their table.
    if (!begins.has(table)) {
      begins.set(table, tables.length);
      tables.push(...table);
    }
    views[2 * n] = keys;
    views[2 * n + 1] = begins.get(table)!;
  }
  const flat = { views, tables: Int32Array.from(tables) };
  flatRows.set(rows, flat);
  return flat;
}

/** The same in plain tensor operations: each row's blocks are gathered. */
export function pagedAttentionReference(
  q: Tensor3D,
  room: KeyValueRoom,
  rows: readonly PagedRow[],
  { blockSize, scale }: PagedAttentionOptions,
): Tensor3D {
  const [, heads, headSize] = q.shape;
  return tf.tidy(() => {
    const outputs = rows.map(({ keys, table }, n) => {
      if (keys === 0) return tf.zeros<tf.Rank.R3>([1, heads, headSize]);
      const query = tf.reshape(tf.slice(q, [n, 0, 0], [1, heads, headSize]), [1, heads, 1, headSize]) as Tensor4D;
      const { k, v } = gatherBlocks(room, table.slice(0, Math.ceil(keys / blockSize)), blockSize);
      const answer = attentionReference(query, k, v, { keys, ...(scale !== undefined && { scale }) });
      return tf.reshape(answer, [1, heads, headSize]) as Tensor3D;
    });
    return outputs.length === 1 ? outputs[0]! : tf.concat(outputs);
  });
}

/** The keys and values of blocks, one behind the other: [1, K, blocks · blockSize, S]. */
export function gatherBlocks({ k, v }: KeyValueRoom, table: readonly number[], blockSize: number): KeyValueRoom {
  const [, heads, slots, headSize] = k.shape;
  return tf.tidy(() => {
    // The room as rows of one block of one head each.
    const rows = Int32Array.from({ length: heads * table.length }, (_, i) => {
      return Math.floor(i / table.length) * (slots / blockSize) + table[i % table.length]!;
    });
    const index = tf.tensor1d(rows, 'int32');
    const gathered = (room: Tensor4D): Tensor4D => {
      const byBlocks = tf.reshape(room, [-1, blockSize * headSize]);
      return tf.reshape(tf.gather(byBlocks, index), [1, heads, table.length * blockSize, headSize]);
    };
    return { k: gathered(k), v: gathered(v) };
  });
}

function checkPaged(
  q: Tensor3D,
  { k, v }: KeyValueRoom,
  rows: readonly PagedRow[],
  { blockSize }: PagedAttentionOptions,
): void {
  const [count, heads, headSize] = q.shape;
  const [, keyValueHeads, slots] = k.shape;
  invariant(!tf.engine().isTapeOn(), 'pagedAttention: it has no gradient');
  invariant(
    q.rank === 3 && count === rows.length,
    () => `pagedAttention: the queries are [${q.shape}], but there are ${rows.length} rows`,
  );
  invariant(
    k.shape.join() === v.shape.join(),
    () => `pagedAttention: keys [${k.shape}], values [${v.shape}]; they must be equal`,
  );
  invariant(
    k.shape[0] === 1 && k.shape[3] === headSize && heads % keyValueHeads === 0 && slots % blockSize === 0,
    () => `pagedAttention: queries [${q.shape}] and keys [${k.shape}] in blocks of ${blockSize} do not belong together`,
  );
  for (const [n, { keys, table }] of rows.entries()) {
    invariant(
      keys >= 0 && keys <= table.length * blockSize,
      () => `pagedAttention: row ${n} sees ${keys} keys, but has ${table.length} blocks of ${blockSize}`,
    );
    const outside = table.find((block) => !(block >= 0 && block < slots / blockSize));
    invariant(outside === undefined, () => `pagedAttention: row ${n} has block ${outside}, but there are ${slots / blockSize}`);
  }
}
