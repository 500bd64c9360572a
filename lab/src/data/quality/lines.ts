/**
 * @file The lines of a file as bytes, for files of any size with lines of any length: what is longer than allowed is measured,
 * not kept.
 */
import { OpenFile } from '../../files/open-file.ts';

const PIECE = 1 << 20;
const NEWLINE = 0x0a;

export interface Line {
  /** Without its line break; a view that the next line overwrites. Empty when the line is too long. */
  readonly bytes: Uint8Array;
  /** How many bytes it has, its line break not counted. */
  readonly size: number;
  readonly tooLong: boolean;
}

/** @throws LabError when there is no such file, it may not be read, or it shrinks meanwhile. */
export function* linesOf(path: string, mostBytes: number): Generator<Line, void> {
  const file = OpenFile.open(path);
  try {
    yield* splitLines(piecesOf(file), mostBytes);
  } finally {
    file.close();
  }
}

function* piecesOf(file: OpenFile): Generator<Uint8Array, void> {
  const buffer = new Uint8Array(Math.min(PIECE, file.size));
  for (let start = 0; start < file.size; start += buffer.length) {
    const piece = buffer.subarray(0, Math.min(buffer.length, file.size - start));
    file.readInto(piece, start);
    yield piece;
  }
}

function* splitLines(pieces: Iterable<Uint8Array>, mostBytes: number): Generator<Line, void> {
  /** Parts of a line that began in an earlier piece. */
  let parts: Uint8Array[] = [];
  let size = 0;
  for (const piece of pieces) {
    let start = 0;
    for (let end = piece.indexOf(NEWLINE); end >= 0; end = piece.indexOf(NEWLINE, start)) {
      yield lineOf(parts, piece.subarray(start, end), size + end - start, mostBytes);
      [parts, size, start] = [[], 0, end + 1];
    }
    size += piece.length - start;
    if (size > mostBytes) parts = [];
    else if (start < piece.length) parts.push(piece.slice(start));
  }
  if (size > 0) yield lineOf(parts, new Uint8Array(0), size, mostBytes);
}

function lineOf(parts: readonly Uint8Array[], last: Uint8Array, size: number, mostBytes: number): Line {
  if (size > mostBytes) return { bytes: new Uint8Array(0), size, tooLong: true };
  return { bytes: parts.length === 0 ? last : Buffer.concat([...parts, last]), size, tooLong: false };
}
