/**
 * @file Which documents belong together: union-find (Tarjan 1975) over their numbers. Four bytes a document.
 */
import { grown } from './words.ts';

export class Groups {
  /** One that stands nearer to the first of its group, plus one; 0 for those that nobody joined. */
  #parents = new Int32Array(1024);

  /** The smallest number in the group of `item`. */
  first(item: number): number {
    let at = item;
    for (;;) {
      const parent = this.#parent(at);
      if (parent === at) return at;
      const next = this.#parent(parent);
      this.#parents[at] = next + 1;
      at = next;
    }
  }

  join(a: number, b: number): void {
    const [x, y] = [this.first(a), this.first(b)];
    if (x === y) return;
    const later = Math.max(x, y);
    if (later >= this.#parents.length) this.#parents = grown(this.#parents, later + 1);
    this.#parents[later] = Math.min(x, y) + 1;
  }

  #parent(item: number): number {
    const parent = item < this.#parents.length ? this.#parents[item]! : 0;
    return parent === 0 ? item : parent - 1;
  }
}
