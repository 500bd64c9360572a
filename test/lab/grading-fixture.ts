/**
 * @file Submissions made in code: a class in a folder, each student a notebook of the small course, with whatever cells a
 * test wants to see graded.
 */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import type { Course } from 'lab';
import { cell, counting, courseOf, RIGHT, SETUP } from './course-fixture.ts';

export type Cells = Readonly<Record<string, string>>;

/** A notebook that is right except for these cells. */
export function notebookWith(cells: Cells, setup = SETUP): string {
  const answers = Object.entries({ ...RIGHT, ...cells }).map(([id, source]) => cell(source, { exercise: id }));
  return JSON.stringify({ nbformat: 4, nbformat_minor: 5, metadata: {}, cells: [cell(setup, { setup: true }), ...answers] });
}

export interface Class {
  readonly course: Course;
  /** Where the students' files lie. */
  readonly folder: string;
  /** For `--out`. */
  readonly out: string;
  put(name: string, content: string | Uint8Array): void;
}

/** An empty folder for submissions to a course of its own. */
export function newClass(): Class {
  const root = mkdtempSync(join(tmpdir(), 'lab-grading-'));
  const folder = join(root, 'submissions');
  mkdirSync(folder);
  const put = (name: string, content: string | Uint8Array): void => {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  };
  return { course: courseOf(notebookWith({})), folder, out: join(root, 'report.csv'), put };
}

export const slug = counting.slug;

interface Zipped {
  readonly name: string;
  readonly content: string | Uint8Array;
  /** Unix mode and kind, for links. */
  readonly mode?: number;
  readonly stored?: boolean;
  /** What the list says instead of the true size. */
  readonly claimed?: number;
  readonly flags?: number;
}

/** A zip archive (APPNOTE 6.3.10, section 4.3), without checksums: the reader has no use for them. */
export function zipOf(...files: readonly Zipped[]): Buffer {
  const locals: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const { name, content, mode = 0o100644, stored = false, claimed, flags = 0 } of files) {
    const raw = Buffer.from(content as string);
    const packed = stored ? raw : deflateRawSync(raw);
    const title = Buffer.from(name);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(stored ? 0 : 8, 8);
    local.writeUInt32LE(packed.length, 18);
    local.writeUInt32LE(raw.length, 22);
    local.writeUInt16LE(title.length, 26);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE(flags, 8);
    entry.writeUInt16LE(stored ? 0 : 8, 10);
    entry.writeUInt32LE(packed.length, 20);
    entry.writeUInt32LE(claimed ?? raw.length, 24);
    entry.writeUInt16LE(title.length, 28);
    entry.writeUInt32LE(mode * 0x10000, 38);
    entry.writeUInt32LE(offset, 42);
    locals.push(local, title, packed);
    central.push(entry, title);
    offset += 30 + title.length + packed.length;
  }
  const list = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(list.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, list, end]);
}
