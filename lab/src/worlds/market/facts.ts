/**
 * @file All that is true of a population, fact by fact.
 */
import type { Company, Fact, Person, Population, YearFigures } from './knowledge.ts';
import { relationInfo, type Relation } from './relations.ts';
import { amountText, type AmountKind } from './values.ts';

const amountKinds: readonly string[] = ['year', 'money', 'count', 'percent', 'price'] satisfies readonly AmountKind[];

/** In the order of companies, then people. */
export function factsOf({ companies, people }: Population): readonly Fact[] {
  return [...companies.flatMap(companyFacts), ...people.flatMap(personFacts)];
}

/** @param value a name, or the number that is true */
function fact(key: string, subject: string, relation: Relation, value: string | number, period?: string): Fact {
  const { value: kind, many } = relationInfo(relation);
  const object = typeof value === 'string' ? value : amountText(kind as AmountKind, value);
  const parts = [key, relation, ...(period === undefined ? [] : [period]), ...(many ? [object] : [])];
  const id = parts.join('/').replaceAll(' ', '-');
  const amount = amountKinds.includes(kind) ? { amount: Number(value) } : {};
  return { id, subject, relation, object, ...(period === undefined ? {} : { period }), ...amount };
}

function companyFacts(company: Company): readonly Fact[] {
  const { name, ticker } = company;
  const say = (relation: Relation, value: string | number, period?: string): Fact =>
    fact(ticker, name, relation, value, period);
  const single = (
    ['sector', 'headquarters', 'founded', 'founder', 'chiefExecutive', 'ledSince', 'financeChief', 'ticker'] as const
  ).map((relation) => say(relation, company[relation]));
  return [
    ...single,
    ...company.products.map((product) => say('product', product.name)),
    ...company.competitors.map((other) => say('competitor', other)),
    ...company.suppliers.map((other) => say('supplier', other)),
    ...company.acquisitions.map(({ firm, year }) => say('acquired', firm, String(year))),
    ...company.figures.flatMap((figures) => yearFacts(figures, say)),
    ...company.products.map((product) => fact(product.name, product.name, 'launched', product.launched)),
  ];
}

function yearFacts(
  figures: YearFigures,
  say: (relation: Relation, value: string | number, period?: string) => Fact,
): readonly Fact[] {
  const period = String(figures.year);
  const { revenueGrowth } = figures;
  return [
    say('revenue', figures.revenue, period),
    say('netIncome', figures.netIncome, period),
    ...(revenueGrowth === undefined ? [] : [say('revenueGrowth', revenueGrowth, period)]),
    say('netMargin', figures.netMargin, period),
    say('employees', figures.employees, period),
    say('sharePrice', figures.sharePrice, period),
    ...figures.quarters.flatMap((quarter) => [
      say('revenue', quarter.revenue, quarter.period),
      say('netIncome', quarter.netIncome, quarter.period),
    ]),
  ];
}

function personFacts({ name, birthYear, birthplace, studied }: Person): readonly Fact[] {
  return [
    fact(name, name, 'birthYear', birthYear),
    fact(name, name, 'birthplace', birthplace),
    fact(name, name, 'studied', studied),
  ];
}
