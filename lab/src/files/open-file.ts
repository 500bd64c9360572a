/**
 * @file A file that is read here and there. Synchronously: the bytes can go straight into memory that may move at the next await,
 * as that of the wasm backend does when it grows.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { LabError, messageOf } from '../base/index.ts';

/** More at once some systems refuse. */
const MOST_BYTES = 2 ** 30;

export class OpenFile {
  readonly path: string;
  /** In bytes, when it was opened. */
  readonly size: number;
  readonly #descriptor: number;

  private constructor(path: string, descriptor: number, size: number) {
    this.path = path;
    this.#descriptor = descriptor;
    this.size = size;
  }

  /** @throws LabError when there is no such file, it is a folder, or it may not be read. */
  static open(path: string): OpenFile {
    let descriptor: number;
    try {
      descriptor = openSync(path, 'r');
    } catch (error) {
      const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
      throw new LabError(missing ? `There is no file ${path}.` : `Cannot open ${path}: ${messageOf(error)}`, { cause: error });
    }
    const stats = fstatSync(descriptor);
    if (stats.isFile()) return new OpenFile(path, descriptor, stats.size);
    closeSync(descriptor);
    throw new LabError(`${path} is not a file.`);
  }

  /** Fills `target` with the bytes from `start` on. */
  readInto(target: Uint8Array, start: number): void {
    for (let done = 0; done < target.byteLength;) {
      const wanted = Math.min(target.byteLength - done, MOST_BYTES);
      const count = readSync(this.#descriptor, target, done, wanted, start + done);
      if (count === 0) throw new LabError(`${this.path} became shorter while it was read. Use another copy of it.`);
      done += count;
    }
  }

  read(start: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.readInto(bytes, start);
    return bytes;
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
