/**
 * @file An Int32Array that grows at its end.
 */

export class GrowingInt32Array {
  #items: Int32Array;
  #length = 0;

  constructor(expected = 64) {
    this.#items = new Int32Array(Math.max(16, expected));
  }

  get length(): number {
    return this.#length;
  }

  push(item: number): void {
    if (this.#length === this.#items.length) this.#reserve(1);
    this.#items[this.#length++] = item;
  }

  append(items: Int32Array): void {
    const count = items.length;
    if (this.#length + count > this.#items.length) this.#reserve(count);
    const target = this.#items;
    const at = this.#length;
    // For a few items a loop is faster than the call of set.
    if (count < 16) for (let i = 0; i < count; i++) target[at + i] = items[i]!;
    else target.set(items, at);
    this.#length = at + count;
  }

  /** What was added since the beginning or the last `take`, which is forgotten here. */
  take(): Int32Array {
    const taken = this.#items.slice(0, this.#length);
    this.#length = 0;
    return taken;
  }

  #reserve(more: number): void {
    const larger = new Int32Array(Math.max(this.#items.length * 2, this.#length + more));
    larger.set(this.#items.subarray(0, this.#length));
    this.#items = larger;
  }
}
