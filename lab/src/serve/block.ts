/**
 * @file A block: room for the keys and values of a few neighbouring tokens, the unit in which the cache is shared out.
 * Kwon et al. 2023 (PagedAttention), section 4.1.
 */

export interface Block {
  /** Its place in the pool: token t of it lies in slot `id · blockSize + t`. */
  readonly id: number;
  /** How many tables list it. */
  references: number;
  /** What is known of its content, once it is full and may be found by others. */
  cached: CachedContent | undefined;
  /** Its neighbours in the queue of free blocks. */
  previous: Block | undefined;
  next: Block | undefined;
}

/** A full block's content, by which requests with the same beginning find it. */
export interface CachedContent {
  readonly hash: number;
  readonly parent: number;
  readonly tokens: readonly number[];
  readonly extras: string;
}
