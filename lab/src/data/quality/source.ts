/**
 * @file Where documents come from: JSON Lines, plain text with empty lines between documents, or a folder with a file for each.
 * What cannot be read is a record, too: it is counted, named and left out, or refused.
 */
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { LabError } from '../../base/index.ts';
import { OpenFile } from '../../files/open-file.ts';
import type { QualityDocument } from './filter.ts';
import { linesOf, type Line } from './lines.ts';

/** A record that is no document. */
export interface Unreadable {
  readonly number: number;
  readonly id: string;
  /** `not JSON`, `no text`, …: the report counts by it. */
  readonly reason: string;
  readonly detail?: string;
  /** How it begins. */
  readonly excerpt: string;
}

export interface SourceRecord {
  /** Bytes of the input that it takes. */
  readonly bytes: number;
  readonly document?: QualityDocument;
  readonly unreadable?: Unreadable;
  /** Its text holds U+FFFD in place of bytes that are not UTF-8. */
  readonly repaired?: boolean;
}

export interface CorpusSource {
  readonly name: string;
  /** Changes when the corpus does: a run that was interrupted goes on only with the same. */
  readonly key: string;
  /** Size of the input, for the progress bar. */
  readonly bytes: number;
  records(): Iterable<SourceRecord>;
}

export interface SourceOptions {
  /** JSON Lines: the field that holds the text (default text). */
  readonly textField?: string;
  /** JSON Lines: the field that names the document (default id); where it is missing, file and number are the name. */
  readonly idField?: string;
  /** What to do about a record that is not JSON or has no text: leave it out (default) or stop. */
  readonly badRecords?: 'skip' | 'refuse';
  /** About bytes that are not UTF-8: leave the document out (default), put U+FFFD there, or stop. */
  readonly badEncoding?: 'skip' | 'repair' | 'refuse';
  /** A larger document is left out without being read into memory (default 8,000,000 bytes). */
  readonly mostBytes?: number;
}

type Settings = Required<SourceOptions>;

const EXCERPT = 120;

/**
 * By what the path is: `.jsonl`, `.ndjson` and `.json` are JSON Lines; a folder has one document in each of its files, in the
 * order of their names; any other file is text with empty lines between documents.
 *
 * @throws LabError when there is nothing at that path, or it is compressed or UTF-16.
 */
export function corpusAt(path: string, options: SourceOptions = {}): CorpusSource {
  const settings: Settings = {
    textField: 'text',
    idField: 'id',
    badRecords: 'skip',
    badEncoding: 'skip',
    mostBytes: 8_000_000,
    ...options,
  };
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats) throw new LabError(`There is no file or folder ${path}.`);
  if (stats.isDirectory()) return folderSource(path, settings);
  checkForm(path);
  const jsonLines = ['.jsonl', '.ndjson', '.json'].includes(extname(path).toLowerCase());
  return {
    name: path,
    key: JSON.stringify([path, stats.size, stats.mtimeMs, settings]),
    bytes: stats.size,
    records: () => (jsonLines ? jsonRecords(path, settings) : textRecords(path, settings)),
  };
}

/** Texts in memory as a source. */
export function corpusOf(texts: readonly string[], name = 'texts'): CorpusSource {
  const sizes = texts.map((text) => Buffer.byteLength(text));
  return {
    name,
    key: createHash('sha256').update(JSON.stringify(texts)).digest('hex'),
    bytes: sizes.reduce((a, b) => a + b, 0),
    records: () =>
      texts.map((text, i) => ({
        bytes: sizes[i]!,
        document: { number: i + 1, id: `${name}:${i + 1}`, text, fields: {} },
      })),
  };
}

function checkForm(path: string): void {
  const file = OpenFile.open(path);
  const [a, b] = file.size < 2 ? [] : file.read(0, 2);
  file.close();
  if (a === 0x1f && b === 0x8b) throw new LabError(`${path} is compressed. Unpack it first: gunzip -k ${path}`);
  if ((a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff)) {
    throw new LabError(`${path} is UTF-16, not UTF-8. Convert it first: iconv -f UTF-16 -t UTF-8`);
  }
}

function* jsonRecords(path: string, settings: Settings): Generator<SourceRecord, void> {
  let number = 0;
  for (const line of linesOf(path, settings.mostBytes)) {
    const place = { number: ++number, id: `${basename(path)}:${number}`, path };
    const decoded = decode(line, place, settings);
    if (decoded.text === undefined) yield decoded;
    else if (decoded.text.trim() !== '') yield { ...decoded, ...jsonRecord(decoded.text, place, settings) };
  }
}

