/**
 * @file Text in the encodings that financial data sets are passed around in: ISO 8859-1, as FPB was published, or UTF-8.
 */
import { isUtf8 } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import { LabError, messageOf } from '../../base/index.ts';
import { RecordError } from './records.ts';

/** Bytes that are UTF-8 are read as that (Latin-1 with an accent hardly ever is), all others as Latin-1. */
export function decodeLatinOrUtf8(bytes: Uint8Array): string {
  const text = isUtf8(bytes) ? new TextDecoder('utf-8').decode(bytes) : Buffer.from(bytes).toString('latin1');
  return text.replace(/^\uFEFF/, '');
}

/** Control characters that are no blanks: of Latin-1 there should be none, but Windows-1252 and UTF-16 leave some. */
const CONTROL = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F\uFFFD]/;

/** @throws RecordError when the text was written in another encoding, or is damaged. */
export function checkCharacters(text: string): void {
  const found = CONTROL.exec(text);
  if (!found) return;
  const code = found[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
  throw new RecordError(
    `character ${found.index + 1} is the control character U+${code}: the encoding is not Latin-1 or UTF-8`,
  );
}

/** @throws LabError when the file is missing or cannot be read. */
export async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    throw new LabError(missing ? `There is no file ${path}.` : `Cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
}
