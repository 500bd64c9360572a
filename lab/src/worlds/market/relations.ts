/**
 * @file The relations of the market world: who can have them, what they say, for which time, and how often they are mentioned.
 */
import type { ValueKind } from './values.ts';

export type SubjectKind = 'company' | 'person' | 'product';

export interface RelationInfo {
  readonly subject: SubjectKind;
  readonly value: ValueKind;
  /** none: it holds at any time; year: one for each year; quarters: one for each year and one for each quarter. */
  readonly period: 'none' | 'year' | 'quarters';
  /** A subject may have several of them. */
  readonly many?: true;
  /** No two subjects share a value: who claims another's contradicts the truth. */
  readonly exclusive?: true;
  /** How often it is chosen when something is to be said, as a whole number. */
  readonly weight: number;
}

export const relations = {
  sector: { subject: 'company', value: 'sector', period: 'none', weight: 8 },
  headquarters: { subject: 'company', value: 'city', period: 'none', weight: 8 },
  founded: { subject: 'company', value: 'year', period: 'none', weight: 6 },
  founder: { subject: 'company', value: 'person', period: 'none', weight: 6 },
  chiefExecutive: { subject: 'company', value: 'person', period: 'none', weight: 8 },
  ledSince: { subject: 'company', value: 'year', period: 'none', weight: 4 },
  financeChief: { subject: 'company', value: 'person', period: 'none', weight: 5 },
  ticker: { subject: 'company', value: 'ticker', period: 'none', exclusive: true, weight: 4 },
  product: { subject: 'company', value: 'product', period: 'none', many: true, exclusive: true, weight: 7 },
  competitor: { subject: 'company', value: 'company', period: 'none', many: true, weight: 5 },
  supplier: { subject: 'company', value: 'company', period: 'none', many: true, weight: 5 },
  acquired: { subject: 'company', value: 'firm', period: 'year', many: true, exclusive: true, weight: 3 },
  revenue: { subject: 'company', value: 'money', period: 'quarters', weight: 8 },
  netIncome: { subject: 'company', value: 'money', period: 'quarters', weight: 6 },
  revenueGrowth: { subject: 'company', value: 'percent', period: 'year', weight: 4 },
  netMargin: { subject: 'company', value: 'percent', period: 'year', weight: 3 },
  employees: { subject: 'company', value: 'count', period: 'year', weight: 4 },
  sharePrice: { subject: 'company', value: 'price', period: 'year', weight: 4 },
  birthYear: { subject: 'person', value: 'year', period: 'none', weight: 3 },
  birthplace: { subject: 'person', value: 'city', period: 'none', weight: 3 },
  studied: { subject: 'person', value: 'field', period: 'none', weight: 3 },
  launched: { subject: 'product', value: 'month', period: 'none', weight: 3 },
} as const satisfies Readonly<Record<string, RelationInfo>>;

export type Relation = keyof typeof relations;

export const relationNames = Object.keys(relations) as readonly Relation[];

/** The same with its type widened, so that what a relation leaves out can be asked for. */
export function relationInfo(relation: Relation): RelationInfo {
  return relations[relation];
}
