/**
 * @file `npm run lab -- data quality IN --out DIR`: cleans a corpus and says what was removed and why.
 */
import { basename, resolve } from 'node:path';
import { formatDuration, LabError } from '../base/index.ts';
import {
  boilerplate,
  cleanCorpus,
  CleaningInterrupted,
  commonLines,
  contamination,
  corpusAt,
  educational,
  exactDuplicates,
  formatQualityReport,
  gopherQuality,
  gopherRepetition,
  nearDuplicates,
  normalisation,
  type QualityFilter,
  type QualityReport,
  type SourceOptions,
} from '../data/index.ts';
import type { Command, Values } from './command.ts';
import { chosenClassifier, textsOf } from './quality-classifier.ts';
import { readRules, type Rules } from './quality-rules.ts';

/** What --skip may name, in the order in which they work. */
const skippable = ['normalisation', 'exact', 'boilerplate', 'common', 'quality', 'repetition', 'near'] as const;

export const quality: Command = {
  name: 'data quality',
  summary: 'Clean a corpus: normalise, deduplicate, filter; and say what was removed and why.',
  usage: 'IN.jsonl|IN.txt|FOLDER --out DIR [options]',
  options: {
    out: { type: 'string', value: 'DIR', help: 'where kept.jsonl, removed.jsonl and report.json go' },
    skip: { type: 'string', value: 'LIST', help: `leave filters out: ${skippable.join(',')}` },
    rules: { type: 'string', value: 'LIST', help: 'other thresholds: minWords=20,maxTop2=0.3,… (--rules ? lists them all)' },
    verify: { type: 'number', value: 'S', help: 'near duplicates: only with a true Jaccard similarity of S or more' },
    against: { type: 'string', value: 'LIST', help: 'evaluation sets (jsonl, txt): texts that share words with them go' },
    ngram: { type: 'number', help: '--against: so many words in a row (default 13)' },
    good: { type: 'string', value: 'FILE', help: 'train a classifier on these good texts …' },
    bad: { type: 'string', value: 'FILE', help: '… and these bad ones, and keep what is like the good ones' },
    classifier: { type: 'string', value: 'FILE', help: 'use a classifier that was trained before (DIR/classifier.json)' },
    'min-score': { type: 'number', help: 'the smallest score of a classifier that is kept (default 0.5)' },
    field: { type: 'string', value: 'NAME', help: 'jsonl: the field that holds the text', default: 'text' },
    'bad-records': { type: 'string', value: 'HOW', help: 'broken ones, those without text: skip or refuse', default: 'skip' },
    'bad-encoding': { type: 'string', value: 'HOW', help: 'texts that are not UTF-8: skip, repair or refuse', default: 'skip' },
    'most-bytes': { type: 'number', help: 'larger documents are left out', default: 8_000_000 },
    seed: { type: 'number', help: 'decides hash functions, examples and the classifier', default: 1 },
    examples: { type: 'number', help: 'examples in the report for each reason', default: 3 },
    json: { type: 'boolean', help: 'print the report as JSON' },
  },
  examples: [
    'npm run lab -- data quality corpus.jsonl --out .lab/data/clean',
    'npm run lab -- data quality pages.txt --out clean --rules minWords=20,maxLines=0.5 --skip common --verify 0.7',
    'npm run lab -- data quality corpus.jsonl --out clean --against questions.jsonl --good textbook.txt --bad posts.txt',
  ],
  async run(values, positionals) {
    const input = positionals[1];
    if (input === undefined || positionals.length > 2) {
      throw new LabError('Which corpus? Example: npm run lab -- data quality corpus.jsonl --out .lab/data/clean');
    }
    if (typeof values['out'] !== 'string') throw new LabError('--out DIR says where the cleaned corpus goes.');
    const folder = resolve(values['out']);
    const source = corpusAt(input, sourceOptions(values));
    const filters = await chosenFilters(values, folder);
    const started = performance.now();
    const { seed, examples } = { seed: whole(values, 'seed'), examples: whole(values, 'examples') };
    try {
      const report = await cleanCorpus(source, folder, { filters, seed, examples });
      if (values['json'] === true) console.log(JSON.stringify(report, undefined, 2));
      else print(report, folder, (performance.now() - started) / 1000);
      return 0;
    } catch (error) {
      if (!(error instanceof CleaningInterrupted)) throw error;
      console.error(error.message);
      return 130;
    }
  },
};

