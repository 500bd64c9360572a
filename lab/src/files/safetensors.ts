/**
 * @file safetensors: a header of JSON that says where each tensor lies, then the bytes and nothing else.
 * Format: https://github.com/huggingface/safetensors. Files from outside are not trusted: everything is checked first.
 */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { endianness } from 'node:os';
import { LabError, messageOf } from '../base/index.ts';
import { writeAtomically } from './atomic.ts';
import { bytesPerElement, isArrayOf, storedArray, type StoredTensor } from './dtypes.ts';
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
  const file = await open(path).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') throw new LabError(`There is no file ${path}.`);
    throw new LabError(`Cannot open ${path}: ${messageOf(error)}`, { cause: error });
  });
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw new LabError(`${path} is not a file.`);
    const read = async (start: number, length: number): Promise<Uint8Array> => {
      const bytes = new Uint8Array(length);
      for (let done = 0; done < length;) {
        const { bytesRead } = await file.read(bytes, done, Math.min(length - done, 2 ** 30), start + done);
        if (bytesRead === 0) throw malformed(path, 'it became shorter while it was read');
        done += bytesRead;
      }
      return bytes;
    };
    return await assemble(path, stats.size, read, options);
  } finally {
    await file.close();
  }
}

/** The same for bytes in memory; `name` stands for them in error messages. */
export async function parseSafetensors(bytes: Uint8Array, name: string, options: ReadOptions = {}): Promise<Safetensors> {
  const read = (start: number, length: number): Promise<Uint8Array> => Promise.resolve(bytes.slice(start, start + length));
  return assemble(name, bytes.byteLength, read, options);
}

type Read = (start: number, length: number) => Promise<Uint8Array>;

async function assemble(name: string, size: number, read: Read, options: ReadOptions): Promise<Safetensors> {
  if (size < 8) throw malformed(name, `it has ${size} bytes, fewer than the length of a header takes`);
  const prefix = await read(0, 8);
  const length = headerLength(prefix, size, name);
  const headerBytes = await read(8, length);
  const header = parseHeader(headerBytes, size - 8 - length, name);
  const cleared = options.digest ? withoutDigest(headerBytes, header) : undefined;
  const hash = cleared && createHash('sha256').update(prefix).update(cleared);
  const tensors = new Map<string, StoredTensor>();
  for (const { name: key, dtype, shape, start, end } of header.entries) {
    const bytes = await read(8 + length + start, end - start);
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
  if (endianness() !== 'LE') throw new LabError('safetensors: this machine stores numbers big-endian, which is not supported.');
  const rows = [...tensors].sort(
    ([a, x], [b, y]) => bytesPerElement(y.dtype) - bytesPerElement(x.dtype) || (a < b ? -1 : a > b ? 1 : 0),
  );
  const described: [string, object][] = [];
  let offset = 0;
  for (const [name, tensor] of rows) {
    const bytes = checkedLength(name, tensor);
    described.push([name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [offset, (offset += bytes)] }]);
  }
  const first: Record<string, string> = options.digest ? { sha256: noDigest } : {};
  const json = JSON.stringify(Object.fromEntries([['__metadata__', { ...metadata, ...first }], ...described]));
  const header = Buffer.from(json.padEnd(json.length + ((8 - (Buffer.byteLength(json) % 8)) % 8)));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(header.byteLength));
  const payload = rows.map(([, { data }]) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  if (options.digest) {
    const hash = createHash('sha256').update(prefix).update(header);
    for (const bytes of payload) hash.update(bytes);
    header.write(hash.digest('hex'), header.indexOf(`"sha256":"${noDigest}"`) + '"sha256":"'.length);
  }
  return [prefix, header, ...payload];
}

function checkedLength(name: string, { dtype, shape, data }: StoredTensor): number {
  const elements = shape.reduce((a, b) => a * b, 1);
  if (name === '__metadata__') throw new RangeError('safetensors: a tensor cannot be called __metadata__');
  if (!isArrayOf(dtype, data))
    throw new RangeError(`safetensors: ${name} is ${dtype} but its data are a ${data.constructor.name}`);
  if (data.length !== elements) {
    throw new RangeError(`safetensors: ${name} has shape [${shape.join(', ')}], ${elements} elements, but ${data.length} values`);
  }
  return data.byteLength;
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
