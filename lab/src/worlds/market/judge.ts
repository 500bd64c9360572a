/**
 * @file Judging any text against what is true: which of its sentences can be read, and is what they state correct, contradicted
 * by the truth, or supported by nothing?
 */
import type { Fact, MarketKnowledge } from './knowledge.ts';
import { readMarket, type ReadSentence, type ReadStatement } from './read.ts';
import { relationInfo } from './relations.ts';

/** correct: it is a fact; contradicted: a fact rules it out; unsupported: nothing is known that would decide it. */
export type MarketVerdict = 'correct' | 'contradicted' | 'unsupported';

export interface JudgedStatement extends ReadStatement {
  readonly verdict: MarketVerdict;
  /** The fact that it is, or the one that rules it out. */
  readonly fact?: Fact;
}

export interface JudgedSentence extends Omit<ReadSentence, 'statements'> {
  readonly statements: readonly JudgedStatement[];
}

export interface MarketJudgement {
  readonly sentences: readonly JudgedSentence[];
  /** Sentences that can be read, whether they state something or not. */
  readonly parsed: number;
  /** Share of the sentences that can be read; NaN when there is none. */
  readonly parsedShare: number;
  /** Statements by verdict. */
  readonly correct: number;
  readonly contradicted: number;
  readonly unsupported: number;
  /** Share of the statements that are correct (precision of atomic facts); NaN when nothing is stated. */
  readonly precision: number;
}

/** Judges each sentence of a text. */
export function judgeMarket(text: string, knowledge: MarketKnowledge): MarketJudgement {
  const sentences = readMarket(text, knowledge).map((sentence): JudgedSentence => {
    return { ...sentence, statements: sentence.statements.map((statement) => judgeStatement(statement, knowledge)) };
  });
  const statements = sentences.flatMap((sentence) => sentence.statements);
  const count = (verdict: MarketVerdict): number => statements.filter((statement) => statement.verdict === verdict).length;
  const parsed = sentences.filter(({ wording }) => wording !== undefined).length;
  const correct = count('correct');
  return {
    sentences,
    parsed,
    parsedShare: parsed / sentences.length,
    correct,
    contradicted: count('contradicted'),
    unsupported: count('unsupported'),
    precision: correct / statements.length,
  };
}

/**
 * Compares with what is known: another value of a relation that allows only one is a contradiction, and so is a value that
 * belongs to somebody else alone.
 */
export function judgeStatement(statement: ReadStatement, knowledge: MarketKnowledge): JudgedStatement {
  const { subject, relation, object, period } = statement;
  if (subject === undefined) return { ...statement, verdict: 'unsupported' };
  const { many, exclusive } = relationInfo(relation);
  const known = knowledge.lookup(subject, relation, period);
  const same = known.find((fact) => fact.object === object);
  if (same) return { ...statement, verdict: 'correct', fact: same };
  if (!many && known.length > 0) return { ...statement, verdict: 'contradicted', fact: known[0]! };
  const owned = exclusive ? knowledge.ownerFact(relation, object) : undefined;
  return owned ? { ...statement, verdict: 'contradicted', fact: owned } : { ...statement, verdict: 'unsupported' };
}
