/**
 * @file The market's data set, file by file and line by line, in two sizes: nothing larger than the world itself is held in
 * memory. `datasets/market` is the small one.
 */
import { Random } from '../../base/index.ts';
import { marketConversations } from './conversations.ts';
import { generalText } from './general.ts';
import { marketInstructions } from './instructions.ts';
import type { Fact, MarketKnowledge } from './knowledge.ts';
import { marketKnowledge } from './make-knowledge.ts';
import { marketPreferences } from './preferences.ts';
import { askFor, choiceFor, type ChoiceQuestion, type MarketQuestion } from './questions.ts';
import { marketSentiments } from './sentiment.ts';
import { askedInTraining } from './split.ts';
import { marketDocuments } from './stream.ts';

export interface MarketSize {
  readonly companies: number;
  /** Bytes of `documents.jsonl`, at most. */
  readonly documents: number;
  /** Bytes of `general.txt`, at most. */
  readonly general: number;
  /** How many sentences with a sentiment of each shape, conversations over tables, instructions, and pairs of answers. */
  readonly records: MarketRecordCounts;
}

export interface MarketRecordCounts {
  readonly sentiments: number;
  readonly conversations: number;
  readonly instructions: number;
  readonly preferences: number;
}

export const marketSizes = {
  /** 5 MB at most: committed. */
  small: {
    companies: 60,
    documents: 2_450_000,
    general: 250_000,
    records: { sentiments: 200, conversations: 100, instructions: 500, preferences: 300 },
  },
  /** About 100 MB: made on demand. */
  large: {
    companies: 400,
    documents: 82_000_000,
    general: 5_000_000,
    records: { sentiments: 4000, conversations: 2000, instructions: 10_000, preferences: 6000 },
  },
} as const satisfies Readonly<Record<string, MarketSize>>;

export type MarketSizeName = keyof typeof marketSizes;

/** A line of `questions-train.jsonl`; those of `questions-test.jsonl` have choices, too. */
export interface TrainQuestion extends MarketQuestion {
  /** In how many sentences of clean documents the fact is stated. */
  readonly seen: number;
}

export interface TestQuestion extends ChoiceQuestion {
  readonly seen: number;
  /** Whether the training questions ask for this fact, in other words. */
  readonly asked: boolean;
}

/** A file of the data set; the lines end with their newline. Reading them once is enough, and must be done in order. */
export interface MarketFile {
  readonly name: string;
  /** How long it will be, at most, where that is decided before. */
  readonly bytes?: number;
  readonly lines: () => Iterable<string>;
}

/** The seeds of the parts follow from the one that is given, so that no part depends on how another is made. */
const seedsOf = (seed: number) => ({
  documents: seed,
  general: seed + 1000,
  train: seed + 2000,
  test: seed + 3000,
  phrases: seed + 4000,
  targets: seed + 5000,
  conversations: seed + 6000,
  instructions: seed + 7000,
  preferences: seed + 8000,
});

/**
 * The files of a data set, to be read in this order: facts and questions say how often the documents stated them.
 *
 * @param seed decides everything; the same on every platform
 */
export function marketFiles(size: MarketSize, seed = 1): readonly MarketFile[] {
  const knowledge = marketKnowledge({ companies: size.companies, seed });
  const { records } = size;
  const seeds = seedsOf(seed);
  const seen = new Map<string, number>();
  const seenOf = (fact: Fact): number => seen.get(fact.id) ?? 0;
  return [
    {
      name: 'documents.jsonl',
      bytes: size.documents,
      lines: () => documentLines(knowledge, seeds.documents, size.documents, seen),
    },
    { name: 'general.txt', bytes: size.general, lines: () => upTo(size.general, generalText(seeds.general)) },
    { name: 'companies.jsonl', lines: () => knowledge.companies.map(line) },
    { name: 'people.jsonl', lines: () => knowledge.people.map(line) },
    { name: 'facts.jsonl', lines: () => seenFacts(knowledge, seenOf) },
    { name: 'questions-train.jsonl', lines: () => trainQuestions(knowledge, seeds.train, seenOf) },
    { name: 'questions-test.jsonl', lines: () => testQuestions(knowledge, seeds.test, seenOf) },
    ...recordFiles(knowledge, records, seeds),
  ];
}

/** The files of records that are not documents: each is made by a generator of its own. */
function recordFiles(knowledge: MarketKnowledge, counts: MarketRecordCounts, seeds: ReturnType<typeof seedsOf>): MarketFile[] {
  const { sentiments, conversations, instructions, preferences } = counts;
  const makers: Readonly<Record<string, () => readonly object[]>> = {
    'sentiment-phrases': () => marketSentiments(knowledge, { count: sentiments, seed: seeds.phrases, shape: 'phrase bank' }),
    'sentiment-targets': () => marketSentiments(knowledge, { count: sentiments, seed: seeds.targets, shape: 'fiqa' }),
    conversations: () => marketConversations(knowledge, { count: conversations, seed: seeds.conversations }),
    instructions: () => marketInstructions(knowledge, { count: instructions, seed: seeds.instructions }),
    preferences: () => marketPreferences(knowledge, { count: preferences, seed: seeds.preferences }),
  };
  return Object.entries(makers).map(([name, make]) => ({ name: `${name}.jsonl`, lines: () => make().map(line) }));
}

/** The facts that a clean document states; the others follow from the companies and the people. */
function* seenFacts(knowledge: MarketKnowledge, seenOf: (fact: Fact) => number): Generator<string> {
  for (const fact of knowledge.facts) {
    const seen = seenOf(fact);
    if (seen > 0) yield line({ ...fact, seen });
  }
}

function line(record: object): string {
  return `${JSON.stringify(record)}\n`;
}

/** As many of the texts as fit into so many bytes. */
function* upTo(bytes: number, texts: Iterable<string>): Generator<string> {
  let left = bytes;
  for (const text of texts) {
    left -= Buffer.byteLength(text);
    if (left < 0) return;
    yield text;
  }
}

function* documentLines(
  knowledge: MarketKnowledge,
  seed: number,
  bytes: number,
  seen: Map<string, number>,
): Generator<string> {
  let left = bytes;
  for (const document of marketDocuments({ knowledge, seed })) {
    const written = line(document);
    left -= Buffer.byteLength(written);
    if (left < 0) return;
    if (document.grade === 'clean') for (const { fact } of document.facts) seen.set(fact, (seen.get(fact) ?? 0) + 1);
    yield written;
  }
}

/** One question on each fact of the half that is asked in training. */
function* trainQuestions(knowledge: MarketKnowledge, seed: number, seenOf: (fact: Fact) => number): Generator<string> {
  const random = new Random(seed);
  const isAsked = askedInTraining(knowledge);
  for (const fact of knowledge.facts.filter(isAsked)) {
    const question: TrainQuestion = { ...askFor(fact, knowledge, 'train', random), seen: seenOf(fact) };
    yield line(question);
  }
}

/** One question, in other words, on each fact that a clean document states. */
function* testQuestions(knowledge: MarketKnowledge, seed: number, seenOf: (fact: Fact) => number): Generator<string> {
  const random = new Random(seed);
  const isAsked = askedInTraining(knowledge);
  for (const fact of knowledge.facts) {
    const seen = seenOf(fact);
    if (seen === 0) continue;
    const question: TestQuestion = { ...choiceFor(fact, knowledge, 'held out', random), seen, asked: isAsked(fact) };
    yield line(question);
  }
}
