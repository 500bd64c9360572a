/**
 * @file A priority queue of pairs: the most frequent first, of equally frequent ones the pair of smaller numbers.
 */

export class PairHeap {
  #pairs: number[] = [];
  #counts: number[] = [];
  /** left · 2²⁶ + right. */
  #ties: number[] = [];
  #poppedCount = 0;

  /** The count with which the last popped pair had been pushed. */
  get poppedCount(): number {
    return this.#poppedCount;
  }

  push(pair: number, count: number, left: number, right: number): void {
    const tie = left * 2 ** 26 + right;
    let at = this.#pairs.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!goesBefore(count, tie, this.#counts[parent]!, this.#ties[parent]!)) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#put(at, pair, count, tie);
  }

  /** The first pair, or −1 when there is none. */
  pop(): number {
    const top = this.#pairs[0];
    if (top === undefined) return -1;
    this.#poppedCount = this.#counts[0]!;
    const pair = this.#pairs.pop()!;
    const count = this.#counts.pop()!;
    const tie = this.#ties.pop()!;
    const size = this.#pairs.length;
    if (size === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#isBefore(child + 1, child)) child++;
      if (!goesBefore(this.#counts[child]!, this.#ties[child]!, count, tie)) break;
      this.#move(child, at);
      at = child;
    }
    this.#put(at, pair, count, tie);
    return top;
  }

  #isBefore(one: number, other: number): boolean {
    return goesBefore(this.#counts[one]!, this.#ties[one]!, this.#counts[other]!, this.#ties[other]!);
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#pairs[from]!, this.#counts[from]!, this.#ties[from]!);
  }

  #put(at: number, pair: number, count: number, tie: number): void {
    this.#pairs[at] = pair;
    this.#counts[at] = count;
    this.#ties[at] = tie;
  }
}

function goesBefore(count: number, tie: number, otherCount: number, otherTie: number): boolean {
  return count > otherCount || (count === otherCount && tie < otherTie);
}
