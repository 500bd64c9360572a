/**
 * @file From the file into the parameters, a few megabytes at a time: into the tensor's own memory where that can be reached, so
 * that hardly more than the weights themselves is ever held.
 */
import { tf, type Variable, type WasmBackend } from '../backend/index.ts';
import { LabError, type Interruption, type Progress } from '../base/index.ts';
import { bytesPerElement, storedArray, widen } from '../files/index.ts';
import type { Matched, MatchedWeight } from './match.ts';
import type { WeightFiles } from './weight-files.ts';

/** Bytes read at once: enough for the disk, little for the memory. */
const PIECE = 1 << 22;

/** Columns that are turned before the next rows: the lines of `target` that they begin stay in the cache until they are full. */
const TILE = 64;

export interface ReadWeightsOptions {
  /** Counts megabytes. */
  readonly progress: Progress;
  readonly signal: Interruption;
}

/**
 * Reads every weight into its parameter.
 *
 * @throws LabError when it is interrupted, or a tied head in the file differs from the embedding.
 */
export async function readWeights(
  files: WeightFiles,
  { weights, tied }: Matched,
  parameters: ReadonlyMap<string, Variable>,
  { progress, signal }: ReadWeightsOptions,
): Promise<void> {
  const reader = new WeightReader(files);
  if (tied && !reader.areEqual(tied.head, tied.embedding)) {
    throw new LabError(
      `'${tied.head}' differs from '${tied.embedding}', though config.json says that they are one (tie_word_embeddings).`,
    );
  }
  let done = 0;
  for (const weight of weights) {
    reader.read(weight, weight.paths.map((path) => parameters.get(path)!));
    done += files.tensors.get(weight.name)!.bytes;
    progress.update(Math.ceil(done / 1e6));
    await signal.breathe();
    if (signal.stopped) throw new LabError('Loading was interrupted.');
  }
}

class WeightReader {
  readonly #files: WeightFiles;
  readonly #piece = new Uint8Array(PIECE);
  /** A matrix that is to be turned. */
  #matrix = new Float32Array(0);

  constructor(files: WeightFiles) {
    this.#files = files;
  }

  read(weight: MatchedWeight, parameters: readonly Variable[]): void {
    if (weight.turned) return this.#readTurned(weight, parameters);
    let from = 0;
    for (const parameter of parameters) {
      fillParameter(parameter, (values) => this.#fill(values, weight, from));
      from += parameter.size;
    }
  }

  /** [in, out] in the file; every parameter gets its columns as rows. */
  #readTurned(weight: MatchedWeight, parameters: readonly Variable[]): void {
    const [rows, columns] = weight.shape as [number, number];
    if (this.#matrix.length < rows * columns) this.#matrix = new Float32Array(rows * columns);
    const matrix = this.#matrix.subarray(0, rows * columns);
    this.#fill(matrix, weight, 0);
    const part = columns / parameters.length;
    parameters.forEach((parameter, i) => {
      fillParameter(parameter, (values) => turn(matrix, { rows, columns, first: i * part, count: part }, values));
    });
  }

  /** `values` become the elements of a tensor from element `from` on. */
  #fill(values: Float32Array, { name, dtype }: MatchedWeight, from: number): void {
    const size = bytesPerElement(dtype);
    const most = PIECE / size;
    for (let done = 0; done < values.length; done += most) {
      const part = values.subarray(done, done + most);
      const start = (from + done) * size;
      if (dtype === 'F32') {
        this.#files.readInto(name, new Uint8Array(part.buffer, part.byteOffset, part.byteLength), start);
        continue;
      }
      const bytes = this.#piece.subarray(0, part.length * size);
      this.#files.readInto(name, bytes, start);
      widen(dtype, storedArray(dtype, bytes), part);
    }
  }

  /** Whether two tensors are the same, byte for byte. */
  areEqual(name: string, other: string): boolean {
    const { bytes, dtype } = this.#files.tensors.get(name)!;
    if (this.#files.tensors.get(other)!.dtype !== dtype) return false;
    const [first, second] = [Buffer.from(this.#piece.buffer), Buffer.alloc(Math.min(bytes, PIECE))];
    for (let from = 0; from < bytes; from += PIECE) {
      const length = Math.min(PIECE, bytes - from);
      this.#files.readInto(name, first.subarray(0, length), from);
      this.#files.readInto(other, second.subarray(0, length), from);
      if (first.compare(second, 0, length, 0, length) !== 0) return false;
    }
    return true;
  }
}

/** Some columns of a matrix [rows, columns]. */
interface Columns {
  readonly rows: number;
  readonly columns: number;
  readonly first: number;
  readonly count: number;
}

/** Those columns as the rows of `target` [count, rows]. Four rows at a time: each write is next to the last one. */
function turn(matrix: Float32Array, { rows, columns, first, count }: Columns, target: Float32Array): void {
  const whole = rows - (rows % 4);
  for (let tile = 0; tile < count; tile += TILE) {
    const end = Math.min(count, tile + TILE);
    for (let row = 0; row < whole; row += 4) {
      const from = row * columns + first;
      for (let c = tile, to = tile * rows + row; c < end; c++, to += rows) {
        target[to] = matrix[from + c]!;
        target[to + 1] = matrix[from + columns + c]!;
        target[to + 2] = matrix[from + 2 * columns + c]!;
        target[to + 3] = matrix[from + 3 * columns + c]!;
      }
    }
  }
  for (let row = whole; row < rows; row++) {
    for (let c = 0; c < count; c++) target[c * rows + row] = matrix[row * columns + first + c]!;
  }
}

/** Lets `fill` write the values of a parameter: in its own memory, or in an array that is sent to the device. */
function fillParameter(parameter: Variable, fill: (values: Float32Array) => void): void {
  const own = memoryOf(parameter);
  if (own) return fill(own);
  const values = new Float32Array(parameter.size);
  fill(values);
  tf.tidy(() => parameter.assign(tf.tensor(values, parameter.shape)));
}

/** Where the values of a tensor lie, if nobody else has them: good until the next allocation. */
function memoryOf(tensor: Variable): Float32Array | undefined {
  const backend = tf.backend();
  if (backend.refCount(tensor.dataId) !== 1) return undefined;
  if (tf.getBackend() === 'wasm') {
    const { wasm, dataIdMap } = backend as unknown as WasmBackend;
    return new Float32Array(wasm.HEAPU8.buffer, dataIdMap.get(tensor.dataId).memoryOffset, tensor.size);
  }
  if (tf.getBackend() === 'cpu') {
    const { values } = (backend as unknown as { data: { get(id: object): { values?: unknown } } }).data.get(tensor.dataId);
    return values instanceof Float32Array ? values : undefined;
  }
  return undefined;
}
