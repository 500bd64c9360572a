/**
 * @file Texts from outside: UTF-8 strictly, because a tokenizer trained on � would never tell anybody.
 */
import { isUtf8 } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import { LabError, messageOf } from '../base/index.ts';

/**
 * Reads a text file.
 *
 * @throws LabError when it is missing, a folder, or not UTF-8 (naming the first byte that is wrong).
 */
export async function readText(path: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT') throw new LabError(`There is no file ${path}.`, { cause: error });
    if (code === 'EISDIR') throw new LabError(`${path} is a folder; a text file is wanted.`, { cause: error });
    throw new LabError(`Cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
  return decodeText(bytes, path);
}

/** Bytes as text; `name` stands for them in the error. */
export function decodeText(bytes: Uint8Array, name: string): string {
  if (!isUtf8(bytes)) {
    throw new LabError(
      `${name} is not UTF-8 text: byte ${firstBadByte(bytes)} does not belong there. ` +
        'Save it as UTF-8 (with iconv, for instance: iconv -f LATIN1 -t UTF-8).',
    );
  }
  return new TextDecoder('utf-8').decode(bytes);
}

/** The length of the longest prefix that is the beginning of some UTF-8 text. */
function firstBadByte(bytes: Uint8Array): number {
  const fine = (length: number): boolean => {
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, length), { stream: true });
      return true;
    } catch {
      return false;
    }
  };
  let good = 0;
  let bad = bytes.length + 1;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (fine(middle)) good = middle;
    else bad = middle;
  }
  return good;
}
