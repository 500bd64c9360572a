/**
 * @file The loaders of FPB and FiQA-SA, on small files in their true formats with invented content, whole and broken.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  fiqaEntry,
  fiqaLabel,
  LabError,
  loadFiQA,
  loadPhraseBank,
  parseCSV,
  parseFiQA,
  parsePhraseBank,
  phraseBankLine,
  type SentimentRecord,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'finance-'))));
afterAll(() => rm(folder, { recursive: true }));

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');
const utf8 = (text: string): Buffer => Buffer.from(text, 'utf8');
const skip = { broken: 'skip' } as const;

describe('FPB', () => {
  const file =
    'Umbrex said its net sales rose 12 % to EUR 4.1 mn .@positive\r\n' +
    'Värttilä Oy , based in Åbo , will cut 40 jobs .@negative\r\n' +
    '\r\n' +
    'Questions go to press@umbrex.example , the company said .@neutral\r\n';

  it('reads Latin-1, lines that end in two ways, and the label behind the last @', async () => {
    const path = join(folder, 'Sentences_50Agree.txt');
    await writeFile(path, latin1(file));
    const { records, broken } = await loadPhraseBank(path);
    expect(broken).toEqual([]);
    expect(records).toEqual([
      { sentence: 'Umbrex said its net sales rose 12 % to EUR 4.1 mn .', label: 'positive' },
      { sentence: 'Värttilä Oy , based in Åbo , will cut 40 jobs .', label: 'negative' },
      { sentence: 'Questions go to press@umbrex.example , the company said .', label: 'neutral' },
    ]);
    expect(parsePhraseBank(utf8(`\uFEFF${file}`), 'copy').records).toEqual(records);
    expect(parsePhraseBank(latin1(records.map(phraseBankLine).join('\n')), 'again').records).toEqual(records);
  });

  it.each([
    ['no label here', /no @ between/],
    ['Sales rose .@good', /the label is "good"/],
    ['@neutral', /no sentence before the @/],
    ['The bank\u0092s sales rose .@positive', /character 9 is the control character U\+0092/],
    ['S\u0000a\u0000l\u0000e\u0000s\u0000@\u0000neutral', /U\+0000/],
  ])('refuses %j with its line, or leaves it out', (line, reason) => {
    const bytes = latin1(`${file}${line}\r\n${file}`);
    expect(() => parsePhraseBank(bytes, 'bank.txt')).toThrow(reason);
    expect(() => parsePhraseBank(bytes, 'bank.txt')).toThrow(/^bank\.txt, line 5: .*Mend it, or leave broken records out/s);
    const { records, broken } = parsePhraseBank(bytes, 'bank.txt', skip);
    expect(records).toHaveLength(6);
    expect(broken).toHaveLength(1);
    expect(broken[0]!.place).toBe('line 5');
    expect(broken[0]!.reason).toMatch(reason);
  });

  it('refuses a file without records, also one in which all are broken', async () => {
    expect(() => parsePhraseBank(latin1('\n\n'), 'empty.txt')).toThrow(/^empty\.txt holds no records\.$/);
    expect(() => parsePhraseBank(latin1('a\nb\n'), 'odd.txt', skip)).toThrow(
      /2 are broken, the first \(line 1\): there is no @/,
    );
    await expect(loadPhraseBank(join(folder, 'nowhere'))).rejects.toThrow(/There is no file/);
    await expect(loadPhraseBank(folder)).rejects.toThrow(LabError);
  });
});

describe('FiQA', () => {
  const entries = {
    '1': {
      sentence: 'Umbrex climbs as Norvale slips',
      info: [
        { snippets: "['climbs']", target: 'Umbrex', sentiment_score: '0.412', aspects: "['Stock/Price Action/Bullish']" },
        { snippets: "['slips']", target: 'Norvale', sentiment_score: '-0.35', aspects: '["Stock/Price Action"]' },
      ],
    },
    '7': { sentence: 'Orlane names a chairman', info: [{ target: 'Orlane', sentiment_score: '0.05', aspects: '[]' }] },
  };
  const wanted: SentimentRecord[] = [
    {
      sentence: 'Umbrex climbs as Norvale slips',
      source: 'news',
      label: 'positive',
      target: 'Umbrex',
      score: 0.412,
      aspect: 'Stock/Price Action/Bullish',
    },
    {
      sentence: 'Umbrex climbs as Norvale slips',
      source: 'news',
      label: 'negative',
      target: 'Norvale',
      score: -0.35,
      aspect: 'Stock/Price Action',
    },
    { sentence: 'Orlane names a chairman', source: 'news', label: 'neutral', target: 'Orlane', score: 0.05 },
  ];

  it("reads the challenge's JSON, a record for each target; its second file holds posts", async () => {
    const path = join(folder, 'task1_headline_ABSA_train.json');
    await writeFile(path, JSON.stringify(entries));
    expect((await loadFiQA(path)).records).toEqual(wanted);
    const posts = parseFiQA(utf8(JSON.stringify(entries)), 'postings/task1_post_ABSA_train.json').records;
    expect(posts).toEqual(wanted.map((record) => ({ ...record, source: 'post' })));
    expect(parseFiQA(utf8(JSON.stringify(entries)), 'post/task1_headline.json').records[0]!.source).toBe('news');
    const again = Object.fromEntries(wanted.map((record, i) => [String(i), fiqaEntry(record)]));
    expect(parseFiQA(utf8(JSON.stringify(again)), 'again').records).toEqual(wanted);
  });

  it('reads the copies on the hub: CSV with either set of columns, a list of JSON, lines of JSON', () => {
    const [first, second, third] = wanted as [SentimentRecord, SentimentRecord, SentimentRecord];
    const old = [
      'sentence,snippets,target,sentiment_score,aspects,format,label,split',
      `${first.sentence},['climbs'],Umbrex,0.412,['Stock/Price Action/Bullish'],headline,2,train`,
      `"$UMB ""up"", again",['up'],UMB,0.1,"['Stock', 'Risk']",post,2,train`,
    ];
    const records = parseFiQA(utf8(old.join('\r\n')), 'train.csv').records;
    expect(records[0]).toEqual(first);
    expect(records[1]).toEqual({
      sentence: '$UMB "up", again',
      source: 'post',
      label: 'positive',
      target: 'UMB',
      score: 0.1,
      aspect: 'Stock',
    });
    const columns = (record: SentimentRecord, i: number) => ({
      _id: i,
      sentence: record.sentence,
      target: record.target,
      aspect: record.aspect ?? '',
      score: record.score,
      type: 'headline',
    });
    const rows = wanted.map(columns);
    for (const text of [
      JSON.stringify(rows),
      JSON.stringify(rows, undefined, 2),
      rows.map((row) => JSON.stringify(row)).join('\n'),
    ]) {
      expect(parseFiQA(utf8(text), 'rows').records).toEqual(wanted);
    }
    expect(parseFiQA(utf8(JSON.stringify(columns(second, 1))), 'one').records).toEqual([second]);
    expect(
      parseFiQA(utf8(`_id,sentence,target,aspect,score,type\n3,${third.sentence},Orlane,,0.05,headline\n`), 'new.csv').records,
    ).toEqual([third]);
  });

  it('cuts scores as FinGPT does, or elsewhere', () => {
    expect([-1, -0.101, -0.1, 0, 0.0999, 0.1, 1].map((score) => fiqaLabel(score))).toEqual([
      'negative',
      'negative',
      'neutral',
      'neutral',
      'neutral',
      'positive',
      'positive',
    ]);
    expect(parseFiQA(utf8(JSON.stringify(entries)), 'wide', { cuts: [-0.4, 0.5] }).records.map(({ label }) => label)).toEqual([
      'neutral',
      'neutral',
      'neutral',
    ]);
  });

  it.each([
    [{ info: [{ target: 'A', sentiment_score: '0.1' }] }, /"sentence" is missing/],
    [{ sentence: 'x', info: [{ sentiment_score: '0.1' }] }, /"target" is missing/],
    [{ sentence: 'x', info: [{ target: 'A' }] }, /"sentiment_score" is missing/],
    [{ sentence: 'x', info: [{ target: 'A', sentiment_score: 'high' }] }, /the score is "high", not a number from −1 to 1/],
    [{ sentence: 'x', info: [{ target: 'A', sentiment_score: '1.5' }] }, /the score is "1.5"/],
    [{ sentence: 'x', info: [] }, /"info" is empty/],
    [{ sentence: 'x', info: 'none' }, /"info" is not a list of objects/],
    [{ sentence: 3, info: [] }, /"sentence" is not a text/],
    [[], /not an object/],
    [null, /not an object/],
  ])('refuses %j by its key, or leaves it out', (entry, reason) => {
    const bytes = utf8(JSON.stringify({ ...entries, '13': entry }));
    expect(() => parseFiQA(bytes, 'fiqa.json')).toThrow(/^fiqa\.json, entry "13": /);
    const { records, broken } = parseFiQA(bytes, 'fiqa.json', skip);
    expect(records).toEqual(wanted);
    expect(broken[0]!.reason).toMatch(reason);
  });

  it('refuses what is no JSON, and CSV that is cut off', () => {
    expect(() => parseFiQA(utf8('{"1": '), 'cut.json')).toThrow(/cut\.json is not JSON/);
    const line = '{"sentence": "a", "target": "A", "score": 0.5}';
    expect(() => parseFiQA(utf8(`${line}\n{"sentence"`), 'cut.jsonl')).toThrow(/^cut\.jsonl, line 2: it is not JSON/);
    expect(parseFiQA(utf8(`${line}\n{"sentence"\n${line}`), 'cut.jsonl', skip)).toMatchObject({
      records: [{}, {}],
      broken: [{}],
    });
    expect(() => parseFiQA(utf8('sentence,target\n"never closed'), 'cut.csv')).toThrow(
      /cut\.csv, line 2: a quote is not closed/,
    );
    expect(() => parseFiQA(utf8('sentence,target\nx,y\n'), 'few.csv')).toThrow(
      /few\.csv, line 2: "sentiment_score" is missing/,
    );
    expect(() => parseFiQA(utf8(''), 'none.csv')).toThrow(/holds no records/);
  });
});

describe('CSV', () => {
  it('divides cells as RFC 4180 says, and counts lines inside of quotes', () => {
    const text = 'a,"b ""x"", y",\r\n\n"two\nlines",d,e\nlast,,';
    expect(parseCSV(text, 'csv')).toEqual([
      { line: 1, cells: ['a', 'b "x", y', ''] },
      { line: 3, cells: ['two\nlines', 'd', 'e'] },
      { line: 5, cells: ['last', '', ''] },
    ]);
    expect(parseCSV('', 'csv')).toEqual([]);
    expect(parseCSV('a\n', 'csv')).toEqual([{ line: 1, cells: ['a'] }]);
    expect(() => parseCSV('a\n"b"c\n', 'csv')).toThrow(/line 2/);
  });

  it('gives a long file with an open quote up quickly', () => {
    expect(() => parseCSV(`a\n"${'x, '.repeat(500_000)}`, 'csv')).toThrow(/line 2: a quote is not closed/);
  });
});
