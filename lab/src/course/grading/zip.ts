/**
 * @file Reads zip archives (PKWARE's APPNOTE 6.3.10, sections 4.3 and 4.4) in memory: nothing is ever unpacked to disk.
 * Stored and deflated entries only; no encryption, no archives in several parts, none over 4 GiB. An entry that points out
 * of the archive, or that is a link, is an attack or a mishap, and the whole archive is refused.
 */
import { inflateRawSync } from 'node:zlib';
import { LabError } from '../../base/index.ts';

export interface ZipEntry {
  /** With slashes, relative. */
  readonly name: string;
  readonly bytes: Buffer;
}

export interface ZipLimits {
  readonly entries?: number;
  /** Of all entries together, unpacked. */
  readonly bytes?: number;
}

const END = 0x06054b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
/** The end record is 22 bytes and a comment of at most 65,535. */
const END_SIZE = 22;
const LINK = 0o120000;
const KIND = 0o170000;

/**
 * The files of an archive for which `wanted` says so.
 *
 * @throws LabError when it is no zip archive, is damaged, holds links or paths that lead out of it, or is too large
 */
export function readZip(zip: Buffer, wanted: (name: string) => boolean, limits: ZipLimits = {}): ZipEntry[] {
  const { entries: most = 10_000, bytes = 512 * 2 ** 20 } = limits;
  const end = findEnd(zip);
  const count = zip.readUInt16LE(end + 10);
  if (count > most) throw new LabError(`it holds ${count} files; at most ${most} are read`);
  const files: ZipEntry[] = [];
  let left = bytes;
  let at = zip.readUInt32LE(end + 16);
  for (let i = 0; i < count; i++) {
    const entry = centralEntry(zip, at);
    at = entry.next;
    refuseEscapes(entry.name, entry.mode);
    if (entry.name.endsWith('/') || !wanted(entry.name)) continue;
    const content = contentOf(zip, entry, left);
    left -= content.length;
    files.push({ name: entry.name, bytes: content });
  }
  return files;
}

function damaged(what: string): LabError {
  return new LabError(`it is no zip archive that can be read: ${what}`);
}

function findEnd(zip: Buffer): number {
  for (let at = zip.length - END_SIZE; at >= Math.max(0, zip.length - END_SIZE - 0xffff); at--) {
    if (zip.readUInt32LE(at) === END) return at;
  }
  throw damaged('its end is missing');
}

interface Central {
  readonly name: string;
  readonly mode: number;
  readonly method: number;
  readonly packed: number;
  readonly size: number;
  readonly local: number;
  readonly next: number;
}

function centralEntry(zip: Buffer, at: number): Central {
  if (at + 46 > zip.length || zip.readUInt32LE(at) !== CENTRAL) throw damaged('its list of files is damaged');
  const [nameLength, extra, comment] = [zip.readUInt16LE(at + 28), zip.readUInt16LE(at + 30), zip.readUInt16LE(at + 32)];
  const name = zip.toString('utf8', at + 46, at + 46 + nameLength);
  if ((zip.readUInt16LE(at + 8) & 1) !== 0) throw new LabError(`'${name}' in it is encrypted`);
  return {
    name,
    mode: zip.readUInt32LE(at + 38) >>> 16,
    method: zip.readUInt16LE(at + 10),
    packed: zip.readUInt32LE(at + 20),
    size: zip.readUInt32LE(at + 24),
    local: zip.readUInt32LE(at + 42),
    next: at + 46 + nameLength + extra + comment,
  };
}

function refuseEscapes(name: string, mode: number): void {
  if ((mode & KIND) === LINK) throw new LabError(`'${name}' in it is a symbolic link`);
  const out = name.startsWith('/') || /^[A-Za-z]:/.test(name) || name.split(/[\\/]/).includes('..') || /[\\\0]/.test(name);
  if (out) throw new LabError(`'${name}' in it points out of the archive`);
}

function contentOf(zip: Buffer, { name, method, packed, size, local }: Central, most: number): Buffer {
  if (size > most) throw new LabError(`its files are too large together ('${name}': ${size} bytes)`);
  if (local + 30 > zip.length || zip.readUInt32LE(local) !== LOCAL) throw damaged(`'${name}' is not where the list says`);
  const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
  const bytes = zip.subarray(start, start + packed);
  if (bytes.length !== packed) throw damaged(`'${name}' is cut off`);
  if (method === 0) return bytes;
  if (method !== 8) throw new LabError(`'${name}' in it is packed by a method (${method}) that is not known here`);
  try {
    // What unpacks to more than the list says is a bomb.
    const content = inflateRawSync(bytes, { maxOutputLength: size + 1 });
    if (content.length === size) return content;
  } catch {
    // said below
  }
  throw damaged(`'${name}' does not unpack to the size that the list says`);
}
