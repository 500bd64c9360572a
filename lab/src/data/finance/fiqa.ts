/**
 * @file FiQA 2018, task 1 (Maia et al. 2018): headlines and posts with a target, a sentiment score from −1 to 1 and an aspect.
 *
 * Its public forms: the challenge's own JSON, `{ "7": { "sentence": …, "info": [{ "target", "sentiment_score", … }] } }`, a
 * record for each target; and the copies on the Hugging Face hub, CSV or a list or lines of JSON with the columns `sentence`,
 * `target`, `sentiment_score` or `score`, `aspects` or `aspect`, `format` or `type`.
 */
import { parseCSV } from './csv.ts';
import { checkCharacters, decodeLatinOrUtf8, readBytes } from './decode.ts';
import { type Entry, isEntry, parseJSON, textField } from './fields.ts';
import {
  collectRecords,
  type ReadRecordsOptions,
  RecordError,
  type RecordsRead,
  type Sentiment,
  type SentimentRecord,
} from './records.ts';

export interface FiQAOptions extends ReadRecordsOptions {
  /** Scores below the first are negative, from the second on positive (default −0.1 and 0.1, as FinGPT cuts them). */
  readonly cuts?: readonly [negative: number, positive: number];
}

/** @throws LabError when the file is missing, in none of the forms, empty, or has a broken record that is not to be skipped. */
export async function loadFiQA(path: string, options?: FiQAOptions): Promise<RecordsRead<SentimentRecord>> {
  return parseFiQA(await readBytes(path), path, options);
}

/** @param name of the file, for errors; one with `post` in it holds posts where the file does not say */
export function parseFiQA(bytes: Uint8Array, name: string, options: FiQAOptions = {}): RecordsRead<SentimentRecord> {
  const text = decodeLatinOrUtf8(bytes);
  const posts = /post[^\\/]*$/i.test(name);
  const entries = /^\s*[[{]/.test(text) ? fromJSON(text, name) : fromCSV(text, name);
  return collectRecords(name, entries, (entry) => fiqaRecords(entry, posts, options.cuts), options);
}

/** The label of a score. */
export function fiqaLabel(score: number, [negative, positive]: readonly [number, number] = [-0.1, 0.1]): Sentiment {
  if (score < negative) return 'negative';
  return score >= positive ? 'positive' : 'neutral';
}

type Places = (readonly [place: string, entry: unknown])[];

function fromJSON(text: string, name: string): Places {
  const lines = text.trim().split(/\r?\n/);
  // Lines of JSON: the first is whole by itself, and another follows.
  if (lines.length > 1 && /^\{.*\}$/.test(lines[0]!.trim())) {
    const filled = lines.map((line, i) => [`line ${i + 1}`, line] as const).filter(([, line]) => line.trim() !== '');
    return filled.map(([place, line]) => [place, parsedLine(line)]);
  }
  const whole = parseJSON(text, name);
  if (Array.isArray(whole)) return whole.map((entry: unknown, i) => [`entry ${i + 1}`, entry]);
  if (isEntry(whole) && typeof whole['sentence'] === 'string') return [['entry 1', whole]];
  return Object.entries(whole as Entry).map(([id, entry]) => [`entry ${JSON.stringify(id)}`, entry]);
}

/** undefined when it is no JSON: this line alone is broken. */
function parsedLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function fromCSV(text: string, name: string): Places {
  const [header, ...rows] = parseCSV(text, name);
  return rows.map(({ line, cells }) => {
    const named = (header?.cells ?? []).map((column, i) => [column.trim(), cells[i]] as const);
    return [`line ${line}`, Object.fromEntries(named)];
  });
}

function fiqaRecords(entry: unknown, posts: boolean, cuts: FiQAOptions['cuts']): SentimentRecord[] {
  if (!isEntry(entry)) throw new RecordError(entry === undefined ? 'it is not JSON' : 'it is not an object');
  const sentence = textField(entry, 'sentence').trim();
  checkCharacters(sentence);
  const kind = entry['format'] ?? entry['type'];
  const source = kind === 'post' || (kind === undefined && posts) ? 'post' : 'news';
  const details = entry['info'];
  if (details === undefined) return [{ sentence, source, ...detailsOf(entry, cuts) }];
  if (!Array.isArray(details) || !details.every(isEntry)) throw new RecordError('"info" is not a list of objects');
  if (details.length === 0) throw new RecordError('"info" is empty');
  return details.map((one) => ({ sentence, source, ...detailsOf(one, cuts) }));
}

function detailsOf(entry: Entry, cuts: FiQAOptions['cuts']): Omit<SentimentRecord, 'sentence' | 'source'> {
  const given = entry['sentiment_score'] ?? entry['score'];
  const score = typeof given === 'string' && given.trim() !== '' ? Number(given) : given;
  if (given === undefined || given === '') throw new RecordError('"sentiment_score" is missing');
  if (typeof score !== 'number' || !(Math.abs(score) <= 1)) {
    throw new RecordError(`the score is ${JSON.stringify(given)}, not a number from −1 to 1`);
  }
  const aspect = firstOfList(entry['aspects'] ?? entry['aspect']);
  return {
    label: fiqaLabel(score, cuts),
    target: textField(entry, 'target').trim(),
    score,
    ...(aspect === undefined ? {} : { aspect }),
  };
}

/** `['Corporate/Appointment']`, a list of Python that was written as a text, or a real list, or the aspect itself. */
function firstOfList(value: unknown): string | undefined {
  const first: unknown = Array.isArray(value) ? value[0] : value;
  if (typeof first !== 'string') return undefined;
  const written = first.trim();
  if (!written.startsWith('[')) return written || undefined;
  return /^\[\s*(['"])(.+?)\1/.exec(written)?.[2];
}

/** An entry of the challenge's own form. */
export function fiqaEntry({ sentence, target, score, aspect }: SentimentRecord): object {
  const details = {
    target: target ?? '',
    sentiment_score: String(score ?? 0),
    aspects: aspect === undefined ? '[]' : `['${aspect}']`,
  };
  return { sentence, info: [{ snippets: `['${sentence}']`, ...details }] };
}
