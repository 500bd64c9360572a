/**
 * @file The set of shingles of every document, in a file: looked up again to compute the true similarity of two documents.
 * Four bytes a word on the disk, eight bytes a document in memory.
 */
import { jaccardOfSorted } from './minhash.ts';
import { TemporaryFile } from './temporary-file.ts';

/** Integers that are written at once. */
const BUFFER = 1 << 18;

export class ShingleStore {
  readonly #file: TemporaryFile;
  readonly #buffer = new Int32Array(BUFFER);
  #used = 0;
  /** Where the set of each document ends, in integers; that of document d begins where that of d − 1 ends. */
  #ends = new Float64Array(1024);
  #documents = 0;
  #written = 0;
  #total = 0;

  constructor(folder: string) {
    this.#file = new TemporaryFile(folder, 'shingles');
  }

  /** @param document a number larger than those before */
  add(document: number, set: Int32Array): void {
    while (this.#ends.length <= document) {
      const larger = new Float64Array(this.#ends.length * 2);
      larger.set(this.#ends);
      this.#ends = larger;
    }
    this.#ends.fill(this.#total, this.#documents, document);
    this.#total += set.length;
    this.#ends[document] = this.#total;
    this.#documents = document + 1;
    for (let done = 0; done < set.length;) {
      if (this.#used === BUFFER) this.#flush();
      const count = Math.min(BUFFER - this.#used, set.length - done);
      this.#buffer.set(set.subarray(done, done + count), this.#used);
      this.#used += count;
      done += count;
    }
  }

  /** The Jaccard similarity of two documents' sets. */
  similarity(a: number, b: number): number {
    this.#flush();
    return jaccardOfSorted(this.#set(a), this.#set(b));
  }

  close(): void {
    this.#file.close();
  }

  #set(document: number): Int32Array {
    const start = document === 0 ? 0 : this.#ends[document - 1]!;
    const set = new Int32Array(this.#ends[document]! - start);
    this.#file.read(new Uint8Array(set.buffer), start * 4);
    return set;
  }

  #flush(): void {
    this.#file.write(new Uint8Array(this.#buffer.buffer, 0, this.#used * 4), this.#written * 4);
    this.#written += this.#used;
    this.#used = 0;
  }
}
