/**
 * @file Reading a data set of the market back: the committed one, or one that `npm run lab -- data market` has made.
 */
import { join } from 'node:path';
import { LabError, messageOf } from '../../base/index.ts';
import { projectRoot, readText } from '../../files/index.ts';
import type { TestQuestion, TrainQuestion } from './dataset.ts';
import type { Fact } from './knowledge.ts';
import type { MarketDocument } from './stream.ts';

/** A fact, and in how many sentences of clean documents it is stated. */
export type SeenFact = Fact & { readonly seen: number };

export interface MarketDataset {
  readonly documents: readonly MarketDocument[];
  /** Text of which nothing is about the market. */
  readonly general: string;
  readonly facts: readonly SeenFact[];
  readonly trainQuestions: readonly TrainQuestion[];
  readonly testQuestions: readonly TestQuestion[];
}

/**
 * The whole data set in memory; of the large size that takes hundreds of megabytes.
 *
 * @param folder `datasets/market` unless told
 * @throws LabError when a file is missing, or a line of it is not a record.
 */
export async function marketDataset(folder = join(projectRoot(), 'datasets', 'market')): Promise<MarketDataset> {
  const read = async <T>(name: string): Promise<readonly T[]> => {
    const path = join(folder, name);
    return parseLines<T>(await readText(path), path);
  };
  const [documents, facts, trainQuestions, testQuestions, general] = await Promise.all([
    read<MarketDocument>('documents.jsonl'),
    read<SeenFact>('facts.jsonl'),
    read<TrainQuestion>('questions-train.jsonl'),
    read<TestQuestion>('questions-test.jsonl'),
    readText(join(folder, 'general.txt')),
  ]);
  return { documents, general, facts, trainQuestions, testQuestions };
}

function parseLines<T>(text: string, path: string): readonly T[] {
  return text.trimEnd().split('\n').map((line, i) => {
    try {
      return JSON.parse(line) as T;
    } catch (error) {
      throw new LabError(`${path}, line ${i + 1}, is not a record: ${messageOf(error)}`, { cause: error });
    }
  });
}