function sourceOptions(values: Values): SourceOptions {
  const { field, 'bad-records': badRecords, 'bad-encoding': badEncoding, 'most-bytes': mostBytes } = values;
  return {
    textField: String(field),
    badRecords: oneOf('bad-records', badRecords, ['skip', 'refuse']),
    badEncoding: oneOf('bad-encoding', badEncoding, ['skip', 'repair', 'refuse']),
    mostBytes: Number(mostBytes),
  };
}

function oneOf<const T extends string>(option: string, value: unknown, allowed: readonly T[]): T {
  const found = allowed.find((word) => word === value);
  if (found === undefined) throw new LabError(`--${option} is ${allowed.join(' or ')}; got '${String(value)}'.`);
  return found;
}

function whole(values: Values, option: string): number {
  const value = Number(values[option]);
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new LabError(`--${option} takes a whole number, 0 or more; got ${value}.`);
  }
  return value;
}

async function chosenFilters(values: Values, folder: string): Promise<QualityFilter[]> {
  const rules = readRules(values['rules']);
  const skipped = String(values['skip'] ?? '').split(',').filter((name) => name !== '');
  for (const name of skipped) oneOf('skip', name, skippable);
  const usual = usualFilters(rules, values, folder);
  const filters = skippable.filter((name) => !skipped.includes(name)).map((name) => usual[name]);
  const classifier = await chosenClassifier(values, folder);
  if (classifier) {
    const minScore = Number(values['min-score'] ?? 0.5);
    filters.push(educational({ score: (text) => classifier.score(text), minScore, scorer: classifier.digest() }));
  } else if (values['min-score'] !== undefined) {
    throw new LabError('--min-score needs a classifier: --good and --bad, or --classifier.');
  }
  const { against, ngram } = values;
  if (typeof against === 'string') {
    const sets = against.split(',').map((path) => ({ name: basename(path), items: textsOf(path) }));
    filters.push(contamination({ sets, ...(ngram !== undefined && { ngram: Number(ngram) }) }));
  } else if (ngram !== undefined) throw new LabError('--ngram is for --against; for near duplicates see --rules.');
  // The most expensive one comes last: it has the least to look at then.
  return filters.sort((a, b) => Number(a.name === 'near duplicates') - Number(b.name === 'near duplicates'));
}

function usualFilters(rules: Rules, values: Values, folder: string): Record<(typeof skippable)[number], QualityFilter> {
  const seed = whole(values, 'seed');
  const { verify } = values;
  return {
    normalisation: normalisation(),
    exact: exactDuplicates({ folder }),
    boilerplate: boilerplate(rules.boilerplate),
    common: commonLines({ ...rules.common, seed }),
    quality: gopherQuality(rules.quality),
    repetition: gopherRepetition(rules.repetition),
    near: nearDuplicates({ ...rules.near, seed, folder, ...(verify !== undefined && { verify: Number(verify) }) }),
  };
}

function print(report: QualityReport, folder: string, seconds: number): void {
  console.log(formatQualityReport(report));
  const examples = report.filters.flatMap(({ name, examples: [first] }) => (first ? [{ ...first, name }] : []));
  for (const { name, reason, detail, excerpt, of } of examples) {
    const beginning = (text: string): string => JSON.stringify(text.slice(0, 90));
    console.log(`\n${name}: ${reason}${detail === undefined ? '' : ` (${detail})`}\n  ${beginning(excerpt)}`);
    if (of) console.log(`  ${beginning(of.excerpt)} stays`);
  }
  console.log(`\n${report.kept.documents.toLocaleString('en')} documents in ${formatDuration(seconds)}: ${folder}`);
}
