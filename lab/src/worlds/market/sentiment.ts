/**
 * @file Sentences with a sentiment that follows from what is true: a figure rose or fell, by how much decides how strongly it
 * is told, and how strongly it is told is the score. Shaped as FPB (a sentence, a label) and as FiQA (a target, a score).
 */
import { invariant, Random } from '../../base/index.ts';
import type { SentimentRecord } from '../../data/index.ts';
import { Weighted } from './draw.ts';
import { reportYears } from './figures.ts';
import type { Company, MarketKnowledge, YearFigures } from './knowledge.ts';
import type { Relation } from './relations.ts';
import { sayStatement } from './say.ts';
import { amountText } from './values.ts';
import {
  extents,
  falls,
  intoLoss,
  largerLoss,
  movers,
  outOfLoss,
  restingExtents,
  rises,
  smallerLoss,
  standstills,
} from './wordings/sentiment.ts';

/** A sentence of the world: who it is about, how strongly it speaks, and which facts make it true. */
export interface MarketSentiment extends SentimentRecord {
  readonly target: string;
  /** Hundredths, from −0.95 to 0.95; below −0.1 it is negative, from 0.1 on positive. */
  readonly score: number;
  readonly aspect: string;
  readonly source: 'news' | 'post';
  /** The facts' ids. */
  readonly facts: readonly string[];
}

export interface MarketSentimentOptions {
  /** How many records (default 1000). */
  readonly count?: number;
  /** Decides which (default 1). */
  readonly seed?: number;
  /**
   * 'phrase bank': news about one company, about half of it neutral (as FPB's is); 'fiqa' (default): news and posts, some about
   * two companies with a record for each.
   */
  readonly shape?: 'phrase bank' | 'fiqa';
}

/** Whole numbers and the given seed alone decide: the same on every platform. */
export function marketSentiments(knowledge: MarketKnowledge, options: MarketSentimentOptions = {}): MarketSentiment[] {
  const { count = 1000, seed = 1, shape = 'fiqa' } = options;
  invariant(Number.isSafeInteger(count) && count >= 0, `marketSentiments: count must be 0, 1, …, got ${count}`);
  const source = new SentimentSource(knowledge, new Random(seed));
  const records: MarketSentiment[] = [];
  while (records.length < count) records.push(...(shape === 'fiqa' ? source.fiqa() : [source.phraseBank()]));
  return records.slice(0, count);
}

type Moving = 'revenue' | 'netIncome' | 'sharePrice';

const aspects: Readonly<Record<Moving, string>> = {
  revenue: 'Corporate/Sales',
  netIncome: 'Corporate/Financial',
  sharePrice: 'Stock/Price Action',
};

/** What is told without anybody being glad or sorry. */
const neutralRelations: readonly Relation[] = ['headquarters', 'chiefExecutive', 'financeChief', 'ticker', 'sector', 'founded'];

/** A part of a sentence about one company, without its full stop. */
interface Clause {
  readonly text: string;
  /** Hundredths. */
  readonly strength: number;
  readonly aspect: string;
  readonly facts: readonly string[];
}

class SentimentSource {
  readonly #knowledge: MarketKnowledge;
  readonly #random: Random;
  readonly #companies: Weighted<Company>;

  constructor(knowledge: MarketKnowledge, random: Random) {
    this.#knowledge = knowledge;
    this.#random = random;
    this.#companies = new Weighted(knowledge.companies, ({ weight }) => weight);
  }

  phraseBank(): MarketSentiment {
    const company = this.#companies.draw(this.#random);
    const isNeutral = this.#random.integer(2) === 0;
    return isNeutral ? this.#neutral(company) : this.#told(company, this.#movement(company, company.name, this.#year()));
  }

