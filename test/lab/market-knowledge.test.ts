/** @file The market world's knowledge: the same everywhere, and its figures, people and relations agree with each other. */
import { amountText, marketKnowledge, relationInfo, relationNames, reportYears, sha256, valueForms, withCommas } from 'lab';
import { describe, expect, it } from 'vitest';

const world = marketKnowledge();
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

describe('the market world', () => {
  it('is decided by its seed, and the same on every platform', () => {
    expect(marketKnowledge().facts).toEqual(world.facts);
    expect(marketKnowledge({ seed: 2 }).facts).not.toEqual(world.facts);
    expect(sha256(JSON.stringify(world.facts))).toBe('5ed6986ac5f07ac79205dd26c91046b49eaed21824be4d3057608fc47d7da4f1');
  });

  it('holds thousands of facts, each with an id of its own, and all relations', () => {
    expect(world.facts.length).toBeGreaterThan(5000);
    expect(new Set(world.facts.map(({ id }) => id)).size).toBe(world.facts.length);
    expect(new Set(world.facts.map(({ relation }) => relation))).toEqual(new Set(relationNames));
    for (const fact of world.facts) expect(world.fact(fact.id)).toBe(fact);
  });

  it('gives no name to two', () => {
    const { companies, people, products, cities } = world;
    const firms = companies.flatMap(({ acquisitions }) => acquisitions.map(({ firm }) => firm));
    const names = [...companies, ...people, ...products].map(({ name }) => name);
    const all = [...names, ...companies.flatMap(({ short, ticker }) => [short, ticker]), ...firms, ...cities];
    expect(new Set(all).size).toBe(all.length);
  });

  it('has one fact where a relation allows one, and finds it', () => {
    for (const fact of world.facts) {
      const found = world.lookup(fact.subject, fact.relation, fact.period);
      expect(found).toContain(fact);
      if (!relationInfo(fact.relation).many) expect(found).toEqual([fact]);
      if (relationInfo(fact.relation).exclusive) expect(world.ownerFact(fact.relation, fact.object)).toBe(fact);
    }
    expect(world.lookup('Nobody', 'founder')).toEqual([]);
  });

  it('has figures that agree with each other', () => {
    for (const { figures } of world.companies) {
      expect(figures.map(({ year }) => year)).toEqual(reportYears);
      for (const [i, year] of figures.entries()) {
        expect(sum(year.quarters.map(({ revenue }) => revenue))).toBe(year.revenue);
        expect(sum(year.quarters.map(({ netIncome }) => netIncome))).toBe(year.netIncome);
        expect(year.netMargin).toBe(Math.round((1000 * year.netIncome) / year.revenue));
        const before = figures[i - 1]?.revenue;
        if (before) expect(year.revenueGrowth).toBe(Math.round((1000 * (year.revenue - before)) / before));
        expect(year.revenueGrowth).not.toBe(0);
        expect(year.quarters.map(({ netIncome }) => netIncome)).not.toContain(0);
        expect(year.employees).toBeGreaterThan(0);
      }
    }
  });

  it('has people who were grown up, and products of companies that were there', () => {
    for (const company of world.companies) {
      expect(world.person(company.founder)!.birthYear).toBeLessThanOrEqual(company.founded - 25);
      expect(world.person(company.chiefExecutive)!.birthYear).toBeLessThanOrEqual(company.ledSince - 35);
      expect(company.ledSince).toBeGreaterThan(company.founded);
      for (const { launched } of company.products) expect(Number(launched.slice(-4))).toBeGreaterThan(company.founded);
      for (const { year } of company.acquisitions) expect(year).toBeGreaterThan(company.founded);
    }
  });

  it('has rivals that are mutual, and nobody who competes with or supplies itself', () => {
    for (const { name, competitors, suppliers, sector } of world.companies) {
      expect(competitors.length).toBeGreaterThan(0);
      for (const other of competitors) {
        expect(world.company(other)!.competitors).toContain(name);
        expect(world.company(other)!.sector).toBe(sector);
      }
      expect([...competitors, ...suppliers]).not.toContain(name);
      expect(suppliers.filter((other) => competitors.includes(other))).toEqual([]);
    }
  });

  it('knows a company by each of its names', () => {
    const company = world.companies[3]!;
    for (const name of [company.name, company.short, `$${company.ticker}`]) expect(world.company(name)).toBe(company);
  });

  it('writes about few companies often, and about many seldom', () => {
    const weights = world.companies.map(({ weight }) => weight);
    expect(weights).toEqual([...weights].sort((a, b) => b - a));
    expect(weights[0]! / weights[57]!).toBeCloseTo(20, 2);
  });

  it('can be as small as four companies, and no smaller', () => {
    const { companies, facts } = marketKnowledge({ companies: 4, seed: 5 });
    expect(companies).toHaveLength(4);
    for (const { competitors } of companies) expect(competitors).toHaveLength(1);
    expect(facts.length).toBeGreaterThan(300);
    expect(() => marketKnowledge({ companies: 3 })).toThrow(/4 companies or more are wanted; got 3/);
    expect(() => marketKnowledge({ companies: 100_000 })).toThrow(/out of names/);
  });
});

describe('values', () => {
  it.each([
    ['money', 1240, '$1,240 million'],
    ['money', -12, '-$12 million'],
    ['count', 1_234_567, '1,234,567'],
    ['percent', -43, '-4.3%'],
    ['percent', 5, '0.5%'],
    ['price', 3405, '$34.05'],
    ['year', 1987, '1987'],
  ] as const)('writes %s %d as %s', (kind, amount, text) => {
    expect(amountText(kind, amount)).toBe(text);
  });

  it('reads every form back that it writes, and says where a form cannot say it', () => {
    for (const { object, relation } of world.facts) {
      for (const form of Object.values(valueForms[relationInfo(relation).value])) {
        const said = form.write(object);
        if (said === undefined) continue;
        expect(said).toMatch(new RegExp(`^(?:${form.pattern})$`));
        expect(form.read(said)).toBe(object);
      }
    }
    expect(valueForms.money['loss']!.write('$12 million')).toBeUndefined();
    expect(valueForms.money['']!.write('-$12 million')).toBeUndefined();
    expect(valueForms.percent['down']!.write('-4.3%')).toBe('4.3%');
  });

  it('takes whole numbers only', () => {
    expect(withCommas(0)).toBe('0');
    expect(() => withCommas(1.5)).toThrow(/got 1.5/);
    expect(() => withCommas(-1)).toThrow(/got -1/);
  });
});
