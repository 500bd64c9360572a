/**
 * @file The Financial PhraseBank (Malo et al. 2014): sentences of news with the sentiment of an investor, one a line,
 * `sentence@label` in ISO 8859-1. Sentences may hold an @ themselves: the last one counts.
 */
import { checkCharacters, decodeLatinOrUtf8, readBytes } from './decode.ts';
import {
  collectRecords,
  type ReadRecordsOptions,
  RecordError,
  type RecordsRead,
  type Sentiment,
  type SentimentRecord,
  SENTIMENTS,
} from './records.ts';

/** @throws LabError when the file is missing, holds no records, or a broken one that is not to be skipped. */
export async function loadPhraseBank(path: string, options?: ReadRecordsOptions): Promise<RecordsRead<SentimentRecord>> {
  return parsePhraseBank(await readBytes(path), path, options);
}

/** @param name of the file, for errors */
export function parsePhraseBank(bytes: Uint8Array, name: string, options?: ReadRecordsOptions): RecordsRead<SentimentRecord> {
  const lines = decodeLatinOrUtf8(bytes).split(/\r\n|\n|\r/);
  const entries = lines.map((line, i) => [`line ${i + 1}`, line] as const).filter(([, line]) => line.trim() !== '');
  return collectRecords(name, entries, (line) => [phraseBankRecord(line)], options);
}

function phraseBankRecord(line: string): SentimentRecord {
  checkCharacters(line);
  const at = line.lastIndexOf('@');
  if (at < 0) throw new RecordError('there is no @ between a sentence and its label');
  const [sentence, label] = [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  if (sentence === '') throw new RecordError('there is no sentence before the @');
  if (!isSentiment(label)) throw new RecordError(`the label is ${JSON.stringify(label)}, not ${SENTIMENTS.join(', ')}`);
  return { sentence, label };
}

/** A line of the file, without its end. */
export function phraseBankLine({ sentence, label }: SentimentRecord): string {
  return `${sentence}@${label}`;
}

export function isSentiment(label: unknown): label is Sentiment {
  return (SENTIMENTS as readonly unknown[]).includes(label);
}
