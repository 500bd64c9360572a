/** @file Drawing with whole-number weights. */
import { invariant, type Random } from '../../base/index.ts';

/** Things of which some are drawn more often than others. */
export class Weighted<T> {
  readonly #items: readonly T[];
  /** By item, the weights up to and with it. */
  readonly #upTo: readonly number[];

  constructor(items: readonly T[], weightOf: (item: T) => number) {
    let total = 0;
    this.#items = items;
    this.#upTo = items.map((item) => (total += weightOf(item)));
    const fits = Number.isSafeInteger(total) && total > 0;
    invariant(fits, `Weighted: weights are whole numbers, not all 0; their sum is ${total}`);
  }

  draw(random: Random): T {
    const place = random.integer(this.#upTo.at(-1)!);
    let low = 0;
    for (let high = this.#items.length - 1; low < high;) {
      const middle = (low + high) >> 1;
      if (this.#upTo[middle]! > place) high = middle;
      else low = middle + 1;
    }
    return this.#items[low]!;
  }
}
