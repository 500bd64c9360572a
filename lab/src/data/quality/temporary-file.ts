/**
 * @file A file for what memory should not hold, gone when it is closed; where an open file may be removed, as on Linux, nothing
 * is left behind even by a process that is killed.
 */
import { closeSync, mkdirSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { savingError } from '../../files/index.ts';

let files = 0;

export class TemporaryFile {
  readonly #path: string;
  readonly #descriptor: number;

  /** @throws LabError when it cannot be made there. */
  constructor(folder: string, kind: string) {
    this.#path = join(folder, `.${kind}-${process.pid}-${files++}.tmp`);
    try {
      mkdirSync(folder, { recursive: true });
      this.#descriptor = openSync(this.#path, 'w+');
    } catch (error) {
      throw savingError(error, this.#path);
    }
    this.#remove();
  }

  /** @throws LabError when the disk is full. */
  write(bytes: Uint8Array, position: number): void {
    try {
      for (let done = 0; done < bytes.length;) {
        done += writeSync(this.#descriptor, bytes, done, bytes.length - done, position + done);
      }
    } catch (error) {
      throw savingError(error, this.#path);
    }
  }

  /** Fills `bytes` with what was written from `position` on. */
  read(bytes: Uint8Array, position: number): void {
    for (let done = 0; done < bytes.length;) {
      done += readSync(this.#descriptor, bytes, done, bytes.length - done, position + done);
    }
  }

  close(): void {
    closeSync(this.#descriptor);
    this.#remove();
  }

  #remove(): void {
    try {
      unlinkSync(this.#path);
    } catch {
      // Gone already, or a system that keeps it until it is closed.
    }
  }
}
