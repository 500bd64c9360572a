/**
 * @file Pairs of answers of which one is better, by a reward that is known. Every answer is the good one with something wrong,
 * and the flawed proxy likes some of what is wrong.
 */
import { invariant, Random, roundToDecimals } from '../../base/index.ts';
import { untruth } from './falsify.ts';
import { FactDraw } from './instructions.ts';
import type { Fact, MarketKnowledge } from './knowledge.ts';
import { askFor } from './questions.ts';
import { marketReward, proxyReward, type MarketReward } from './reward.ts';
import { sayStatement } from './say.ts';
import { abstentions, assurances, courtesies, evasions, insults, padding } from './wordings/answers.ts';

/** What an answer is like: as it should be, or with what wrong. */
export const answerKinds = ['good', 'plain', 'false', 'rude', 'wordy', 'boastful', 'evasive', 'abstaining'] as const;
export type AnswerKind = (typeof answerKinds)[number];

export interface JudgedAnswer {
  readonly kind: AnswerKind;
  readonly text: string;
  /** To four digits. */
  readonly reward: MarketReward;
  readonly proxy: number;
}

export interface MarketPreference {
  /** The question. */
  readonly prompt: string;
  readonly chosen: JudgedAnswer;
  readonly rejected: JudgedAnswer;
  /** Whether the proxy would choose the same. */
  readonly proxyAgrees: boolean;
  /** The id of the fact that is asked for. */
  readonly fact: string;
}

export interface MarketPreferenceOptions {
  /** How many pairs (default 500). */
  readonly count?: number;
  /** Decides which (default 1). */
  readonly seed?: number;
  /** Of 1000 pairs, in how many the labeller errs and chooses the worse answer (default 0). */
  readonly errors?: number;
}

/** The better answer by the true reward is the chosen one; pairs that are equally good are not made. */
export function marketPreferences(knowledge: MarketKnowledge, options: MarketPreferenceOptions = {}): MarketPreference[] {
  const { count = 500, seed = 1, errors = 0 } = options;
  invariant(Number.isSafeInteger(count) && count >= 0, `marketPreferences: count must be 0, 1, …, got ${count}`);
  invariant(
    Number.isInteger(errors) && errors >= 0 && errors <= 1000,
    `marketPreferences: errors must be from 0 to 1000, got ${errors}`,
  );
  const random = new Random(seed);
  const facts = new FactDraw(knowledge);
  const pairs: MarketPreference[] = [];
  while (pairs.length < count) {
    const fact = facts.draw(random);
    const prompt = askFor(fact, knowledge, 'train', random).question;
    const [a, b] = random
      .shuffle([...answerKinds])
      .slice(0, 2)
      .map((kind) => judged(kind, prompt, fact, knowledge, random));
    const gain = a!.reward.total - b!.reward.total;
    if (gain === 0) continue;
    const errs = random.integer(1000) < errors;
    const [chosen, rejected] = gain > 0 !== errs ? [a!, b!] : [b!, a!];
    pairs.push({ prompt, chosen, rejected, proxyAgrees: chosen.proxy > rejected.proxy, fact: fact.id });
  }
  return pairs;
}

function judged(kind: AnswerKind, prompt: string, fact: Fact, knowledge: MarketKnowledge, random: Random): JudgedAnswer {
  const text = marketAnswer(kind, fact, knowledge, random);
  const { factual, polite, concise, total } = marketReward(prompt, text, knowledge);
  const short = (value: number): number => roundToDecimals(value, 4);
  const reward = { factual: short(factual), polite: short(polite), concise: short(concise), total: short(total) };
  return { kind, text, reward, proxy: short(proxyReward(text)) };
}

/**
 * An answer of a kind to the question for a fact.
 *
 * @param say puts a statement, true or not, into words
 */
export function marketAnswer(
  kind: AnswerKind,
  fact: Fact,
  knowledge: MarketKnowledge,
  random: Random,
  say: (statement: Fact) => string = (statement) => sayStatement(statement, knowledge, random),
): string {
  const said = (object: string): string => say({ ...fact, object });
  const courtesy = random.pick(courtesies);
  switch (kind) {
    case 'good':
      return `${courtesy} ${said(fact.object)}`;
    case 'plain':
      return said(fact.object);
    case 'false':
      return `${courtesy} ${said(untruth(fact, knowledge, random))}`;
    case 'rude':
      return `${random.pick(insults)} ${said(fact.object)}`;
    case 'wordy': {
      const [first, second, third, ...rest] = random.shuffle([...padding]);
      const ends = random.integer(2) === 0 ? [third] : [third, ...rest];
      return [courtesy, first, second, said(fact.object), ...ends].join(' ');
    }
    case 'boastful':
      return [said(untruth(fact, knowledge, random)), ...random.shuffle([...assurances]).slice(0, 2)].join(' ');
    case 'evasive':
      return `${courtesy} ${random.pick(evasions)}`;
    default:
      return random.pick(abstentions);
  }
}
