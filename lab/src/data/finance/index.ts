/** @file Financial data sets in their public formats, read into the same records, and the prompts that ask about them. */
export * from './choices.ts';
export * from './convfinqa.ts';
export { type CSVRow, parseCSV } from './csv.ts';
export * from './fiqa.ts';
export * from './load-sentiment.ts';
export * from './phrase-bank.ts';
export * from './prompts.ts';
export { brokenReasons, SENTIMENTS } from './records.ts';
export type * from './records.ts';
