/**
 * @file Reading a data set of the market back: the committed one, or one that `npm run lab -- data market` has made.
 */
import { join } from 'node:path';
import { LabError, messageOf } from '../../base/index.ts';
import type { TableConversation } from '../../data/index.ts';
import { projectRoot, readText } from '../../files/index.ts';
import type { TestQuestion, TrainQuestion } from './dataset.ts';
import type { MarketInstruction } from './instructions.ts';
import type { Fact } from './knowledge.ts';
import type { MarketPreference } from './preferences.ts';
import type { MarketSentiment } from './sentiment.ts';
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
  /** One company each, half of them neutral, as in the Financial PhraseBank. */
  readonly sentimentPhrases: readonly MarketSentiment[];
  /** News and posts with a target each, as in FiQA-SA. */
  readonly sentimentTargets: readonly MarketSentiment[];
  readonly conversations: readonly TableConversation[];
  readonly instructions: readonly MarketInstruction[];
  readonly preferences: readonly MarketPreference[];
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
  return {
    documents: await read<MarketDocument>('documents.jsonl'),
    general: await readText(join(folder, 'general.txt')),
    facts: await read<SeenFact>('facts.jsonl'),
    trainQuestions: await read<TrainQuestion>('questions-train.jsonl'),
    testQuestions: await read<TestQuestion>('questions-test.jsonl'),
    sentimentPhrases: await read<MarketSentiment>('sentiment-phrases.jsonl'),
    sentimentTargets: await read<MarketSentiment>('sentiment-targets.jsonl'),
    conversations: await read<TableConversation>('conversations.jsonl'),
    instructions: await read<MarketInstruction>('instructions.jsonl'),
    preferences: await read<MarketPreference>('preferences.jsonl'),
  };
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
