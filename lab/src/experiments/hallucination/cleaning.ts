/**
 * @file Cleaning a crawl with the filters of `data/quality`, all together or one kind alone, and what each took away.
 */
import {
  boilerplate,
  cleanDocuments,
  educational,
  exactDuplicates,
  gopherQuality,
  gopherRepetition,
  nearDuplicates,
  normalisation,
  QualityClassifier,
  topicPrefix,
  type QualityFilter,
} from '../../data/index.ts';
import { grades, type Grade, type MarketKnowledge } from '../../worlds/index.ts';
import { soberTexts, type CrawlDocument } from './crawl.ts';
import type { Treatment } from './settings.ts';

/** Documents by grade. */
export type GradeCounts = Readonly<Record<Grade, number>>;

export interface CleanedCrawl {
  readonly documents: readonly CrawlDocument[];
  /** What each filter removed. */
  readonly removed: Readonly<Record<string, GradeCounts>>;
}

/** This many sober texts are shown to the classifier, against as many of the crawl as there are. */
const EXAMPLES = 300;

/**
 * A classifier of textbook-like text: sober documents that the crawl does not have, against the crawl as it is. Nobody labels
 * the crawl, so that good texts are among the bad ones, too, and scores are low.
 */
export function soberClassifier(documents: readonly CrawlDocument[], knowledge: MarketKnowledge, seed: number): QualityClassifier {
  const good = soberTexts(knowledge, EXAMPLES, seed).map((text) => ({ text, good: true }));
  return QualityClassifier.train([...good, ...documents.map(({ text }) => ({ text, good: false }))], { seed });
}

/** Above this score a text is kept: the crawl's own good texts pull the scores of their like down. */
const MIN_SCORE = 0.05;

/** Bounds for documents that have twenty words, where Gopher's have fifty and more. */
const SHORT = { minWords: 8, minStopWords: 1 };

function filtersOf(treatment: Treatment, classifier: QualityClassifier): readonly QualityFilter[] {
  const duplicates = (): QualityFilter[] => [normalisation(), exactDuplicates(), nearDuplicates()];
  const rules = (): QualityFilter[] => [boilerplate(), gopherQuality(SHORT), gopherRepetition()];
  const selection = (): QualityFilter[] => [educational({ score: (text) => classifier.score(text), minScore: MIN_SCORE })];
  if (treatment === 'deduplicated') return duplicates();
  if (treatment === 'filtered') return rules();
  if (treatment === 'textbook-like') return selection();
  return treatment === 'cleaned' ? [...rules(), ...duplicates(), ...selection()] : [];
}

/** The crawl as a treatment leaves it. */
export function treatedCrawl(
  documents: readonly CrawlDocument[],
  treatment: Treatment,
  classifier: QualityClassifier,
): CleanedCrawl {
  if (treatment === 'topic prefix') {
    const prefixed = documents.map((one) => (one.topic === undefined ? one : { ...one, text: topicPrefix(one.text, one.topic) }));
    return { documents: prefixed, removed: {} };
  }
  const given = documents.map(({ text, grade, topic }, i) => {
    return { number: i + 1, id: String(i + 1), text, fields: { grade, topic } };
  });
  const { kept, removed } = cleanDocuments(given, { filters: filtersOf(treatment, classifier), quiet: true });
  const byFilter: Record<string, GradeCounts> = {};
  for (const name of new Set(removed.map(({ filter }) => filter))) {
    byFilter[name] = countGrades(removed.filter(({ filter }) => filter === name).map(({ document }) => gradeOf(document.fields)));
  }
  const left = kept.map(({ text, number }) => ({ ...documents[number - 1]!, text }));
  return { documents: left, removed: byFilter };
}

function gradeOf(fields: Readonly<Record<string, unknown>>): Grade {
  return fields['grade'] as Grade;
}

export function countGrades(of: readonly Grade[]): GradeCounts {
  return Object.fromEntries(grades.map((grade) => [grade, of.filter((one) => one === grade).length])) as Record<Grade, number>;
}
