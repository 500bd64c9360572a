/**
 * @file Making a market world by its seed: who there is first, then who has to do with whom, then the facts that follow.
 */
import { invariant, Random } from '../../base/index.ts';
import { yearlyFigures } from './figures.ts';
import { factsOf } from './facts.ts';
import { MarketKnowledge, type Company, type KnowledgeOptions, type Person, type Product } from './knowledge.ts';
import { companyNouns, Names } from './names.ts';
import { fields, months, sectors } from './values.ts';

/** Weights are shares of this, so that they are whole numbers. */
const weightUnit = 1_000_000;

/**
 * A world of its own, drawn with whole numbers only: the same on every platform.
 *
 * @throws RangeError when there are fewer than 4 companies, or more than there are names for.
 */
export function marketKnowledge(options: KnowledgeOptions = {}): MarketKnowledge {
  const { companies: count = 60, seed = 1 } = options;
  invariant(Number.isSafeInteger(count) && count >= 4, `marketKnowledge: 4 companies or more are wanted; got ${count}`);
  const builder = new Builder(new Random(seed), count);
  const companies = builder.companies();
  const population = { companies, people: builder.people, cities: builder.cities };
  return new MarketKnowledge(seed, population, factsOf(population));
}

class Builder {
  readonly people: Person[] = [];
  readonly cities: readonly string[];
  readonly #random: Random;
  readonly #names: Names;
  readonly #count: number;

  constructor(random: Random, count: number) {
    this.#random = random;
    this.#names = new Names(random);
    this.#count = count;
    this.cities = Array.from({ length: Math.min(200, 12 + Math.floor(count / 4)) }, () => this.#names.city());
  }

  companies(): readonly Company[] {
    const alone = Array.from({ length: this.#count }, (_, rank) => this.#company(rank));
    return alone.map((company, rank) => {
      const rivals = alone.filter(({ sector }) => sector === company.sector);
      const place = rivals.indexOf(company);
      // Neighbours in the ring of a sector, so that who competes with whom is mutual.
      const neighbours = [place + 1, place - 1 + rivals.length].map((other) => rivals[other % rivals.length]!);
      const competitors = [...new Set(neighbours)].filter((other) => other !== company);
      const others = alone.filter((other, i) => i !== rank && !competitors.includes(other));
      const suppliers = this.#random.shuffle(others).slice(0, 1 + this.#random.integer(2));
      return { ...company, competitors: namesOf(competitors), suppliers: namesOf(suppliers) };
    });
  }

  #company(rank: number): Company {
    const random = this.#random;
    const short = this.#names.company();
    const sector = sectors[rank % sectorCount(this.#count)]!;
    const name = `${short} ${random.pick(companyNouns[sector]!)}`;
    const founded = 1948 + random.integer(62);
    const ledSince = 2010 + random.integer(9);
    return {
      name,
      short,
      ticker: this.#names.ticker(short),
      sector,
      headquarters: random.pick(this.cities),
      founded,
      founder: this.#person(founded - 25 - random.integer(20)),
      chiefExecutive: this.#person(ledSince - 35 - random.integer(20)),
      ledSince,
      financeChief: this.#person(1958 + random.integer(28)),
      products: Array.from({ length: 1 + random.integer(3) }, () => this.#product(name)),
      competitors: [],
      suppliers: [],
      acquisitions: Array.from({ length: random.integer(3) }, () => {
        const firm = `${this.#names.company()} ${random.pick(['Partners', 'Brothers', 'Labs'])}`;
        return { firm, year: 2012 + random.integer(13) };
      }),
      figures: yearlyFigures(random),
      weight: Math.floor(weightUnit / (rank + 3)),
    };
  }

  #product(maker: string): Product {
    const launched = `${this.#random.pick(months)} ${2012 + this.#random.integer(13)}`;
    return { name: this.#names.product(), maker, launched };
  }

  /** @returns the name */
  #person(birthYear: number): string {
    const woman = this.#random.integer(2) === 0;
    const person: Person = {
      name: this.#names.person(woman),
      woman,
      birthYear,
      birthplace: this.#random.pick(this.cities),
      studied: this.#random.pick(fields),
    };
    this.people.push(person);
    return person.name;
  }
}

/** Few companies share few sectors: each has a rival. */
function sectorCount(companies: number): number {
  return Math.min(sectors.length, Math.floor(companies / 2));
}

function namesOf(companies: readonly Company[]): readonly string[] {
  return companies.map(({ name }) => name);
}
