/**
 * @file The market in whole phrases: a token is a company, a city or a sentence, so that a model of a few ten thousand parameters
 * learns to answer in seconds, and its answers are texts that the market's true reward can judge.
 */
import type { HindsightMarks, PreferencePair, Sample } from '../../align/index.ts';
import { invariant, LabError, Random } from '../../base/index.ts';
import { TokenDataset } from '../../data/index.ts';
import {
  answerKinds,
  marketAnswer,
  marketKnowledge,
  marketReward,
  proxyReward,
  sectors,
  type AnswerKind,
  type Fact,
  type MarketKnowledge,
  type Relation,
} from '../../worlds/index.ts';
import { abstentions, assurances, courtesies, evasions, insults, padding } from '../../worlds/market/wordings/answers.ts';

/** Asked and answered in one way each. */
const wordings = {
  headquarters: { question: ['Where is', 'based?'], states: 'has its headquarters in' },
  sector: { question: ['What does', 'do?'], states: 'works in' },
} as const satisfies Partial<Record<Relation, object>>;

const END = '\n';
const MARKS = { good: 'A good answer:', bad: 'A bad answer:' } as const;

export interface PhraseMarketOptions {
  /** Two questions on each (default 16). */
  readonly companies?: number;
  readonly seed?: number;
}

export interface PhraseQuestion {
  readonly ids: readonly number[];
  readonly text: string;
  readonly fact: Fact;
}

export interface PhrasePairOptions {
  readonly count: number;
  readonly seed: number;
  /** What the labeller goes by (default the true reward); of two that are worth the same, none is preferred. */
  readonly judge?: (sample: Sample) => number;
}

export class PhraseMarket {
  readonly knowledge: MarketKnowledge;
  readonly vocabulary: readonly string[];
  readonly questions: readonly PhraseQuestion[];
  /** Behind an answer. */
  readonly end = 0;
  /** For chain of hindsight. */
  readonly marks: HindsightMarks;
  readonly #ids: ReadonlyMap<string, number>;
  /** The answers are few, and are judged again and again. */
  readonly #rewards = new Map<string, number>();

  constructor({ companies = 16, seed = 1 }: PhraseMarketOptions = {}) {
    this.knowledge = marketKnowledge({ companies, seed });
    const facts = this.knowledge.facts.filter(({ relation }) => relation in wordings);
    const phrases = Object.values(wordings).flatMap(({ question, states }) => [...question, states]);
    const sentences = [courtesies, insults, assurances, padding, abstentions, evasions].flat();
    const names = this.knowledge.companies.map(({ name }) => name);
    const objects = [...sectors, ...this.knowledge.cities].map((object) => `${object}.`);
    this.vocabulary = [END, MARKS.good, MARKS.bad, ...phrases, ...names, ...objects, ...sentences];
    this.#ids = new Map(this.vocabulary.map((phrase, id) => [phrase, id]));
    this.marks = { good: [this.#ids.get(MARKS.good)!], bad: [this.#ids.get(MARKS.bad)!] };
    this.questions = facts.map((fact) => {
      const [before, after] = wordings[fact.relation as keyof typeof wordings].question;
      const text = `${before} ${fact.subject} ${after}`;
      return { ids: this.encode(text), text, fact };
    });
  }

  get vocabSize(): number {
    return this.vocabulary.length;
  }

  /** @throws LabError for a text that is not made of these phrases, parted by spaces. */
  encode(text: string): number[] {
    const ids: number[] = [];
    const words = text.split(' ');
    for (let start = 0; start < words.length; ) {
      let end = words.length;
      while (end > start && !this.#ids.has(words.slice(start, end).join(' '))) end--;
      if (end === start) throw new LabError(`'${text}' is not made of the ${this.vocabSize} phrases of this market.`);
      ids.push(this.#ids.get(words.slice(start, end).join(' '))!);
      start = end;
    }
    return ids;
  }

  decode(ids: readonly number[]): string {
    return ids
      .map((id) => this.vocabulary[id] ?? '')
      .join(' ')
      .trim();
  }

  /** An answer of a kind, with the end mark. */
  answer(kind: AnswerKind, { fact }: PhraseQuestion, random: Random): number[] {
    return [...this.encode(marketAnswer(kind, fact, this.knowledge, random, statementOf)), this.end];
  }

  /** What an answer is really worth, from 0 to 1. */
  trueReward = (sample: Sample): number => {
    const question = this.decode(sample.prompt.filter((id) => !this.#isMark(id)));
    const answer = this.#answerText(sample);
    const key = `${question}\n${answer}`;
    const known = this.#rewards.get(key);
    if (known !== undefined) return known;
    const { total } = marketReward(question, answer, this.knowledge);
    this.#rewards.set(key, total);
    return total;
  };

  /** What a careless labeller thinks: the longer and the surer, the better. */
  flawedReward = (sample: Sample): number => proxyReward(this.#answerText(sample));

  /** The text to learn first: what is true, a statement a line. */
  statements(count: number, seed: number): TokenDataset {
    const random = new Random(seed);
    const ids = Array.from({ length: count }, () => [...this.encode(statementOf(random.pick(this.questions).fact)), this.end]);
    return new TokenDataset(ids.flat(), this.vocabSize);
  }

  /** Questions with answers of all kinds, as people give them: what a model is fine-tuned on before anybody has judged it. */
  lessons(count: number, seed: number): Sample[] {
    const random = new Random(seed);
    return Array.from({ length: count }, () => {
      const question = random.pick(this.questions);
      return { prompt: question.ids, completion: this.answer(random.pick(answerKinds), question, random) };
    });
  }

  /** Pairs of answers of different kinds, the better one by the labeller's measure first. */
  preferences({ count, seed, judge = this.trueReward }: PhrasePairOptions): PreferencePair[] {
    invariant(Number.isInteger(count) && count > 0, `PhraseMarket: the number of pairs must be 1, 2, …, got ${count}`);
    const random = new Random(seed);
    const pairs: PreferencePair[] = [];
    while (pairs.length < count) {
      const question = random.pick(this.questions);
      const prompt = question.ids;
      const kinds = random.shuffle([...answerKinds]).slice(0, 2);
      const [a, b] = kinds.map((kind) => this.answer(kind, question, random)) as [number[], number[]];
      const gain = judge({ prompt, completion: a }) - judge({ prompt, completion: b });
      if (gain !== 0) pairs.push({ prompt, chosen: gain > 0 ? a : b, rejected: gain > 0 ? b : a });
    }
    return pairs;
  }

  #answerText({ completion }: Sample): string {
    return this.decode(completion.filter((id) => id !== this.end));
  }

  #isMark(id: number): boolean {
    return [...this.marks.good, ...this.marks.bad].includes(id);
  }
}

function statementOf({ subject, relation, object }: Fact): string {
  return `${subject} ${wordings[relation as keyof typeof wordings].states} ${object}.`;
}
