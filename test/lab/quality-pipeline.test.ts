/** @file The pipeline over files: nothing gets lost, whatever the input holds and whenever it is interrupted. */
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  cleanCorpus,
  cleanDocuments,
  CleaningInterrupted,
  corpusAt,
  corpusOf,
  documentsOf,
  exactDuplicates,
  formatQualityReport,
  nearDuplicates,
  normalisation,
  Random,
  stories,
  usualFilters,
  type FilterReport,
  type QualityDocument,
  type QualityFilter,
  type QualityReport,
} from 'lab';
import { afterAll, describe, expect, it } from 'vitest';

const root = mkdtempSync(join(tmpdir(), 'quality-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const folder = (name: string): string => join(root, name);
const quiet = { quiet: true };

const random = new Random(3);
const tales = stories({ count: 900, seed: 8 }).trim().split('\n\n');

/** Pages of stories, some of them again, some changed, some no prose. */
const corpus: string[] = [];
for (let i = 0; i < 240; i++) {
  const page = tales.slice((i * 3) % 900, ((i * 3) % 900) + 3).join('\n');
  const earlier = corpus.length > 0 ? random.pick(corpus) : page;
  const others = [earlier, earlier.replace('the', 'a'), '### 12 34', `${page}\nBack to top`, 'Ça “ va ”\u00a0!'];
  corpus.push(others[i % 9] ?? page);
}
const jsonl = join(root, 'corpus.jsonl');
const fieldsOf = (i: number): object => ({ score: i / 2, tags: ['x', null] });
writeFileSync(jsonl, corpus.map((text, i) => JSON.stringify({ text, id: `d${i}`, ...fieldsOf(i) })).join('\n'));

interface Kept {
  readonly id: string;
  readonly text: string;
}
interface Removed {
  readonly document: number;
  readonly filter: string;
  readonly reason: string;
  readonly of?: number;
  readonly record?: Kept;
}

function linesIn<T>(path: string): T[] {
  const text = readFileSync(path, 'utf8');
  expect(text === '' || text.endsWith('\n')).toBe(true);
  return text.split('\n').slice(0, -1).map((line) => JSON.parse(line) as T);
}
const keptIn = (name: string): Kept[] => linesIn<Kept>(join(folder(name), 'kept.jsonl'));
const removedIn = (name: string): Removed[] => linesIn<Removed>(join(folder(name), 'removed.jsonl'));
const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(root, name), content);
  return join(root, name);
};

