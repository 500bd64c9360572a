/**
 * @file A table from 64-bit keys to whole numbers, in typed arrays: open addressing with linear probing, nothing is removed.
 */

export class KeyTable {
  #high = new Int32Array(1024);
  #low = new Int32Array(1024);
  /** The value plus one; 0 where the slot is free. */
  #values = new Int32Array(1024);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The value of a key, or −1. The lower half must be well mixed. */
  get(high: number, low: number): number {
    return this.#values[this.#slot(high, low)]! - 1;
  }

  /** Keeps the first value that was given to a key. */
  addIfNew(high: number, low: number, value: number): void {
    const slot = this.#slot(high, low);
    if (this.#values[slot] !== 0) return;
    this.#high[slot] = high;
    this.#low[slot] = low;
    this.#values[slot] = value + 1;
    if (++this.#size * 2 > this.#values.length) this.#grow();
  }

  #slot(high: number, low: number): number {
    const mask = this.#values.length - 1;
    let slot = low & mask;
    while (this.#values[slot] !== 0 && (this.#low[slot] !== low || this.#high[slot] !== high)) slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const [high, low, values] = [this.#high, this.#low, this.#values];
    const slots = values.length * 2;
    [this.#high, this.#low, this.#values] = [new Int32Array(slots), new Int32Array(slots), new Int32Array(slots)];
    for (let i = 0; i < values.length; i++) {
      if (values[i] === 0) continue;
      const slot = this.#slot(high[i]!, low[i]!);
      this.#high[slot] = high[i]!;
      this.#low[slot] = low[i]!;
      this.#values[slot] = values[i]!;
    }
  }
}
