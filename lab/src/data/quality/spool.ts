/**
 * @file The corpus between two passes, in a file with a line for each document, in the order of the input: documents that are
 * still in as `K number TAB record`, removed ones as `R number TAB what became of it`.
 */
import type { QualityDocument, Removal } from './filter.ts';
import { linesOf } from './lines.ts';
import type { Unreadable } from './source.ts';

const KEPT = 0x4b;
const TAB = 0x09;
/** No bound: what is in the spool was small enough to be read once. */
const ANY = Infinity;

/** A line of the spool. */
export interface SpoolLine {
  readonly number: number;
  readonly kept: boolean;
  /** The JSON behind the tab. Views that the next line overwrites, like all bytes here. */
  readonly record: Uint8Array;
  /** The whole line. */
  readonly whole: Uint8Array;
}

export function* spoolLines(path: string): Generator<SpoolLine, void> {
  for (const { bytes } of linesOf(path, ANY)) {
    const tab = bytes.indexOf(TAB);
    const number = Number(Buffer.from(bytes.buffer, bytes.byteOffset + 1, tab - 1).toString('latin1'));
    yield { number, kept: bytes[0] === KEPT, record: bytes.subarray(tab + 1), whole: bytes };
  }
}

/** The document that a line of the spool keeps. */
export function documentIn({ number, record }: SpoolLine): QualityDocument {
  const { id, text, ...fields } = JSON.parse(textIn(record)) as { id: string; text: string } & Record<string, unknown>;
  return { number, id, text, fields };
}

export function textIn(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
}

/** What stands in kept.jsonl: name and text first, and before fields of the same name. */
function recordOf({ id, text, fields }: QualityDocument): object {
  return Object.assign({ id, text }, fields, { id, text });
}

export function keptLine(document: QualityDocument): string {
  return `K${document.number}\t${JSON.stringify(recordOf(document))}\n`;
}

/** Behind the tab stands what removed.jsonl says of it. */
export function removedLine(document: QualityDocument, filter: string, removal: Removal): string {
  const { reason, detail, of } = removal;
  const said = { document: document.number, filter, reason, detail, of, record: recordOf(document) };
  return `R${document.number}\t${JSON.stringify(said)}\n`;
}

export function unreadableLine({ number, id, reason, detail, excerpt }: Unreadable): string {
  return `R${number}\t${JSON.stringify({ document: number, filter: 'reading', reason, detail, id, excerpt })}\n`;
}

/** Collects lines until there is a good piece to write. */
export class Piece {
  #buffer = Buffer.alloc(1 << 21);
  #used = 0;

  get full(): boolean {
    return this.#used >= 1 << 20;
  }

  text(line: string): void {
    // A UTF-16 unit is three bytes at most.
    this.#reserve(line.length * 3);
    this.#used += this.#buffer.write(line, this.#used);
  }

  /** @param line without its break, which is added */
  bytes(line: Uint8Array): void {
    this.#reserve(line.length + 1);
    this.#buffer.set(line, this.#used);
    this.#used += line.length;
    this.#buffer[this.#used++] = 0x0a;
  }

  /** What was collected; a view that further lines overwrite. */
  take(): Uint8Array {
    const taken = this.#buffer.subarray(0, this.#used);
    this.#used = 0;
    return taken;
  }

  #reserve(more: number): void {
    if (this.#used + more <= this.#buffer.length) return;
    const larger = Buffer.alloc(Math.max(this.#buffer.length * 2, this.#used + more));
    larger.set(this.#buffer.subarray(0, this.#used));
    this.#buffer = larger;
  }
}