describe('a corpus in a file', () => {
  it('comes out as the same filters in memory leave it, with the same report', async () => {
    const report = await cleanCorpus(corpusAt(jsonl), folder('whole'), { ...quiet, filters: usualFilters(folder('whole')) });
    const documents = corpus.map((text, i) => ({ number: i + 1, id: `d${i}`, text, fields: { ...fieldsOf(i) } }));
    const inMemory = cleanDocuments(documents);
    expect(keptIn('whole')).toEqual(inMemory.kept.map(({ id, text, fields }) => ({ id, text, ...fields })));
    const removed = inMemory.removed.toSorted((a, b) => a.document.number - b.document.number);
    expect(removedIn('whole')).toEqual(
      removed.map(({ document: { number, id, text, fields }, filter, removal }) => ({
        document: number,
        filter,
        ...removal,
        record: { id, text, ...fields },
      })),
    );
    // An original may be rewritten after its duplicate is removed: its beginning is that of the end.
    const comparable = (filters: readonly FilterReport[]): unknown =>
      filters.map(({ examples, ...rest }) => [rest, examples.map(({ of, ...one }) => [one, of?.document])]);
    expect(comparable(report.filters)).toEqual(comparable(inMemory.filters));
    expect(JSON.parse(readFileSync(join(folder('whole'), 'report.json'), 'utf8'))).toEqual(report);
    expect(readdirSync(folder('whole')).sort()).toEqual(['kept.jsonl', 'removed.jsonl', 'report.json']);
  });

  it('every document is kept or removed, once, and the report counts them', () => {
    const [kept, removed] = [keptIn('whole'), removedIn('whole')];
    const ids = [...kept.map(({ id }) => id), ...removed.map(({ record }) => record!.id)];
    expect(ids.sort()).toEqual(corpus.map((_, i) => `d${i}`).sort());
    const report = JSON.parse(readFileSync(join(folder('whole'), 'report.json'), 'utf8')) as QualityReport;
    const bytesOf = (list: readonly string[]): number => list.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    expect(report.read).toEqual({ documents: 240, bytes: bytesOf(corpus) });
    expect(report.kept).toEqual({ documents: kept.length, bytes: bytesOf(kept.map(({ text }) => text)) });
    const texts = new Map(kept.map(({ id, text }) => [Number(id.slice(1)) + 1, text]));
    for (const { document, record } of removed) texts.set(document, record!.text);
    let [came, bytes] = [report.read.documents, report.read.bytes];
    for (const filter of report.filters) {
      expect(filter.came).toEqual({ documents: came, bytes });
      const those = removed.filter((line) => line.filter === filter.name);
      expect(filter.removed.documents).toBe(those.length);
      expect(filter.removed.bytes).toBe(bytesOf(those.map(({ record }) => record!.text)));
      expect(Object.values(filter.reasons).reduce((sum, { documents }) => sum + documents, 0)).toBe(those.length);
      expect(filter.examples.length).toBeGreaterThanOrEqual(Math.min(3, those.length));
      for (const example of filter.examples) {
        const line = those.find(({ document }) => document === example.document)!;
        expect([line.record!.id, line.reason, line.of]).toEqual([example.id, example.reason, example.of?.document]);
        expect(line.record!.text.startsWith(example.excerpt.replace(/…$/, ''))).toBe(true);
        if (example.of) expect(texts.get(example.of.document)!.startsWith(example.of.excerpt.replace(/…$/, ''))).toBe(true);
      }
      came -= filter.removed.documents;
      bytes -= filter.removed.bytes + filter.rewritten.bytes;
    }
    expect({ documents: came, bytes }).toEqual(report.kept);
    expect(report.filters.filter(({ removed: { documents } }) => documents > 0).length).toBeGreaterThanOrEqual(4);
    const table = formatQualityReport(report);
    for (const { name } of report.filters) expect(table).toContain(name);
    expect(table).toContain(kept.length.toLocaleString('en'));
  });

  it('the same again is the same, and what was kept has no more duplicates', async () => {
    const before = readFileSync(join(folder('whole'), 'kept.jsonl'), 'utf8');
    await cleanCorpus(corpusAt(jsonl), folder('whole'), quiet);
    expect(readFileSync(join(folder('whole'), 'kept.jsonl'), 'utf8')).toBe(before);
    const filters = [normalisation(), exactDuplicates(), nearDuplicates()];
    await cleanCorpus(corpusAt(join(folder('whole'), 'kept.jsonl')), folder('again'), { ...quiet, filters });
    expect(readFileSync(join(folder('again'), 'kept.jsonl'), 'utf8')).toBe(before);
  });

  it('examples are drawn by seed, from all that were removed', async () => {
    const texts = Array.from({ length: 200 }, (_, i) => `text ${i}`);
    const all: QualityFilter = { name: 'all', settings: null, judge: () => ({ reason: 'because' }) };
    const drawn = async (seed: number): Promise<number[]> => {
      const options = { ...quiet, filters: [all], seed, examples: 20 };
      const { filters } = await cleanCorpus(corpusOf(texts), folder('drawn'), options);
      return filters[0]!.examples.map(({ document }) => document);
    };
    expect(await drawn(1)).toEqual(await drawn(1));
    const numbers = [...(await drawn(1)), ...(await drawn(2)), ...(await drawn(3))];
    expect(numbers.filter((number) => number > 100).length).toBeGreaterThan(15);
    expect(numbers.filter((number) => number <= 100).length).toBeGreaterThan(15);
  });

  it('may be empty', async () => {
    const report = await cleanCorpus(corpusAt(file('empty.jsonl', '')), folder('empty'), quiet);
    expect([report.read.documents, report.kept.documents, keptIn('empty'), removedIn('empty')]).toEqual([0, 0, [], []]);
    expect(formatQualityReport(report)).toContain('kept');
  });

  it('without filters passes through', async () => {
    await cleanCorpus(corpusAt(jsonl), folder('through'), { ...quiet, filters: [] });
    expect(keptIn('through').map(({ text }) => text)).toEqual(corpus);
  });

  it('documents larger than a piece of the file, in every script, come through whole', async () => {
    const texts = [`é${'中文 '.repeat(700_000)}`, 'small', `${'x'.repeat(1 << 20)}😀`.repeat(2), '', 'end'];
    const path = file('large.jsonl', texts.map((text) => JSON.stringify({ text })).join('\n'));
    await cleanCorpus(corpusAt(path), folder('large'), { ...quiet, filters: [exactDuplicates()] });
    const kept = keptIn('large').map(({ text }) => text);
    expect(kept.map((text) => text.length)).toEqual(texts.map((text) => text.length));
    expect(kept.every((text, i) => text === texts[i])).toBe(true);
  });
});

