/**
 * @file The tensors behind the blocks: for each layer one pool of keys and one of values, in which token t of block b lies in
 * slot b · blockSize + t. Kwon et al. 2023, section 4.2.
 *
 * Shapes: K key/value heads, C slots, N tokens, S head size.
 */
import { tf, type Tensor, type Tensor4D } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import type { KeysAndValues } from '../attention/index.ts';
import { hasFusedKVAppend, kvAppend } from '../ops/index.ts';
import type { BlockCopy } from './block-manager.ts';

export interface BlockStoreOptions {
  readonly layers: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly blocks: number;
  readonly blockSize: number;
}

/** A row that is not to be written. */
export const NO_SLOT = -1;

/** The content of blocks in the host's memory: for each layer keys and values [K, tokens, S]. */
export type HostBlocks = readonly (readonly [k: Float32Array, v: Float32Array])[];

export class BlockStore {
  readonly options: BlockStoreOptions;
  /** [1, K, C, S] each */
  readonly #pools: { k: Tensor4D; v: Tensor4D }[];

  constructor(options: BlockStoreOptions) {
    this.options = options;
    const { layers, keyValueHeads, headSize, blocks, blockSize } = options;
    const pool = (): Tensor4D => tf.keep(tf.zeros<tf.Rank.R4>([1, keyValueHeads, blocks * blockSize, headSize]));
    this.#pools = Array.from({ length: layers }, () => ({ k: pool(), v: pool() }));
  }

  /** The pools of a layer, [1, K, C, S]; the store's own. */
  pools(layer: number): KeysAndValues {
    return this.#pools[layer]!;
  }

  /**
   * @param k [1, K, N, S]
   * @param v [1, K, N, S]
   * @param slots where each of the N tokens goes, or NO_SLOT
   */
  write(layer: number, k: Tensor4D, v: Tensor4D, slots: readonly number[]): void {
    invariant(slots.length === k.shape[2], () => `BlockStore: ${slots.length} slots for keys [${k.shape}]`);
    tf.tidy(() => {
      if (!hasFusedKVAppend()) this.#rebuild(layer, k, v, slots);
      else for (const run of runsOf(slots)) this.#writeRun(layer, k, v, run);
    });
  }

  /**
   * The keys and values of blocks, one behind the other: [1, K, blocks · blockSize, S], the caller's.
   */
  gather(layer: number, table: readonly number[]): KeysAndValues {
    const { keyValueHeads, headSize, blocks, blockSize } = this.options;
    const { k, v } = this.#pools[layer]!;
    return tf.tidy(() => {
      const rows = Int32Array.from({ length: keyValueHeads * table.length }, (_, i) => {
        return Math.floor(i / table.length) * blocks + table[i % table.length]!;
      });
      const index = tf.tensor1d(rows, 'int32');
      const gathered = (pool: Tensor4D): Tensor4D => {
        const byBlocks = tf.reshape(pool, [keyValueHeads * blocks, blockSize * headSize]);
        return tf.reshape(tf.gather(byBlocks, index), [1, keyValueHeads, table.length * blockSize, headSize]);
      };
      return { k: gathered(k), v: gathered(v) };
    });
  }

  copy({ from, to }: BlockCopy): void {
    for (const layer of this.#pools.keys()) {
      tf.tidy(() => {
        const { k, v } = this.gather(layer, [from]);
        this.write(layer, k, v, this.#slotsOf([to]));
      });
    }
  }

  /** Copies blocks to the host. */
  async read(table: readonly number[]): Promise<HostBlocks> {
    const tensors = this.#pools.map((_, layer) => this.gather(layer, table));
    const host = await Promise.all(
      tensors.map(async ({ k, v }) => (await Promise.all([k.data(), v.data()])) as [Float32Array, Float32Array]),
    );
    for (const { k, v } of tensors) tf.dispose([k, v]);
    return host;
  }

  /** Copies what `read` gave into other blocks, as many as there were. */
  restore(content: HostBlocks, table: readonly number[]): void {
    const { keyValueHeads, headSize, blockSize } = this.options;
    const shape: [number, number, number, number] = [1, keyValueHeads, table.length * blockSize, headSize];
    for (const [layer, [k, v]] of content.entries()) {
      tf.tidy(() => this.write(layer, tf.tensor4d(k, shape), tf.tensor4d(v, shape), this.#slotsOf(table)));
    }
  }

  dispose(): void {
    for (const { k, v } of this.#pools.splice(0)) tf.dispose([k, v]);
  }

  #slotsOf(table: readonly number[]): number[] {
    const { blockSize } = this.options;
    return table.flatMap((block) => Array.from({ length: blockSize }, (_, t) => block * blockSize + t));
  }

  #writeRun(layer: number, k: Tensor4D, v: Tensor4D, { from, tokens, slot }: Run): void {
    const pool = this.#pools[layer]!;
    const [, heads, all, size] = k.shape;
    const part = (x: Tensor4D): Tensor4D => (tokens === all ? x : tf.slice(x, [0, 0, from, 0], [1, heads, tokens, size]));
    this.#keep(pool, kvAppend(pool, part(k), part(v), { offset: slot }));
  }

  /** Where nothing can be written in place: new pools, each slot from the old one or from what is added. */
  #rebuild(layer: number, k: Tensor4D, v: Tensor4D, slots: readonly number[]): void {
    const pool = this.#pools[layer]!;
    const size = pool.k.shape[2];
    const sources = Int32Array.from({ length: size }, (_, slot) => slot);
    for (const [row, slot] of slots.entries()) if (slot !== NO_SLOT) sources[slot] = size + row;
    const index = tf.tensor1d(sources, 'int32');
    const rebuilt = (old: Tensor4D, added: Tensor): Tensor4D => tf.gather(tf.concat([old, added as Tensor4D], 2), index, 2);
    this.#keep(pool, { k: rebuilt(pool.k, k), v: rebuilt(pool.v, v) });
  }

  #keep(pool: { k: Tensor4D; v: Tensor4D }, changed: KeysAndValues): void {
    for (const name of ['k', 'v'] as const) {
      if (changed[name] === pool[name]) continue;
      pool[name].dispose();
      pool[name] = tf.keep(changed[name]);
    }
  }
}

/** Neighbouring rows that go to neighbouring slots. */
interface Run {
  readonly from: number;
  tokens: number;
  readonly slot: number;
}

function runsOf(slots: readonly number[]): Run[] {
  const runs: Run[] = [];
  for (const [row, slot] of slots.entries()) {
    if (slot === NO_SLOT) continue;
    const last = runs.at(-1);
    if (last && last.from + last.tokens === row && last.slot + last.tokens === slot) last.tokens++;
    else runs.push({ from: row, tokens: 1, slot });
  }
  return runs;
}
