/**
 * @file safetensors: a header of JSON that says where each tensor lies, then the bytes and nothing else.
 * Format: https://github.com/huggingface/safetensors. Files from outside are not trusted: everything is checked first.
 */
import { createHash } from 'node:crypto';
import { endianness } from 'node:os';
import { LabError } from '../base/index.ts';
import { writeAtomically } from './atomic.ts';
import { bytesPerElement, isArrayOf, storedArray, type StoredArray, type StoredDtype, type StoredTensor } from './dtypes.ts';
import { OpenFile } from './open-file.ts';
import { headerLength, malformed, parseHeader, type Header } from './safetensors-header.ts';

/** What a safetensors file holds. */
export interface Safetensors {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Whether the file carries a digest and it was found right. */
  readonly verified: boolean;
}

export interface ReadOptions {
  /** Checks the digest that `writeSafetensors(…, { digest: true })` wrote, if the file carries one. */
  readonly digest?: boolean;
}

export interface WriteOptions {
  /** Adds `sha256` to the metadata: a digest of the whole file with that entry's own 64 digits read as zeros. */
  readonly digest?: boolean;
}

const noDigest = '0'.repeat(64);

/**
 * Reads a file and checks it strictly.
 *
 * @throws LabError that names the file and what is wrong with it: missing, truncated, holes, overlaps, …
 */
export async function readSafetensors(path: string, options: ReadOptions = {}): Promise<Safetensors> {
  const file = OpenFile.open(path);
  try {
    return assemble(path, file.size, (start, length) => file.read(start, length), options);
  } finally {
    file.close();
  }
}

/** The same for bytes in memory; `name` stands for them in error messages. */
export async function parseSafetensors(bytes: Uint8Array, name: string, options: ReadOptions = {}): Promise<Safetensors> {
  return assemble(name, bytes.byteLength, (start, length) => bytes.slice(start, start + length), options);
}

type Read = (start: number, length: number) => Uint8Array;

function assemble(name: string, size: number, read: Read, options: ReadOptions): Safetensors {
  if (size < 8) throw malformed(name, `it has ${size} bytes, fewer than the length of a header takes`);
  const prefix = read(0, 8);
  const length = headerLength(prefix, size, name);
  const headerBytes = read(8, length);
  const header = parseHeader(headerBytes, size - 8 - length, name);
  const cleared = options.digest ? withoutDigest(headerBytes, header) : undefined;
  const hash = cleared && createHash('sha256').update(prefix).update(cleared);
  const tensors = new Map<string, StoredTensor>();
  for (const { name: key, dtype, shape, start, end } of header.entries) {
    const bytes = read(8 + length + start, end - start);
    hash?.update(bytes);
    tensors.set(key, { dtype, shape, data: storedArray(dtype, bytes) });
  }
  if (hash && hash.digest('hex') !== header.metadata['sha256']) {
    throw new LabError(`${name} is damaged: its content does not match the digest it was saved with. Use another copy of it.`);
  }
  return { metadata: header.metadata, tensors, verified: hash !== undefined };
}

/** The header as it was when the digest was taken: with zeros in its place. Undefined when it has none. */
function withoutDigest(headerBytes: Uint8Array, header: Header): Uint8Array | undefined {
  const digest = header.metadata['sha256'];
  const at = Buffer.from(headerBytes.buffer, headerBytes.byteOffset, headerBytes.byteLength).indexOf(`"sha256":"${digest}"`);
  if (digest?.length !== noDigest.length || at < 0) return undefined;
  const copy = headerBytes.slice();
  copy.set(Buffer.from(noDigest), at + '"sha256":"'.length);
  return copy;
}

/**
 * The bytes of a file, in pieces: header first. Tensors are ordered as other writers do: widest type first, then by name.
 *
 * @throws RangeError when a tensor's data do not fit its shape or type.
 */
export function serializeSafetensors(
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: Readonly<Record<string, string>> = {},
  options: WriteOptions = {},
): Uint8Array[] {
  for (const [name, tensor] of tensors) checkData(name, tensor);
  const { prefix, header, names } = layout(tensors, options.digest ? { ...metadata, sha256: noDigest } : metadata);
  const payload = names.map((name) => bytesOf(tensors.get(name)!.data));
  if (options.digest) {
    const hash = createHash('sha256').update(prefix).update(header);
    for (const bytes of payload) hash.update(bytes);
    header.write(hash.digest('hex'), header.indexOf(`"sha256":"${noDigest}"`) + '"sha256":"'.length);
  }
  return [prefix, header, ...payload];
}

/** The head of a file, and its tensors in the order of their bytes. */
function layout(
  tensors: ReadonlyMap<string, Omit<StoredTensor, 'data'>>,
  metadata: Readonly<Record<string, string>>,
): { readonly prefix: Buffer; readonly header: Buffer; readonly names: readonly string[] } {
  if (endianness() !== 'LE') throw new LabError('safetensors: this machine stores numbers big-endian, which is not supported.');
  const rows = [...tensors].sort(
    ([a, x], [b, y]) => bytesPerElement(y.dtype) - bytesPerElement(x.dtype) || (a < b ? -1 : a > b ? 1 : 0),
  );
  const described: [string, object][] = [];
  let offset = 0;
  for (const [name, { dtype, shape }] of rows) {
    if (name === '__metadata__') throw new RangeError('safetensors: a tensor cannot be called __metadata__');
    const bytes = elementsOf(shape) * bytesPerElement(dtype);
    described.push([name, { dtype, shape, data_offsets: [offset, (offset += bytes)] }]);
  }
  const json = JSON.stringify(Object.fromEntries([['__metadata__', metadata], ...described]));
  const header = Buffer.from(json.padEnd(json.length + ((8 - (Buffer.byteLength(json) % 8)) % 8)));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(header.byteLength));
  return { prefix, header, names: rows.map(([name]) => name) };
}

const elementsOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const bytesOf = (data: StoredArray): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

function checkData(name: string, { dtype, shape, data }: StoredTensor): void {
  const elements = elementsOf(shape);
  if (!isArrayOf(dtype, data))
    throw new RangeError(`safetensors: ${name} is ${dtype} but its data are a ${data.constructor.name}`);
  if (data.length !== elements) {
    throw new RangeError(`safetensors: ${name} has shape [${shape.join(', ')}], ${elements} elements, but ${data.length} values`);
  }
}

/** Saves atomically: the file is the old one or the new one, whole. */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: Readonly<Record<string, string>> = {},
  options: WriteOptions = {},
): Promise<void> {
  await writeAtomically(path, serializeSafetensors(tensors, metadata, options));
}

/** A tensor whose values are fetched when their turn to be written comes. */
export interface LazyTensor {
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
  data(): StoredArray | Promise<StoredArray>;
}

/** Saves like `writeSafetensors`, atomically, with no more than one tensor at a time in memory. */
export async function streamSafetensors(
  path: string,
  tensors: ReadonlyMap<string, LazyTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { prefix, header, names } = layout(tensors, metadata);
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield prefix;
    yield header;
    for (const name of names) {
      const tensor = tensors.get(name)!;
      const stored = { dtype: tensor.dtype, shape: tensor.shape, data: await tensor.data() };
      checkData(name, stored);
      yield bytesOf(stored.data);
    }
  }
  await writeAtomically(path, chunks());
}
