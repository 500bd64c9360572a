/**
 * @file The header of a safetensors file: lengths, JSON and offsets, believed only after they were checked.
 */
import { LabError, messageOf } from '../base/index.ts';
import { bytesPerElement, isStoredDtype, type StoredDtype } from './dtypes.ts';

/** Where one tensor lies, relative to the end of the header. */
export interface HeaderEntry {
  readonly name: string;
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}

export interface Header {
  readonly metadata: Readonly<Record<string, string>>;
  /** In the order of their bytes. */
  readonly entries: readonly HeaderEntry[];
}

/** The format's own limit. */
const maximumHeader = 100_000_000;

export function malformed(file: string, because: string): LabError {
  return new LabError(
    `${file} is not a valid safetensors file: ${because}. It may be incomplete or damaged: get it or save it again.`,
  );
}

/** The header's length from the file's first 8 bytes. */
export function headerLength(prefix: Uint8Array, fileSize: number, file: string): number {
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(maximumHeader)) throw malformed(file, `its header claims ${length} bytes; ${maximumHeader} are allowed`);
  if (Number(length) > fileSize - 8) {
    throw malformed(file, `its header claims ${length} bytes but only ${fileSize - 8} follow: the file is cut short`);
  }
  return Number(length);
}

/**
 * @param bufferLength bytes that follow the header
 * @throws LabError unless the tensors fill those bytes exactly, one after the other.
 */
export function parseHeader(bytes: Uint8Array, bufferLength: number, file: string): Header {
  if (bytes[0] !== 0x7b) throw malformed(file, 'its header does not start with {');
  const json = headerObject(bytes, file);
  const { __metadata__: metadata = {}, ...rest } = json;
  if (!isRecord(metadata) || Object.values(metadata).some((value) => typeof value !== 'string')) {
    throw malformed(file, 'its __metadata__ is not a table of texts');
  }
  const entries = Object.entries(rest).map(([name, value]) => headerEntry(name, value, file));
  entries.sort((a, b) => a.start - b.start || a.end - b.end);
  let end = 0;
  for (const entry of entries) {
    if (entry.start < end) throw malformed(file, `tensor '${entry.name}' overlaps the one before it`);
    if (entry.start > end) throw malformed(file, `there is a hole of ${entry.start - end} bytes before tensor '${entry.name}'`);
    end = entry.end;
  }
  if (end > bufferLength)
    throw malformed(file, `its tensors take ${end} bytes but only ${bufferLength} are there: the file is cut short`);
  if (end < bufferLength) throw malformed(file, `${bufferLength - end} bytes after its last tensor belong to nothing`);
  return { metadata: metadata as Record<string, string>, entries };
}

function headerObject(bytes: Uint8Array, file: string): Record<string, unknown> {
  let json: unknown;
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    json = JSON.parse(text);
    const twice = duplicateKey(text);
    if (twice !== undefined) throw new SyntaxError(`the name '${twice}' appears twice`);
  } catch (error) {
    throw malformed(file, `its header cannot be read (${messageOf(error)})`);
  }
  if (!isRecord(json)) throw malformed(file, 'its header is not an object');
  return json;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** JSON.parse keeps the last of equal keys without a word. The text is known to be valid JSON here. */
function duplicateKey(text: string): string | undefined {
  const open: Set<string>[] = [];
  for (const [token, key] of text.matchAll(/("(?:[^"\\]|\\.)*")\s*:|"(?:[^"\\]|\\.)*"|[{}]/g)) {
    if (token === '{') open.push(new Set());
    else if (token === '}') open.pop();
    else if (key !== undefined) {
      const name = JSON.parse(key) as string;
      const seen = open.at(-1);
      if (seen?.has(name)) return name;
      seen?.add(name);
    }
  }
  return undefined;
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function headerEntry(name: string, value: unknown, file: string): HeaderEntry {
  const wrong = (because: string): LabError => malformed(file, `tensor '${name}' ${because}`);
  if (!isRecord(value)) throw wrong('is not described by an object');
  const { dtype, shape, data_offsets: offsets, ...more } = value;
  const unknown = Object.keys(more)[0];
  if (unknown !== undefined) throw wrong(`has an unknown field '${unknown}'`);
  if (!isStoredDtype(dtype)) throw wrong(`has an unknown type ${JSON.stringify(dtype)}`);
  if (!Array.isArray(shape) || !shape.every(isCount)) throw wrong(`has a bad shape ${JSON.stringify(shape)}`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw wrong(`has bad offsets ${JSON.stringify(offsets)}`);
  }
  const [start, end] = offsets as [number, number];
  const needed = shape.reduce<number>((a, b) => a * b, bytesPerElement(dtype));
  if (!Number.isSafeInteger(needed)) throw wrong(`has a shape too large to exist: [${shape.join(', ')}]`);
  if (end < start || end - start !== needed) {
    throw wrong(
      `needs ${needed} bytes for ${dtype} [${shape.join(', ')}] but its offsets [${start}, ${end}] give ${end - start}`,
    );
  }
  return { name, dtype, shape, start, end };
}
