/**
 * @file Sentences with sentiments from a file of either data set.
 */
import { extname } from 'node:path';
import { loadFiQA } from './fiqa.ts';
import { loadPhraseBank } from './phrase-bank.ts';
import type { ReadRecordsOptions, RecordsRead, SentimentRecord } from './records.ts';

/** FiQA's forms end in .json, .jsonl or .csv; any other file is read as FPB. */
export function loadSentiments(path: string, options?: ReadRecordsOptions): Promise<RecordsRead<SentimentRecord>> {
  const isFiQA = ['.json', '.jsonl', '.csv'].includes(extname(path).toLowerCase());
  return isFiQA ? loadFiQA(path, options) : loadPhraseBank(path, options);
}
