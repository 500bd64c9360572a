/** @file Where documents come from: what cannot be read is counted and named, or refused, and takes nothing else with it. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cleanCorpus, corpusAt, formatQualityReport, normalisation, type SourceOptions } from 'lab';
import { afterAll, describe, expect, it } from 'vitest';

const root = mkdtempSync(join(tmpdir(), 'quality-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const folder = (name: string): string => join(root, name);
const quiet = { quiet: true };

interface Line {
  readonly document: number;
  readonly filter: string;
  readonly reason: string;
  readonly text: string;
}

const linesIn = (...path: string[]): Line[] =>
  readFileSync(join(root, ...path), 'utf8').split('\n').slice(0, -1).map((line) => JSON.parse(line) as Line);
const keptIn = (name: string): Line[] => linesIn(name, 'kept.jsonl');
const removedIn = (name: string): Line[] => linesIn(name, 'removed.jsonl');
const recordsOf = (path: string, options: SourceOptions = {}) => [...corpusAt(path, options).records()];
const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(root, name), content);
  return join(root, name);
};

describe('records that are none', () => {
  const latin1 = Buffer.from('{"text": "caf\xe9"}', 'latin1');
  const bytes = Buffer.concat([
    Buffer.from('\ufeff{"text": "first", "id": 7}\r\n\r\n'),
    Buffer.from('{"text": "no end\nnull\n[1]\n{"body": "x"}\n{"text": null}\n{"text": 5}\n'),
    latin1,
    Buffer.from(`\n{"text": "${'long '.repeat(100)}"}\n{"text": "\\ud800 half"}\n  \n{"text": "last"}`),
  ]);
  const path = file('broken.jsonl', bytes);

  it('are left out, counted and named', async () => {
    const options = { ...quiet, filters: [normalisation()] };
    const report = await cleanCorpus(corpusAt(path, { mostBytes: 400 }), folder('broken'), options);
    expect(keptIn('broken')).toEqual([
      { id: '7', text: 'first' },
      { id: 'broken.jsonl:11', text: '\ufffd half' },
      { id: 'broken.jsonl:13', text: 'last' },
    ]);
    const counts = Object.entries(report.unreadable).map(([reason, { documents }]) => [reason, documents]);
    expect(counts).toEqual([
      ['not JSON', 1],
      ['not an object', 2],
      ["no field 'text'", 2],
      ["'text' is not a text", 1],
      ['not UTF-8', 1],
      ['too large', 1],
    ]);
    expect(report.unreadable['too large']!.bytes).toBe(512);
    expect(removedIn('broken').map(({ document, filter, reason }) => [document, filter, reason])).toEqual([
      [3, 'reading', 'not JSON'],
      [4, 'reading', 'not an object'],
      [5, 'reading', 'not an object'],
      [6, 'reading', "no field 'text'"],
      [7, 'reading', "no field 'text'"],
      [8, 'reading', "'text' is not a text"],
      [9, 'reading', 'not UTF-8'],
      [10, 'reading', 'too large'],
    ]);
    expect(report.unreadableExamples).toHaveLength(8);
    expect(formatQualityReport(report)).toMatch(/unreadable: not JSON +1/);
  });

  it('are refused with their line, when told', () => {
    expect(() => recordsOf(path, { badRecords: 'refuse' })).toThrow(/broken.jsonl, line 3: not JSON. It begins: \{"text"/);
    expect(() => recordsOf(path, { badEncoding: 'refuse' })).toThrow(/broken.jsonl: record 9 is not UTF-8/);
  });

  it('of exactly the largest size are documents, and one byte more is too much', () => {
    const sizes = file('size.jsonl', '{"text":"12345"}\n{"text":"123456"}\n{"text":"12345"}');
    const records = recordsOf(sizes, { mostBytes: 16 });
    const texts = records.map(({ document, unreadable }) => document?.text ?? unreadable?.reason);
    expect(texts).toEqual(['12345', 'too large', '12345']);
    expect(records.map(({ bytes: size }) => size)).toEqual([16, 17, 16]);
  });

  it('of another encoding are read with U+FFFD, when told, and counted', async () => {
    const report = await cleanCorpus(corpusAt(path, { badEncoding: 'repair' }), folder('repaired'), { ...quiet, filters: [] });
    expect(report.repaired).toBe(1);
    expect(keptIn('repaired').map(({ text }) => text)).toContain('caf\ufffd');
    expect(formatQualityReport(report)).toContain('1 repaired');
  });

  it('another field may hold the text', async () => {
    const other = file('fields.jsonl', '{"body": "b", "text": "t", "key": "k"}');
    const documents = recordsOf(other, { textField: 'body', idField: 'key' });
    expect(documents[0]!.document).toEqual({ number: 1, id: 'k', text: 'b', fields: { text: 't' } });
    await cleanCorpus(corpusAt(other, { textField: 'body' }), folder('other'), { ...quiet, filters: [] });
    expect(keptIn('other')).toEqual([{ id: 'fields.jsonl:1', text: 'b', key: 'k' }]);
  });

  it.each([
    ['there is nothing', () => join(root, 'nowhere.jsonl'), /There is no file or folder .*nowhere.jsonl/],
    ['it is compressed', () => file('packed.jsonl', Uint8Array.of(0x1f, 0x8b, 8, 0)), /packed.jsonl is compressed. Unpack/],
    ['it is UTF-16', () => file('wide.txt', Buffer.from('\ufeffhello', 'utf16le')), /wide.txt is UTF-16.*iconv -f UTF-16/],
  ])('refuses a corpus when %s', (_, make, message) => {
    expect(() => corpusAt(make())).toThrow(message);
  });
});

describe('plain text', () => {
  const documents = (path: string, options: SourceOptions = {}) =>
    recordsOf(path, options).map(({ document, unreadable }) => document?.text ?? unreadable!.reason);

  it('has empty lines between documents', () => {
    const path = file('pages.txt', '\n\none\ntwo\r\n \t\r\n\n\nthree\n\nfour');
    expect(documents(path)).toEqual(['one\ntwo', 'three', 'four']);
    expect(recordsOf(path).map(({ document }) => document!.id)).toEqual(['pages.txt:1', 'pages.txt:2', 'pages.txt:3']);
    expect(documents(file('nothing.txt', ' \n\n'))).toEqual([]);
  });

  it('a document that is too large, in one line or in many, takes no other with it', () => {
    const path = file('sizes.txt', `${'x'.repeat(50)}\n\nfine\n\n${'y y\n'.repeat(20)}\nalso fine\n`);
    expect(documents(path, { mostBytes: 40 })).toEqual(['too large', 'fine', 'too large', 'also fine']);
  });

  it('of another encoding is left out', () => {
    expect(documents(file('latin1.txt', Buffer.from('caf\xe9\n\nplain', 'latin1')))).toEqual(['not UTF-8', 'plain']);
  });

  it('a folder has a document in each file', () => {
    mkdirSync(join(root, 'pages'));
    const files = { 'b.txt': 'second\n\nstill second', 'a.md': 'first\n', '.hidden': 'no', 'c.txt': 'x'.repeat(99) };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(root, 'pages', name), text);
    expect(documents(join(root, 'pages'), { mostBytes: 50 })).toEqual(['first', 'second\n\nstill second', 'too large']);
    expect(recordsOf(join(root, 'pages'))[0]!.document!.id).toBe('a.md');
  });
});
