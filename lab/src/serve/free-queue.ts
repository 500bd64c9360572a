/**
 * @file The free blocks in the order in which they will be used: a doubly linked list, because a block in its middle is taken
 * out whenever somebody still finds its content of use. vLLM, design document on prefix caching.
 */
import { invariant } from '../base/index.ts';
import type { Block } from './block.ts';

export class FreeQueue {
  #first: Block | undefined;
  #last: Block | undefined;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Puts a block at the tail: it will be used last. */
  push(block: Block): void {
    block.previous = this.#last;
    block.next = undefined;
    if (this.#last) this.#last.next = block;
    else this.#first = block;
    this.#last = block;
    this.#length++;
  }

  /** Takes the block at the head. */
  shift(): Block {
    const block = this.#first;
    invariant(block, 'FreeQueue: there is no free block');
    this.remove(block);
    return block;
  }

  /** Takes out a block of the queue, wherever it stands. */
  remove(block: Block): void {
    if (block.previous) block.previous.next = block.next;
    else this.#first = block.next;
    if (block.next) block.next.previous = block.previous;
    else this.#last = block.previous;
    block.previous = block.next = undefined;
    this.#length--;
  }

  /** The ids from head to tail. */
  ids(): number[] {
    const ids: number[] = [];
    for (let block = this.#first; block; block = block.next) ids.push(block.id);
    return ids;
  }

  /** @throws RangeError when a link does not lead back, or the count is wrong. */
  check(): void {
    let before: Block | undefined;
    let count = 0;
    for (let block = this.#first; block && count <= this.#length; block = block.next) {
      invariant(block.previous === before, `FreeQueue: block ${block.id} does not link back to block ${before?.id}`);
      before = block;
      count++;
    }
    invariant(before === this.#last, `FreeQueue: the chain ends at block ${before?.id}, the tail is block ${this.#last?.id}`);
    invariant(count === this.#length, `FreeQueue: it should hold ${this.#length} blocks, the chain does not`);
  }
}
