/**
 * @file The pieces as a tree over bytes: which pieces begin at this place of a text?
 */
import { PairMap } from './pair-map.ts';

export class Trie {
  /** (node, byte) → node; node 0 is the root. */
  readonly #children: PairMap;
  /** The piece that ends at each node, or −1. */
  readonly #pieces: number[] = [-1];

  constructor(pieces: readonly Uint8Array[]) {
    this.#children = new PairMap(2 * pieces.length);
    pieces.forEach((bytes, id) => this.#add(bytes, id));
  }

  #add(bytes: Uint8Array, id: number): void {
    let node = 0;
    for (const byte of bytes) {
      let child = this.#children.get(node, byte);
      if (child < 0) {
        child = this.#pieces.push(-1) - 1;
        this.#children.set(node, byte, child);
      }
      node = child;
    }
    this.#pieces[node] = id;
  }

  /** The node behind `node` for the next byte, or −1. */
  step(node: number, byte: number): number {
    return this.#children.get(node, byte);
  }

  /** The piece that ends at the node, or −1. */
  pieceAt(node: number): number {
    return this.#pieces[node]!;
  }
}
