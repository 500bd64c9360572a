/**
 * @file The set of shingles of every document, in a file: looked up again to compute the true similarity of two documents.
 * Four bytes a word on the disk, eight bytes a document in memory.
 */
import { closeSync, mkdirSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { savingError } from '../../files/index.ts';
import { jaccardOfSorted } from './minhash.ts';

const BUFFER = 1 << 18;
let files = 0;

export class ShingleStore {
  readonly #path: string;
  readonly #descriptor: number;
  readonly #buffer = new Int32Array(BUFFER);
  #used = 0;
  /** Where the set of each document ends, in integers; that of document d begins where that of d − 1 ends. */
  #ends = new Float64Array(1024);
  #documents = 0;
  #written = 0;
  #total = 0;

  constructor(folder: string) {
    this.#path = join(folder, `.shingles-${process.pid}-${files++}.tmp`);
    try {
      mkdirSync(folder, { recursive: true });
      this.#descriptor = openSync(this.#path, 'w+');
    } catch (error) {
      throw savingError(error, this.#path);
    }
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
    closeSync(this.#descriptor);
    rmSync(this.#path, { force: true });
  }

  #set(document: number): Int32Array {
    const start = document === 0 ? 0 : this.#ends[document - 1]!;
    const set = new Int32Array(this.#ends[document]! - start);
    const bytes = new Uint8Array(set.buffer);
    for (let done = 0; done < bytes.length;) {
      done += readSync(this.#descriptor, bytes, done, bytes.length - done, start * 4 + done);
    }
    return set;
  }

  #flush(): void {
    const bytes = new Uint8Array(this.#buffer.buffer, 0, this.#used * 4);
    try {
      for (let done = 0; done < bytes.length;) {
        done += writeSync(this.#descriptor, bytes, done, bytes.length - done, this.#written * 4 + done);
      }
    } catch (error) {
      throw savingError(error, this.#path);
    }
    this.#written += this.#used;
    this.#used = 0;
  }
}
