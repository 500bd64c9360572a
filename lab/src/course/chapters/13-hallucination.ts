/**
 * @file Chapter 13, hallucination: its exercises, and the library's functions under their contracts.
 */
import { collisionProbability, gopherDefaults, gopherMeasures, planMixture } from '../../data/index.ts';
import { factualTopP, nextTokenDistribution } from '../../model/index.ts';
import type { Chapter } from '../exercise.ts';

interface Statement {
  readonly subject: string;
  readonly relation: string;
  readonly object: string;
  readonly period?: string;
}

/** The library's own, `judgeStatement`, knows its world's relations; here the rules are given. */
function judgeFact(
  { subject, relation, object, period }: Statement,
  facts: readonly Statement[],
  rules: { readonly many: readonly string[]; readonly exclusive: readonly string[] },
): string {
  const same = facts.filter((fact) => fact.relation === relation);
  const own = same.filter((fact) => fact.subject === subject && fact.period === period);
  if (own.some((fact) => fact.object === object)) return 'supported';
  if (own.length > 0 && !rules.many.includes(relation)) return 'contradicted';
  const isTaken = rules.exclusive.includes(relation) && same.some((fact) => fact.object === object);
  return isTaken ? 'contradicted' : 'unsupported';
}

/** As `tallyFacts` counts. */
function atomicPrecision(texts: readonly (readonly string[])[]): { supported: number; contradicted: number } {
  const stated = texts.flat().filter((verdict) => verdict !== 'abstained');
  const share = (wanted: string): number => stated.filter((verdict) => verdict === wanted).length / stated.length;
  return { supported: share('supported'), contradicted: share('contradicted') };
}

/** As `entityRatio` of two texts does, once their entities are found. */
function ratioOfEntities(entities: readonly string[], known: readonly string[]): number {
  const different = [...new Set(entities)];
  const isPart = (entity: string): boolean => known.some((name) => ` ${name} `.includes(` ${entity} `));
  return different.filter((entity) => !isPart(entity)).length / different.length;
}

/** `MinHash` draws its own functions; here they are given. */
function signature(shingles: readonly number[], hashes: readonly ((shingle: number) => number)[]): number[] {
  return hashes.map((hash) => shingles.reduce((least, shingle) => Math.min(least, hash(shingle)), Infinity));
}

const foundProbability = (s: number, bands: number, rows: number): number => collisionProbability(s, { bands, rows });

function brokenRules(text: string): string[] {
  const { wordLength, alphabetic, stopWords } = gopherMeasures(text);
  const { minWordLength, maxWordLength, minAlphabetic, minStopWords } = gopherDefaults;
  const kept = {
    'word length': wordLength >= minWordLength && wordLength <= maxWordLength,
    letters: alphabetic >= minAlphabetic,
    'stop words': stopWords >= minStopWords,
  };
  return Object.entries(kept).flatMap(([rule, holds]) => (holds ? [] : [rule]));
}

function mixture(sources: readonly { tokens: number; weight: number }[], budget: number, maxEpochs: number): number[] {
  const named = sources.map((source, i) => ({ name: String(i), ...source }));
  return planMixture(named, budget, { maxEpochs }).map(({ trained }) => trained);
}

function factualNucleusStep(
  probabilities: readonly number[],
  place: number,
  options: { readonly topP: number; readonly decay: number; readonly floor: number },
): number[] {
  const logits = Float32Array.from(probabilities, Math.log);
  return Array.from(nextTokenDistribution(logits, { topP: factualTopP(place, options) }));
}

export const chapter: Chapter = {
  number: 13,
  slug: '13-hallucination',
  title: 'hallucination',
  exercises: [
    { id: '13.1', title: 'the judge', names: ['judgeFact'], difficulty: 2, minutes: 15, library: { judgeFact } },
    { id: '13.2', title: 'atomic precision', names: ['atomicPrecision'], difficulty: 1, minutes: 10, library: { atomicPrecision } },
    {
      id: '13.3',
      title: 'names from nowhere',
      names: ['entityRatio'],
      difficulty: 2,
      minutes: 10,
      library: { entityRatio: ratioOfEntities },
    },
    {
      id: '13.4',
      title: 'MinHash',
      names: ['signature', 'foundProbability'],
      difficulty: 2,
      minutes: 15,
      library: { signature, foundProbability },
    },
    { id: '13.5', title: 'Gopher’s rules', names: ['brokenRules'], difficulty: 2, minutes: 15, library: { brokenRules } },
    { id: '13.6', title: 'a mixture', names: ['mixture'], difficulty: 3, minutes: 20, library: { mixture } },
    {
      id: '13.7',
      title: 'the factual nucleus',
      names: ['factualNucleusStep'],
      difficulty: 2,
      minutes: 15,
      library: { factualNucleusStep },
    },
  ],
};
