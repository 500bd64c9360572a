/**
 * @file Atomic facts: what a text states, one small statement at a time, each held against what is known. After FActScore
 * (Min et al. 2023), whose facts a language model takes apart and a search engine judges; here a grammar reads them and a
 * knowledge base knows them all.
 */
import { abstains, judgeStatement, readMarket, type Fact, type MarketKnowledge, type ReadStatement } from '../../worlds/index.ts';

/** supported: it is a fact; contradicted: a fact rules it out; unsupported: nothing is known that would decide it. */
export type FactVerdict = 'supported' | 'contradicted' | 'unsupported';

export interface AtomicFact extends ReadStatement {
  readonly verdict: FactVerdict;
  /** The fact that it is, or the one that rules it out. */
  readonly fact?: Fact;
  /** Its sentence: the characters from `start` up to and without `end` of the text. */
  readonly start: number;
  readonly end: number;
}

/** What one text says. */
export interface JudgedText {
  readonly facts: readonly AtomicFact[];
  /** Sentences that say that something is not known. */
  readonly abstained: number;
  readonly sentences: number;
  /** Sentences that the grammar can read, abstentions included. */
  readonly readable: number;
}

export interface AtomicFactsOptions {
  /** What stands before the text: it is read, so that pronouns and answers are understood, and not judged. */
  readonly prompt?: string;
  /** The text was cut off somewhere: a last sentence without an end is left out (default false). */
  readonly cutOff?: boolean;
}

/**
 * Takes a text apart and judges each statement.
 *
 * @param text what a model wrote, without its prompt
 */
export function atomicFacts(text: string, knowledge: MarketKnowledge, options: AtomicFactsOptions = {}): JudgedText {
  const { prompt = '', cutOff = false } = options;
  const whole = prompt + text;
  const read = readMarket(whole, knowledge).filter(({ end }) => end > prompt.length);
  const last = read.at(-1);
  const unfinished = cutOff && last !== undefined && !/[.!?]$/.test(last.text) && !whole.slice(last.end).includes('\n');
  const sentences = unfinished ? read.slice(0, -1) : read;
  const facts: AtomicFact[] = [];
  let abstained = 0;
  for (const { text: said, start, end, statements } of sentences) {
    if (abstains(said)) {
      abstained++;
      continue;
    }
    const place = { start: Math.max(0, start - prompt.length), end: end - prompt.length };
    for (const statement of statements) facts.push({ ...judged(statement, knowledge), ...place });
  }
  const readable = sentences.filter(({ wording, text: said }) => wording !== undefined || abstains(said)).length;
  return { facts, abstained, sentences: sentences.length, readable };
}

function judged(statement: ReadStatement, knowledge: MarketKnowledge): Omit<AtomicFact, 'start' | 'end'> {
  const { verdict, ...rest } = judgeStatement(statement, knowledge);
  return { ...rest, verdict: verdict === 'correct' ? 'supported' : verdict };
}

export interface FactTally {
  readonly supported: number;
  readonly contradicted: number;
  readonly unsupported: number;
  readonly abstained: number;
  readonly sentences: number;
  readonly readable: number;
  /** Atomic precision: the share of what is stated that is supported; NaN when nothing is. */
  readonly precision: number;
  /** The share of what is stated that a fact rules out; NaN when nothing is stated. */
  readonly contradictedShare: number;
}

/** The verdicts on many texts, counted. */
export function tallyFacts(texts: readonly JudgedText[]): FactTally {
  const all = texts.flatMap(({ facts }) => facts);
  const count = (verdict: FactVerdict): number => all.filter((fact) => fact.verdict === verdict).length;
  const sum = (of: (text: JudgedText) => number): number => texts.reduce((total, text) => total + of(text), 0);
  const [supported, contradicted, unsupported] = [count('supported'), count('contradicted'), count('unsupported')];
  return {
    supported,
    contradicted,
    unsupported,
    abstained: sum(({ abstained }) => abstained),
    sentences: sum(({ sentences }) => sentences),
    readable: sum(({ readable }) => readable),
    precision: supported / all.length,
    contradictedShare: contradicted / all.length,
  };
}
