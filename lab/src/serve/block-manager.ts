/**
 * @file Who may write where: the cache's blocks are shared out to requests like an operating system's pages to processes.
 * Each request has a table of blocks; a block may stand in several tables (a common beginning, or samples of one prompt), and
 * is copied before somebody writes into it who does not own it alone. Kwon et al. 2023 (PagedAttention), sections 4.2 to 4.4;
 * prefix caching after vLLM's design document.
 *
 * The manager knows no tensors: it says what to copy, and the tensors' owner does so.
 */
import { invariant } from '../base/index.ts';
import type { Block, CachedContent } from './block.ts';
import { FreeQueue } from './free-queue.ts';
import { NO_PARENT, prefixHash } from './prefix-hash.ts';

export interface BlockManagerOptions {
  /** How many blocks there are. */
  readonly blocks: number;
  /** Tokens of a block (default 16, vLLM's). */
  readonly blockSize?: number;
  /** Find the content of full blocks again, also after their request has ended (default true). */
  readonly prefixCaching?: boolean;
}

/** What a request has: its tokens' keys and values lie in these blocks, in order. */
export class BlockTable {
  readonly blocks: number[] = [];
  /** Hashes of the leading blocks whose content is complete. */
  readonly hashes: number[] = [];
}

/** A block whose content must be there twice, before anything is written. */
export interface BlockCopy {
  readonly from: number;
  readonly to: number;
}

export class BlockManager {
  readonly blockSize: number;
  readonly prefixCaching: boolean;
  readonly #blocks: readonly Block[];
  readonly #free = new FreeQueue();
  readonly #byHash = new Map<number, Block>();