  fiqa(): readonly MarketSentiment[] {
    const company = this.#companies.draw(this.#random);
    const way = this.#random.integer(8);
    if (way === 0) return [this.#neutral(company)];
    if (way <= 2) return [this.#post(company)];
    if (way <= 4) return this.#comparison(company);
    return [this.#told(company, this.#movement(company, company.name, this.#year()))];
  }

  #neutral(company: Company): MarketSentiment {
    const [fact] = this.#knowledge.lookup(company.name, this.#random.pick(neutralRelations));
    const sentence = sayStatement(fact!, this.#knowledge, this.#random);
    const target = sentence.includes(company.name) ? company.name : company.short;
    return record(sentence, target, { strength: 0, aspect: 'Corporate/Profile', facts: [fact!.id] }, 'news');
  }

  #told({ name }: Company, clause: Clause): MarketSentiment {
    return record(`${clause.text}.`, name, clause, 'news');
  }

  #post(company: Company): MarketSentiment {
    const ticker = `$${company.ticker}`;
    const clause = this.#movement(company, ticker, this.#year());
    const isStrong = Math.abs(clause.strength) >= 55;
    return record(`${clause.text}${isStrong ? '!' : ''}`, ticker, clause, 'post');
  }

  #comparison(company: Company): readonly MarketSentiment[] {
    const others = this.#knowledge.companies.filter((other) => other !== company);
    const other = this.#random.pick(others);
    const year = this.#year();
    const [first, second] = [this.#movement(company, company.name, year), this.#movement(other, other.name, year)];
    const said = /^(?:Revenue|Net|The|Earnings|Shares|Stock|After) /.test(second.text)
      ? second.text.charAt(0).toLowerCase() + second.text.slice(1)
      : second.text;
    const sentence = `${first.text}, while ${said}.`;
    return [record(sentence, company.name, first, 'news'), record(sentence, other.name, second, 'news')];
  }

  /** One that has a year before it. */
  #year(): number {
    return this.#random.pick(reportYears.slice(1));
  }

  /** A figure of a year beside the year before. */
  #movement(company: Company, name: string, ofYear: number): Clause {
    const moving = this.#random.pick(Object.keys(movers) as Moving[]);
    const [before, after] = [ofYear - 1, ofYear].map((year) => company.figures.find((one) => one.year === year)!) as [
      YearFigures,
      YearFigures,
    ];
    const facts = [before, after].map(({ year }) => this.#knowledge.lookup(company.name, moving, String(year))[0]!.id);
    const [text, strength] = this.#tell(moving, name, before, after);
    return { text, strength, aspect: aspects[moving], facts };
  }

  #tell(moving: Moving, name: string, before: YearFigures, after: YearFigures): readonly [text: string, strength: number] {
    const [old, now] = [before[moving], after[moving]];
    const fill = (template: string): string => this.#fill(template, moving, name, old, now, after.year);
    if (old > 0 && now > 0) {
      const strength = strengthOf(perMille(old, now));
      const size = Math.abs(strength);
      const what = this.#random.pick(movers[moving]);
      if (size < 10) return [fill(`${what} ${this.#random.pick(standstills)}${this.#random.pick(restingExtents)}`), strength];
      const verbs = (strength > 0 ? rises : falls)[size < 30 ? 0 : size < 55 ? 1 : 2];
      return [fill(`${what} ${this.#random.pick(verbs)}${this.#random.pick(extents)}`), strength];
    }
    if (old > 0) return [fill(this.#random.pick(intoLoss)), -70];
    if (now > 0) return [fill(this.#random.pick(outOfLoss)), 70];
    return now > old ? [fill(this.#random.pick(smallerLoss)), 30] : [fill(this.#random.pick(largerLoss)), -45];
  }

  #fill(template: string, moving: Moving, name: string, old: number, now: number, year: number): string {
    const kind = moving === 'sharePrice' ? 'price' : 'money';
    const slots: Readonly<Record<string, string>> = {
      company: name,
      of: name.endsWith('s') ? `${name}'` : `${name}'s`,
      year: String(year),
      share: amountText('percent', old === 0 ? 0 : Math.abs(perMille(old, now))),
      after: amountText(kind, Math.abs(now)),
      before: amountText(kind, Math.abs(old)),
    };
    return template.replace(/\{(\w+)\}/g, (_, slot: string) => slots[slot]!);
  }
}

/** The change in tenths of a percent, rounded as the facts are: a division of whole numbers is the same everywhere. */
function perMille(old: number, now: number): number {
  return Math.round((1000 * (now - old)) / old);
}

/** @param change tenths of a percent; up to 1.5 percent is as good as nothing */
function strengthOf(change: number): number {
  const size = Math.abs(change);
  const strength = size <= 15 ? Math.trunc(size / 2) : Math.min(95, 12 + Math.trunc((size - 15) / 3));
  return change < 0 ? -strength : strength;
}

function record(
  sentence: string,
  target: string,
  { strength, aspect, facts }: Omit<Clause, 'text'>,
  source: 'news' | 'post',
): MarketSentiment {
  const label = strength >= 10 ? 'positive' : strength < -10 ? 'negative' : 'neutral';
  // Zero has no sign here, so that it is written as 0.
  return { sentence, label, target, score: strength === 0 ? 0 : strength / 100, aspect, source, facts };
}
