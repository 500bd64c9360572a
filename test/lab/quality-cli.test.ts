/** @file `data quality` as it is typed: what it says, what it leaves behind, and how it ends. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LabError, projectRoot, Random, stories, type QualityReport } from 'lab';
import { afterAll, describe, expect, it } from 'vitest';
import { readArguments } from '../../lab/dist/cli/command.js';
import { quality as command } from '../../lab/dist/cli/quality.js';

const main = join(projectRoot(), 'lab', 'dist', 'cli', 'main.js');
const folder = mkdtempSync(join(tmpdir(), 'quality-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function quality(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [main, 'data', 'quality', ...args], { cwd: folder, encoding: 'utf8' });
}

const tales = stories({ count: 400, seed: 4 }).trim().split('\n\n');
const pages = tales.flatMap((_, i) => (i % 2 === 0 ? [`${tales[i]!}\n${tales[i + 1]!}`] : []));
const records = [...pages, pages[3]!].map((text) => JSON.stringify({ text }));
writeFileSync(join(folder, 'pages.jsonl'), [...records, '{"text"'].join('\n'));
const random = new Random(1);
const rude = Array.from({ length: 60 }, () => tales[random.integer(400)]!.toUpperCase().replaceAll(' ', ' lol '));
writeFileSync(join(folder, 'good.txt'), tales.slice(0, 200).join('\n\n'));
writeFileSync(join(folder, 'bad.txt'), rude.slice(0, 40).join('\n\n'));
writeFileSync(join(folder, 'mixed.txt'), [...tales.slice(200, 220), ...rude.slice(40)].join('\n\n'));
writeFileSync(join(folder, 'quiz.txt'), `${tales[210]!}\n\nToo short`);

const keptIn = (name: string): string[] => readFileSync(join(folder, name, 'kept.jsonl'), 'utf8').trim().split('\n');
const reportIn = (name: string): QualityReport =>
  JSON.parse(readFileSync(join(folder, name, 'report.json'), 'utf8')) as QualityReport;

describe('data quality', () => {
  it('cleans a corpus and says what it removed', () => {
    const { status, stdout, stderr } = quality('pages.jsonl', '--out', 'clean');
    expect(status, stderr).toBe(0);
    expect(stdout).toMatch(/unreadable: not JSON +1/);
    expect(stdout).toMatch(/− exact duplicates +1 /);
    expect(stdout).toMatch(/kept +199 /);
    expect(stdout).toMatch(/exact duplicates: equal to an earlier document\n.*\n.* stays/);
    expect(stderr).toMatch(/pass 1 of 4/);
    expect(keptIn('clean')).toHaveLength(199);
  });

  it('takes thresholds, leaves filters out, and prints JSON', () => {
    const rules = 'minWords=1000000,maxTop2=0.9,commonDocuments=5,rows=4,maxCommon=1';
    const options = ['--rules', rules, '--skip', 'exact,repetition', '--json', '--verify', '0.9'];
    const { status, stdout } = quality('pages.jsonl', '--out', 'rules', ...options);
    expect(status).toBe(0);
    const report = JSON.parse(stdout) as QualityReport;
    const names = ['normalisation', 'boilerplate', 'common lines', 'Gopher quality', 'near duplicates'];
    expect(report.filters.map(({ name }) => name)).toEqual(names);
    expect(report.filters[3]!.removed.documents).toBe(201);
    expect(report.filters[2]!.settings).toMatchObject({ documents: 5, maxShare: 1 });
    expect(report.filters[4]!.settings).toEqual({ ngram: 5, bands: 14, rows: 4, seed: 1, verify: 0.9 });
    expect(report).toEqual(reportIn('rules'));
  });

  it('trains a classifier, keeps what is like the good texts, and uses it again; looks for evaluation texts', () => {
    const common = ['--skip', 'quality,repetition,near,common'];
    const { status, stderr } = quality('mixed.txt', '--out', 'taught', ...common, '--good', 'good.txt', '--bad', 'bad.txt');
    expect(status, stderr).toBe(0);
    expect(stderr).toMatch(/Classifier on 24 texts that it has not seen: 100.0% right, area under the curve 1.000/);
    expect(keptIn('taught')).toHaveLength(20);
    const options = ['--classifier', 'taught/classifier.json', '--against', 'quiz.txt'];
    const again = quality('mixed.txt', '--out', 'again', ...common, ...options);
    expect(again.status, again.stderr).toBe(0);
    expect(again.stdout).toMatch(/overlaps with quiz.txt|− contamination/);
    const kept = keptIn('again');
    expect(kept).toHaveLength(19);
    expect(kept.some((line) => line.includes(JSON.stringify(tales[210]!).slice(1, -1)))).toBe(false);
  });

  it('interrupted, it says what is left and how to go on, and the same command does', async () => {
    const many = Array.from({ length: 20_000 }, (_, i) => JSON.stringify({ text: `${i} ${pages[i % 200]!}` }));
    writeFileSync(join(folder, 'many.jsonl'), many.join('\n'));
    const args = [main, 'data', 'quality', 'many.jsonl', '--out', 'stopped'];
    const child = spawn(process.execPath, args, { cwd: folder });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    while (!said.includes('pass 1 of 4')) await once(child.stderr, 'data');
    child.kill('SIGINT');
    const [code] = (await once(child, 'exit')) as [number];
    expect(said).toMatch(/Interrupted. [123] of 4 passes are finished and kept, [123] to go; the same command goes on/);
    expect(code).toBe(130);
    expect(readdirSync(join(folder, 'stopped'))).toEqual(['.unfinished']);
    const { status, stderr } = quality('many.jsonl', '--out', 'stopped');
    expect(status).toBe(0);
    expect(stderr).not.toContain('pass 1 of 4');
    expect(reportIn('stopped').read.documents).toBe(20_000);
    expect(existsSync(join(folder, 'stopped', '.unfinished'))).toBe(false);
  });

  const cases: readonly (readonly [string[], RegExp])[] = [
    [[], /Which corpus\? Example/],
    [['pages.jsonl', 'more', '--out', 'x'], /Which corpus\?/],
    [['pages.jsonl'], /--out DIR says where/],
    [['nowhere.jsonl', '--out', 'x'], /There is no file or folder .*nowhere.jsonl/],
    [['pages.jsonl', '--out', 'x', '--skip', 'exact,magic'], /--skip is normalisation or exact.*; got 'magic'/],
    [['pages.jsonl', '--out', 'x', '--rules', 'minWord=3'], /there is no rule 'minWord'. Rules: minWords, /],
    [['pages.jsonl', '--out', 'x', '--rules', 'minWords=few'], /minWords takes a number, got 'few'/],
    [['pages.jsonl', '--out', 'x', '--bad-records', 'ignore'], /--bad-records is skip or refuse; got 'ignore'/],
    [['pages.jsonl', '--out', 'x', '--bad-records', 'refuse'], /pages.jsonl, line 202: not JSON/],
    [['pages.jsonl', '--out', 'x', '--good', 'good.txt'], /needs good and bad texts/],
    [['pages.jsonl', '--out', 'x', '--min-score', '0.4'], /--min-score needs a classifier/],
    [['pages.jsonl', '--out', 'x', '--ngram', '8'], /--ngram is for --against/],
    [['pages.jsonl', '--out', 'x', '--classifier', 'pages.jsonl'], /pages.jsonl is not a saved classifier/],
    [['pages.jsonl', '--out', 'x', '--seed', '1.5'], /--seed takes a whole number, 0 or more; got 1.5/],
    [['pages.jsonl', '--out', 'x', '--verify', '2'], /verify must be in \(0, 1\], got 2/],
    [['pages.jsonl', '--out', 'good.txt'], /good.txt/],
  ];
  it.each(cases)('refuses %j', async (args, says) => {
    const inFolder = args.map((word) => (/\.(jsonl|txt)$|^x$/.test(word) ? join(folder, word) : word));
    const given = readArguments(command, inFolder);
    const error = await command.run(given.values, ['quality', ...given.positionals]).catch((thrown: unknown) => thrown);
    expect(error instanceof LabError || error instanceof RangeError).toBe(true);
    expect((error as Error).message).toMatch(says);
  });

  it('an error is a sentence and a status', () => {
    const { status, stderr } = quality('nowhere.jsonl', '--out', 'x');
    expect([status, stderr]).toEqual([2, 'There is no file or folder nowhere.jsonl.\n']);
  });

  const mayMount = spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'none', folder]).status === 0;
  it.skipIf(!mayMount)('a disk that fills is named, and what was there stays', () => {
    const place = join(folder, 'full');
    mkdirSync(place);
    const words = [process.execPath, main, 'data', 'quality', join(folder, 'pages.jsonl'), '--out', `${place}/out`];
    const run = words.map((word) => `'${word}'`).join(' ');
    const before = `mount -t tmpfs -o size=64k none ${place} && mkdir ${place}/out && echo old > ${place}/out/kept.jsonl`;
    const script = `${before} && ${run}; echo $?; cat ${place}/out/kept.jsonl`;
    const { stdout, stderr } = spawnSync('unshare', ['-rm', 'sh', '-c', script], { encoding: 'utf8' });
    expect(stderr).toMatch(/Cannot save .*pass-1.spool: the disk is full \(0.\d MB free\)/);
    expect(stdout).toBe('2\nold\n');
  });

  it('explains every option', () => {
    const { status, stdout } = quality('--help');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^npm run lab -- data quality IN/);
    expect(stdout).toMatch(/Examples:/);
  });
});