  constructor({ blocks, blockSize = 16, prefixCaching = true }: BlockManagerOptions) {
    for (const [name, size] of Object.entries({ blocks, blockSize })) {
      invariant(Number.isInteger(size) && size > 0, `BlockManager: ${name} must be a positive integer, got ${size}`);
    }
    this.blockSize = blockSize;
    this.prefixCaching = prefixCaching;
    this.#blocks = Array.from({ length: blocks }, (_, id) => ({
      id,
      references: 0,
      cached: undefined,
      previous: undefined,
      next: undefined,
    }));
    for (const block of this.#blocks) this.#free.push(block);
  }

  /** How many blocks there are. */
  get blocks(): number {
    return this.#blocks.length;
  }

  /** Blocks that nobody uses; the content of some may still be found. */
  get free(): number {
    return this.#free.length;
  }

  /** The free blocks in the order in which they will be used. */
  get freeQueue(): number[] {
    return this.#free.ids();
  }

  /** The blocks whose content can be found. */
  get cachedBlocks(): number[] {
    return [...this.#byHash.values()].map(({ id }) => id);
  }

  /** Blocks for so many tokens. */
  blocksFor(tokens: number): number {
    return Math.ceil(tokens / this.blockSize);
  }

  /** How many of those blocks the table does not have yet, with the one that has to be copied first. */
  missing(table: BlockTable, tokens: number, written = tokens): number {
    return Math.max(0, this.blocksFor(tokens) - table.blocks.length) + this.#sharedFrom(table, written).length;
  }

  /**
   * The blocks that hold the beginning of these tokens already, one after the other. At least the last token is left to
   * compute: its logits are wanted.
   */
  lookUp(tokens: readonly number[], extras = ''): number[] {
    return this.#find(tokens, extras).map(({ id }) => id);
  }

  /**
   * Opens an empty table with what is there already, and room for so many tokens.
   *
   * @param length all tokens that there shall be room for; those given unless told
   * @returns how many tokens were found, or undefined where there is no room: nothing is changed then
   */
  open(table: BlockTable, tokens: readonly number[], length = tokens.length, extras = ''): number | undefined {
    invariant(table.blocks.length === 0, 'BlockManager: the table is in use; release it first');
    const found = this.#find(tokens, extras);
    const idle = found.reduce((count, { references }) => count + (references === 0 ? 1 : 0), 0);
    if (this.blocksFor(length) - found.length > this.free - idle) return undefined;
    // What was found is taken before anything is allocated, lest it be thrown out to make room for its own continuation.
    for (const block of found) {
      if (block.references++ === 0) this.#free.remove(block);
      table.blocks.push(block.id);
      table.hashes.push(block.cached!.hash);
    }
    this.#allocate(table, length);
    return found.length * this.blockSize;
  }

  /**
   * Makes room for `length` tokens, of which those from `written` on will be written now.
   *
   * @returns what must be copied first, or undefined where there is no room: nothing is changed then
   */
  grow(table: BlockTable, length: number, written = length): BlockCopy[] | undefined {
    const blocks = this.blocksFor(length) - table.blocks.length;
    if (blocks <= 0 && written >= length) return [];
    const shared = this.#sharedFrom(table, written);
    if (Math.max(0, blocks) + shared.length > this.free) return undefined;
    const copies = shared.map((index) => {
      const from = table.blocks[index]!;
      const to = this.#take().id;
      this.#blocks[from]!.references--;
      table.blocks[index] = to;
      return { from, to };
    });
    this.#allocate(table, length);
    return copies;
  }

  /** Blocks up to `computed` tokens are complete: full ones may now be found. */
  commit(table: BlockTable, tokens: readonly number[], computed: number, extras = ''): void {
    if (!this.prefixCaching) return;
    const full = Math.floor(computed / this.blockSize);
    for (let index = table.hashes.length; index < full; index++) {
      const content = tokens.slice(index * this.blockSize, (index + 1) * this.blockSize);
      const parent = table.hashes[index - 1] ?? NO_PARENT;
      const hash = prefixHash(parent, content, extras);
      table.hashes.push(hash);
      const block = this.#blocks[table.blocks[index]!]!;
      if (block.cached || this.#byHash.has(hash)) continue;
      block.cached = { hash, parent, tokens: content, extras };
      this.#byHash.set(hash, block);
    }
  }

  /** A second table of the same blocks: whoever writes into a shared one gets a copy. */
  fork(table: BlockTable): BlockTable {
    const fork = new BlockTable();
    for (const id of table.blocks) this.#blocks[id]!.references++;
    fork.blocks.push(...table.blocks);
    fork.hashes.push(...table.hashes);
    return fork;
  }

  /** Gives the blocks back, the last first: the end of a text is of less use to others than its beginning. */
  release(table: BlockTable): void {
    for (const id of table.blocks.toReversed()) {
      const block = this.#blocks[id]!;
      invariant(block.references > 0, `BlockManager: block ${id} is given back twice`);
      if (--block.references === 0) this.#free.push(block);
    }
    table.blocks.length = table.hashes.length = 0;
  }

  /**
   * Counts everything again.
   *
   * @param tables all that are in use
   * @throws RangeError naming the block that is leaked, shared wrongly, free and used at once, or found by a wrong name.
   */
  check(tables: Iterable<BlockTable>): void {
    const counts = new Int32Array(this.#blocks.length);
    for (const { blocks } of tables) {
      invariant(new Set(blocks).size === blocks.length, `BlockManager: a table lists a block twice: ${blocks.join(', ')}`);
      for (const id of blocks) counts[id]!++;
    }
    this.#free.check();
    const free = new Set(this.#free.ids());
    for (const { id, references, cached } of this.#blocks) {
      invariant(
        references === counts[id],
        `BlockManager: block ${id} counts ${references} references, ${counts[id]} tables list it`,
      );
      invariant(
        free.has(id) === (references === 0),
        `BlockManager: block ${id} has ${references} references and is ${free.has(id) ? '' : 'not '}free`,
      );
      invariant(!cached || this.#byHash.get(cached.hash)?.id === id, `BlockManager: block ${id} cannot be found by its hash`);
    }
    for (const [hash, { id, cached }] of this.#byHash) {
      invariant(cached?.hash === hash, `BlockManager: block ${id} is found by a hash that is not its own`);
    }
  }

  #allocate(table: BlockTable, length: number): void {
    while (table.blocks.length < this.blocksFor(length)) table.blocks.push(this.#take().id);
  }

  /** The block at the head of the queue; what it held is forgotten. */
  #take(): Block {
    const block = this.#free.shift();
    if (block.cached) this.#byHash.delete(block.cached.hash);
    block.cached = undefined;
    block.references = 1;
    return block;
  }

  /** The indices of blocks that will be written from token `written` on, and that others list, too. */
  #sharedFrom(table: BlockTable, written: number): number[] {
    const shared: number[] = [];
    for (let index = Math.floor(written / this.blockSize); index < table.blocks.length; index++) {
      if (this.#blocks[table.blocks[index]!]!.references > 1) shared.push(index);
    }
    return shared;
  }

  #find(tokens: readonly number[], extras: string): Block[] {
    const found: Block[] = [];
    if (!this.prefixCaching) return found;
    let parent = NO_PARENT;
    for (let end = this.blockSize; end < tokens.length; end += this.blockSize) {
      const content = tokens.slice(end - this.blockSize, end);
      const hash = prefixHash(parent, content, extras);
      const block = this.#byHash.get(hash);
      if (!block || !sameContent(block.cached!, parent, content, extras)) break;
      found.push(block);
      parent = hash;
    }
    return found;
  }
}

/** Two contents may have the same hash. */
function sameContent(cached: CachedContent, parent: number, tokens: readonly number[], extras: string): boolean {
  return cached.parent === parent && cached.extras === extras && cached.tokens.every((token, i) => token === tokens[i]);
}