/** Where a record stands. */
interface Place {
  readonly number: number;
  readonly id: string;
  readonly path: string;
}

type Content = Pick<SourceRecord, 'document' | 'unreadable'>;

function jsonRecord(json: string, place: Place, settings: Settings): Content {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return bad('not JSON', json, place, settings);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return bad('not an object', json, place, settings);
  const { [settings.textField]: text, [settings.idField]: given, ...fields } = value as Record<string, unknown>;
  if (text === undefined || text === null) return bad(`no field '${settings.textField}'`, json, place, settings);
  if (typeof text !== 'string') return bad(`'${settings.textField}' is not a text`, json, place, settings);
  const id = typeof given === 'string' || typeof given === 'number' ? String(given) : place.id;
  return { document: { number: place.number, id, text, fields } };
}

function bad(reason: string, json: string, { number, id, path }: Place, { badRecords }: Settings): Content {
  const excerpt = json.slice(0, EXCERPT);
  if (badRecords === 'refuse') throw new LabError(`${path}, line ${number}: ${reason}. It begins: ${excerpt}`);
  return { unreadable: { number, id, reason, excerpt } };
}

/** Documents with empty lines between them. */
function* textRecords(path: string, settings: Settings): Generator<SourceRecord, void> {
  const { mostBytes } = settings;
  let number = 0;
  let parts: Uint8Array[] = [];
  let size = 0;
  const finished = (): SourceRecord => {
    const place = { number: ++number, id: `${basename(path)}:${number}`, path };
    const line = { bytes: size > mostBytes ? new Uint8Array(0) : Buffer.concat(parts), size, tooLong: size > mostBytes };
    [parts, size] = [[], 0];
    return plainRecord(line, place, settings);
  };
  for (const { bytes, size: length, tooLong } of linesOf(path, mostBytes)) {
    if (!tooLong && bytes.every((byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d))) {
      if (size > 0) yield finished();
      continue;
    }
    size += length + 1;
    if (size > mostBytes) parts = [];
    else parts.push(Uint8Array.from(bytes), Uint8Array.of(0x0a));
  }
  if (size > 0) yield finished();
}

function plainRecord(line: Line, place: Place, settings: Settings): SourceRecord {
  const decoded = decode(line, place, settings);
  if (decoded.text === undefined) return decoded;
  const { text, ...record } = decoded;
  return { ...record, document: { number: place.number, id: place.id, text: text.trimEnd(), fields: {} } };
}

function folderSource(path: string, settings: Settings): CorpusSource {
  const files = readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith('.'))
    .map(({ name }) => ({ name, ...pick(statSync(join(path, name))) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    name: path,
    key: JSON.stringify([path, files, settings]),
    bytes: files.reduce((sum, { size }) => sum + size, 0),
    *records() {
      for (const [i, { name, size }] of files.entries()) {
        const tooLong = size > settings.mostBytes;
        const bytes = tooLong ? new Uint8Array(0) : readFileSync(join(path, name));
        yield plainRecord({ bytes, size, tooLong }, { number: i + 1, id: name, path: join(path, name) }, settings);
      }
    },
  };
}

function pick({ size, mtimeMs }: { readonly size: number; readonly mtimeMs: number }): { size: number; mtimeMs: number } {
  return { size, mtimeMs };
}

type Decoded = SourceRecord & { readonly text?: string };

/** Bytes as text, or the record that says why not. */
function decode({ bytes, size, tooLong }: Line, { number, id, path }: Place, settings: Settings): Decoded {
  if (tooLong) {
    const detail = `${size.toLocaleString('en')} bytes; at most ${settings.mostBytes.toLocaleString('en')}`;
    return { bytes: size, unreadable: { number, id, reason: 'too large', detail, excerpt: '' } };
  }
  const text = new TextDecoder('utf-8').decode(bytes);
  if (isUtf8(bytes)) return { bytes: size, text };
  if (settings.badEncoding === 'repair') return { bytes: size, text, repaired: true };
  if (settings.badEncoding === 'refuse') {
    throw new LabError(`${path}: record ${number} is not UTF-8. It begins: ${text.slice(0, EXCERPT)}`);
  }
  return { bytes: size, unreadable: { number, id, reason: 'not UTF-8', excerpt: text.slice(0, EXCERPT) } };
}