describe('an interrupted run', () => {
  /** Interrupts the process at the n-th document that it judges. */
  function interrupting(inner: QualityFilter, at: number): QualityFilter & { judged: number } {
    const outer = {
      ...inner,
      judged: 0,
      judge(document: QualityDocument) {
        if (++outer.judged === at) process.emit('SIGINT');
        return inner.judge(document);
      },
    };
    return outer;
  }

  it.each([
    ['the first pass', 0, /No pass was finished, 3 to go/],
    ['the second pass', 1, /1 of 3 passes are finished and kept, 2 to go/],
    ['the last pass', 2, /2 of 3 passes are finished and kept, 1 to go/],
  ])('in %s goes on behind the passes that were finished, to the same end', async (name, stop, message) => {
    const make = (): QualityFilter[] => [normalisation(), exactDuplicates(), nearDuplicates()];
    const out = folder(`stopped ${name}`);
    await cleanCorpus(corpusAt(jsonl), folder(`straight ${name}`), { ...quiet, filters: make() });
    mkdirSync(out);
    writeFileSync(join(out, 'kept.jsonl'), 'what was there before');
    const first = make().map((filter, i) => interrupting(filter, i === stop ? 5 : 0));
    await expect(cleanCorpus(corpusAt(jsonl), out, { ...quiet, filters: first })).rejects.toThrow(CleaningInterrupted);
    expect(readFileSync(join(out, 'kept.jsonl'), 'utf8')).toBe('what was there before');
    expect(readdirSync(join(out, '.unfinished'))).toEqual(stop === 0 ? [] : [`pass-${stop}.spool`, 'state.json']);

    const second = make().map((filter, i) => interrupting(filter, i === stop ? 5 : 0));
    await expect(cleanCorpus(corpusAt(jsonl), out, { ...quiet, filters: second })).rejects.toThrow(message);
    second.forEach(({ judged }, i) => expect(judged > 0).toBe(i === stop));

    const third = make().map((filter) => interrupting(filter, 0));
    await cleanCorpus(corpusAt(jsonl), out, { ...quiet, filters: third });
    third.forEach(({ judged }, i) => expect(judged > 0).toBe(i >= stop));
    for (const part of ['kept.jsonl', 'removed.jsonl', 'report.json']) {
      expect(readFileSync(join(out, part), 'utf8')).toBe(readFileSync(join(folder(`straight ${name}`), part), 'utf8'));
    }
    expect(existsSync(join(out, '.unfinished'))).toBe(false);
  });

  it.each([
    ['other settings', () => [normalisation(), interrupting(exactDuplicates(), 0), nearDuplicates({ rows: 4 })], false],
    ['another corpus', () => [normalisation(), interrupting(exactDuplicates(), 0), nearDuplicates()], true],
  ])('begins anew with %s', async (name, make, grown) => {
    const path = file('changing.jsonl', corpus.map((text) => JSON.stringify({ text })).join('\n'));
    const stopped = [normalisation(), exactDuplicates(), interrupting(nearDuplicates(), 5)];
    const stopping = cleanCorpus(corpusAt(path), folder(name), { ...quiet, filters: stopped });
    await expect(stopping).rejects.toThrow(CleaningInterrupted);
    if (grown) appendFileSync(path, '\n{"text": "one more"}');
    const filters = make();
    const report = await cleanCorpus(corpusAt(path), folder(name), { ...quiet, filters });
    expect((filters[1] as QualityFilter & { judged: number }).judged).toBeGreaterThan(0);
    expect(report.read.documents).toBe(grown ? 241 : 240);
  });

  it('a filter that fails leaves no temporary files, and what was there', async () => {
    const failing: QualityFilter = {
      name: 'failing',
      settings: null,
      judge() {
        throw new RangeError('no');
      },
    };
    const out = folder('failing');
    const near = nearDuplicates({ folder: out, verify: 0.5 });
    await expect(cleanCorpus(corpusAt(jsonl), out, { ...quiet, filters: [near, failing] })).rejects.toThrow('no');
    const look = (document: QualityDocument): void => {
      if (document.number > 50) failing.judge(document);
      near.look!(document);
    };
    await expect(cleanCorpus(corpusAt(jsonl), out, { ...quiet, filters: [{ ...near, look }] })).rejects.toThrow('no');
    expect(readdirSync(out)).toEqual(['.unfinished']);
    expect(readdirSync(join(out, '.unfinished')).sort()).toEqual(['pass-1.spool', 'state.json']);
  });
});

describe('filtering in memory', () => {
  it('takes any filter, which sees everything before it judges', () => {
    const order: string[] = [];
    const watching: QualityFilter = {
      name: 'watching',
      settings: null,
      look: ({ number }) => void order.push(`look ${number}`),
      settle: () => void order.push('settle'),
      judge: ({ number, text }) => {
        order.push(`judge ${number}`);
        return number === 2 ? { reason: 'second' } : { text: `${text}!` };
      },
      reset: () => void order.push('reset'),
    };
    const { kept, removed } = cleanDocuments(documentsOf(['a', 'b', 'c']), { filters: [watching] });
    expect(order).toEqual(['look 1', 'look 2', 'look 3', 'settle', 'judge 1', 'judge 2', 'judge 3', 'reset']);
    expect(kept.map(({ text }) => text)).toEqual(['a!', 'c!']);
    expect(removed).toMatchObject([{ document: { text: 'b' }, filter: 'watching', removal: { reason: 'second' } }]);
  });
});
