/**
 * @file A safetensors file that stays open: its header is read and checked, its tensors are fetched one at a time, so that a file
 * of any size can be read in little memory.
 */
import { storedArray, type StoredDtype, type StoredTensor } from './dtypes.ts';
import { OpenFile } from './open-file.ts';
import { headerLength, malformed, parseHeader, type HeaderEntry } from './safetensors-header.ts';

/** A tensor that is still in its file. */
export interface TensorEntry {
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
  readonly bytes: number;
}

export class SafetensorsFile {
  readonly path: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** By name, in the order of their bytes. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly #file: OpenFile;
  readonly #starts: ReadonlyMap<string, number>;

  private constructor(file: OpenFile, metadata: Readonly<Record<string, string>>, entries: readonly HeaderEntry[], data: number) {
    this.path = file.path;
    this.metadata = metadata;
    this.#file = file;
    this.tensors = new Map(
      entries.map(({ name, dtype, shape, start, end }) => [name, { dtype, shape, bytes: end - start }]),
    );
    this.#starts = new Map(entries.map(({ name, start }) => [name, data + start]));
  }

  /**
   * Reads no more than the header, and checks it strictly. Close the file when done.
   *
   * @throws LabError that names the file and what is wrong with it: missing, truncated, holes, overlaps, …
   */
  static open(path: string): SafetensorsFile {
    const file = OpenFile.open(path);
    try {
      if (file.size < 8) throw malformed(path, `it has ${file.size} bytes, fewer than the length of a header takes`);
      const length = headerLength(file.read(0, 8), file.size, path);
      const { metadata, entries } = parseHeader(file.read(8, length), file.size - 8 - length, path);
      return new SafetensorsFile(file, metadata, entries, 8 + length);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** @throws RangeError when there is no tensor of that name. */
  read(name: string): StoredTensor {
    const { dtype, shape, bytes } = this.#entry(name);
    const data = new Uint8Array(bytes);
    this.readInto(name, data);
    return { dtype, shape, data: storedArray(dtype, data) };
  }

  /**
   * Fills `target` with the bytes of a tensor, from its byte `from` on.
   *
   * @throws RangeError when there is no tensor of that name, or it ends before `target` is full.
   */
  readInto(name: string, target: Uint8Array, from = 0): void {
    const { bytes } = this.#entry(name);
    if (from + target.byteLength > bytes) {
      throw new RangeError(`'${name}' has ${bytes} bytes; there are no ${target.byteLength} from byte ${from} on`);
    }
    this.#file.readInto(target, this.#starts.get(name)! + from);
  }

  close(): void {
    this.#file.close();
  }

  #entry(name: string): TensorEntry {
    const entry = this.tensors.get(name);
    if (!entry) throw new RangeError(`${this.path} has no tensor '${name}'`);
    return entry;
  }
}
