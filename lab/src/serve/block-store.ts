/**
 * @file The tensors behind the blocks: for each layer one pool of keys and one of values, in which token t of block b lies in
 * slot b · blockSize + t. Kwon et al. 2023, section 4.2.
 *
 * Shapes: K key/value heads, C slots, N tokens, S head size.
 */
import { tf, type Tensor3D, type Tensor4D } from '../backend/index.ts';
import type { KeysAndValues } from '../attention/index.ts';
import { gatherBlocks, scatterRows } from '../ops/index.ts';
import type { BlockCopy } from './block-manager.ts';

export interface BlockStoreOptions {
  readonly layers: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly blocks: number;
  readonly blockSize: number;
}

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
   * @param k [N, K, S]
   * @param v [N, K, S]
   * @param slots where each of the N tokens goes, or NO_SLOT
   */
  write(layer: number, k: Tensor3D, v: Tensor3D, slots: readonly number[]): void {
    const pool = this.#pools[layer]!;
    const changed = scatterRows(pool, k, v, slots);
    for (const name of ['k', 'v'] as const) {
      if (changed[name] === pool[name]) continue;
      pool[name].dispose();
      pool[name] = tf.keep(changed[name]);
    }
  }

  /** The keys and values of blocks, one behind the other: [1, K, blocks · blockSize, S], the caller's. */
  gather(layer: number, table: readonly number[]): KeysAndValues {
    return gatherBlocks(this.#pools[layer]!, table, this.options.blockSize);
  }

  copy({ from, to }: BlockCopy): void {
    for (const layer of this.#pools.keys()) {
      tf.tidy(() => {
        const { k, v } = this.gather(layer, [from]);
        this.write(layer, byTokens(k), byTokens(v), this.#slotsOf([to]));
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
      tf.tidy(() => this.write(layer, byTokens(tf.tensor4d(k, shape)), byTokens(tf.tensor4d(v, shape)), this.#slotsOf(table)));
    }
  }

  dispose(): void {
    for (const { k, v } of this.#pools.splice(0)) tf.dispose([k, v]);
  }

  #slotsOf(table: readonly number[]): number[] {
    const { blockSize } = this.options;
    return table.flatMap((block) => Array.from({ length: blockSize }, (_, t) => block * blockSize + t));
  }
}

/** [1, K, N, S] → [N, K, S] */
function byTokens(x: Tensor4D): Tensor3D {
  const [, heads, tokens, size] = x.shape;
  return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [tokens, heads, size]);
}
