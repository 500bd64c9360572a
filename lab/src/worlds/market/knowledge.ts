/**
 * @file The knowledge base of the market world: companies, people, products, what is true of them, and how to look it up.
 */
import { relationInfo, type Relation } from './relations.ts';

/** Something that is true. Names stand for those who have them: no two in a world share one. */
export interface Fact {
  /** Stable: the subject's key, the relation, the period, and the object where there can be several. `VLDR/revenue/2021`. */
  readonly id: string;
  /** A company's, person's or product's name. */
  readonly subject: string;
  readonly relation: Relation;
  /** In its canonical text: a name, `1987`, `March 2021`, `$1,240 million`, `5,200`, `-4.3%`, `$34.20`. */
  readonly object: string;
  /** `2021`, or `2021 Q3`. */
  readonly period?: string;
  /** The object as a whole number: millions of dollars, tenths of a percent, cents, people, a year. */
  readonly amount?: number;
}

/** What somebody says, true or not. */
export type Statement = Pick<Fact, 'subject' | 'relation' | 'object' | 'period'>;

export interface QuarterFigures {
  /** `2021 Q3` */
  readonly period: string;
  /** Millions of dollars; the four quarters of a year add up to it. */
  readonly revenue: number;
  readonly netIncome: number;
}

export interface YearFigures {
  readonly year: number;
  /** Millions of dollars. */
  readonly revenue: number;
  /** Millions of dollars; a loss is negative. */
  readonly netIncome: number;
  readonly employees: number;
  /** Cents, at the end of the year. */
  readonly sharePrice: number;
  /** Tenths of a percent; undefined in the first year. */
  readonly revenueGrowth: number | undefined;
  /** Tenths of a percent: net income by revenue. */
  readonly netMargin: number;
  readonly quarters: readonly QuarterFigures[];
}

export interface Acquisition {
  /** The name of a firm that is not listed. */
  readonly firm: string;
  readonly year: number;
}

export interface Product {
  readonly name: string;
  /** The name of the company. */
  readonly maker: string;
  /** `March 2021` */
  readonly launched: string;
}

export interface Company {
  /** `Valdora Systems` */
  readonly name: string;
  /** `Valdora` */
  readonly short: string;
  readonly ticker: string;
  readonly sector: string;
  readonly headquarters: string;
  readonly founded: number;
  /** Names of people. */
  readonly founder: string;
  readonly chiefExecutive: string;
  readonly ledSince: number;
  readonly financeChief: string;
  readonly products: readonly Product[];
  /** Names of companies. */
  readonly competitors: readonly string[];
  readonly suppliers: readonly string[];
  readonly acquisitions: readonly Acquisition[];
  readonly figures: readonly YearFigures[];
  /** How often it is written about: falls as 1 / (rank + 2), ranks from 1 (Zipf, shifted as Mandelbrot does); whole numbers. */
  readonly weight: number;
}

export interface Person {
  readonly name: string;
  readonly woman: boolean;
  readonly birthYear: number;
  readonly birthplace: string;
  readonly studied: string;
}

export interface KnowledgeOptions {
  /** How many companies (default 60); there are names for some 1,700. */
  readonly companies?: number;
  /** Decides the world; the same on every platform (default 1). */
  readonly seed?: number;
}

/** Everybody and everything in a world; the most mentioned companies first. */
export interface Population {
  readonly companies: readonly Company[];
  readonly people: readonly Person[];
  readonly cities: readonly string[];
}

/** What is true, ready to be looked up. */
export class MarketKnowledge {
  readonly seed: number;
  readonly companies: readonly Company[];
  readonly people: readonly Person[];
  readonly products: readonly Product[];
  readonly cities: readonly string[];
  readonly facts: readonly Fact[];
  readonly #byId: ReadonlyMap<string, Fact>;
  readonly #bySlot = new Map<string, Fact[]>();
  readonly #owned = new Map<string, Fact>();
  readonly #companies = new Map<string, Company>();
  readonly #people: ReadonlyMap<string, Person>;
  readonly #products: ReadonlyMap<string, Product>;

  constructor(seed: number, { companies, people, cities }: Population, facts: readonly Fact[]) {
    this.seed = seed;
    this.companies = companies;
    this.people = people;
    this.cities = cities;
    this.products = companies.flatMap(({ products }) => products);
    this.facts = facts;
    this.#byId = new Map(facts.map((fact) => [fact.id, fact]));
    this.#people = new Map(people.map((person) => [person.name, person]));
    this.#products = new Map(this.products.map((product) => [product.name, product]));
    for (const company of companies) {
      for (const name of [company.name, company.short, `$${company.ticker}`]) this.#companies.set(name, company);
    }
    for (const fact of facts) {
      const slot = slotOf(fact.subject, fact.relation, fact.period);
      const known = this.#bySlot.get(slot);
      if (known) known.push(fact);
      else this.#bySlot.set(slot, [fact]);
      if (relationInfo(fact.relation).exclusive) this.#owned.set(`${fact.relation}|${fact.object}`, fact);
    }
  }

  /** A company by its name, its short name, or its ticker behind a dollar sign. */
  company(name: string): Company | undefined {
    return this.#companies.get(name);
  }

  person(name: string): Person | undefined {
    return this.#people.get(name);
  }

  product(name: string): Product | undefined {
    return this.#products.get(name);
  }

  fact(id: string): Fact | undefined {
    return this.#byId.get(id);
  }

  /** What is true of a subject: none, one, or several where a relation allows several. */
  lookup(subject: string, relation: Relation, period?: string): readonly Fact[] {
    return this.#bySlot.get(slotOf(subject, relation, period)) ?? [];
  }

  /** The only fact that there can be with this value of an exclusive relation. */
  ownerFact(relation: Relation, object: string): Fact | undefined {
    return this.#owned.get(`${relation}|${object}`);
  }
}

function slotOf(subject: string, relation: Relation, period: string | undefined): string {
  return `${subject}|${relation}|${period ?? ''}`;
}
