/**
 * @file In how many documents a line stands, in a table of fixed size: a count-min sketch (Cormode and Muthukrishnan 2005) with
 * conservative update. Counts are never too low; a line is overcounted only where it meets other lines in all four rows.
 */
import { Random } from '../../base/index.ts';
import { chain, HASH_SEED, scatter } from './words.ts';

const ROWS = 4;
const MOST = 255;

export class LineCounts {
  readonly #width: number;
  readonly #cells: Uint8Array;
  readonly #seeds: Int32Array;

  /**
   * @param bits each row has 2^bits cells of one byte; 22: 16 MiB in all, made for some ten million different lines
   * @param seed decides which lines meet
   */
  constructor(bits: number, seed: number) {
    this.#width = 2 ** bits;
    this.#cells = new Uint8Array(ROWS * this.#width);
    const random = new Random(seed);
    this.#seeds = Int32Array.from({ length: ROWS }, () => random.uint32());
  }

  add(line: string): void {
    const hash = lineHash(line);
    const count = this.#smallest(hash);
    if (count === MOST) return;
    for (let row = 0; row < ROWS; row++) {
      const cell = this.#cell(hash, row);
      if (this.#cells[cell]! <= count) this.#cells[cell] = count + 1;
    }
  }

  /** How often the line was added, or more; 255 stands for that many or more. */
  count(line: string): number {
    return this.#smallest(lineHash(line));
  }

  /** The probability that a line which was added once is counted as `count` or more: all its cells hold so much. */
  confusion(count: number): number {
    let probability = 1;
    for (let row = 0; row < ROWS; row++) {
      const cells = this.#cells.subarray(row * this.#width, (row + 1) * this.#width);
      let full = 0;
      for (let i = 0; i < cells.length; i++) if (cells[i]! >= count) full++;
      probability *= full / this.#width;
    }
    return probability;
  }

  #smallest(hash: number): number {
    let count = MOST;
    for (let row = 0; row < ROWS; row++) {
      const value = this.#cells[this.#cell(hash, row)]!;
      if (value < count) count = value;
    }
    return count;
  }

  #cell(hash: number, row: number): number {
    return row * this.#width + (scatter(hash ^ this.#seeds[row]!) & (this.#width - 1));
  }
}

function lineHash(line: string): number {
  let hash = HASH_SEED;
  for (let i = 0; i < line.length; i++) hash = chain(hash, line.charCodeAt(i));
  return scatter(hash);
}
