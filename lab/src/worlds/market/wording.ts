/**
 * @file Wordings: sentences with slots. What a sentence states follows from its slots alone, so that one list of wordings
 * serves for writing (`write.ts`) and for reading (`read.ts`).
 *
 * | slot | is written as |
 * | --- | --- |
 * | `{Company}`, `{Company's}`, `{Person}`, `{Person's}`, `{Product}` | the subject: its name, a shorter one, or a pronoun |
 * | `{Company!}`, `{Person!}`, `{Company$}` | the same by its full or short name, by its ticker |
 * | `{relation}`, `{relation.form}` | what is true of the subject that can have this relation, written by a form of its kind |
 * | `{relation@before}` | the same of the year before |
 * | `{relation>other}` | `other` of the value of `relation` in this sentence |
 * | `{year}`, `{period}`, `{thatYear}` | the time of all that has one: a year, a year or quarter, the year spoken of before |
 */
import { invariant } from '../../base/index.ts';
import { relationInfo, relations, type Relation, type SubjectKind } from './relations.ts';
import { valueForms, type ValueForm } from './values.ts';

export interface SubjectToken {
  readonly type: 'subject';
  readonly kind: SubjectKind;
  /** free: pronouns, too; name: no pronoun; ticker: `$VLDR` */
  readonly style: 'free' | 'name' | 'ticker';
  readonly possessive: boolean;
}

export interface ValueToken {
  readonly type: 'value';
  readonly relation: Relation;
  readonly form: ValueForm;
  /** Of the year before. */
  readonly before: boolean;
  /** The relation whose value has it, if not the subject itself. */
  readonly of: Relation | undefined;
}

export interface PeriodToken {
  readonly type: 'period';
  readonly kind: 'year' | 'period' | 'thatYear';
}

export type WordingToken = { readonly type: 'text'; readonly text: string } | SubjectToken | ValueToken | PeriodToken;

export interface Wording {
  readonly template: string;
  readonly tokens: readonly WordingToken[];
  /** What it states, in the order of the slots. */
  readonly values: readonly ValueToken[];
  readonly subjects: readonly SubjectKind[];
  readonly period: PeriodToken['kind'] | undefined;
  /** Matches a whole sentence; a group for each slot. */
  readonly pattern: RegExp;
  /** The longest text between its slots: a sentence without it need not be matched. */
  readonly landmark: string;
}

/** Whom and which time a text spoke of last: what pronouns and `that year` stand for. */
export interface Topic {
  readonly company?: string;
  readonly person?: string;
  readonly period?: string;
}

const anyName = String.raw`[A-Z][a-z]+(?: [A-Z][a-z]+){0,2}`;

/** The quarters of a year in words. */
export const quarterNames = ['first', 'second', 'third', 'fourth'] as const;

/** A period as it is written: `2021`, `the third quarter of 2021`. */
export function periodText(period: string): string {
  const [year, quarter] = period.split(' Q');
  return quarter === undefined ? year! : `the ${quarterNames[Number(quarter) - 1]!} quarter of ${year!}`;
}

/** The way back. */
export function readPeriod(said: string): string {
  const [, quarter, year] = /^the (\w+) quarter of (\d+)$/.exec(said) ?? [];
  return quarter === undefined ? said : `${year!} Q${quarterNames.findIndex((one) => one === quarter) + 1}`;
}

/** The period a year earlier: of `2021 Q3`, `2020 Q3`. */
export function yearBefore(period: string): string {
  return `${Number(period.slice(0, 4)) - 1}${period.slice(4)}`;
}

const periodPatterns: Readonly<Record<PeriodToken['kind'], string>> = {
  year: String.raw`\d{4}`,
  period: String.raw`\d{4}|the (?:${quarterNames.join('|')}) quarter of \d{4}`,
  thatYear: '[Tt]hat year',
};

/** The name, or whose something is: Valdora's, Valdora Systems'. */
export function withMark(name: string, possessive: boolean): string {
  if (!possessive) return name;
  return name + (name.endsWith('s') ? "'" : "'s");
}

/** The way back. */
export function withoutMark(said: string): string {
  return said.replace(/'s?$/, '');
}

/** @throws RangeError when a slot is not one of those above, or does not fit with the others. */
export function compileWording(template: string): Wording {
  const parts = template.match(/\{[^}]+\}|[^{}]+/g) ?? [];
  const tokens = parts.map((part): WordingToken => (part.startsWith('{') ? slot(part.slice(1, -1), template) : text(part)));
  const values = tokens.filter((token) => token.type === 'value');
  const period = tokens.find((token) => token.type === 'period')?.kind;
  const subjects = tokens.filter((token) => token.type === 'subject').map(({ kind }) => kind);
  for (const { relation, of } of values) {
    const { subject, period: needs } = relationInfo(relation);
    const known = of === undefined ? subjects.includes(subject) : values.some((other) => other.relation === of);
    invariant(known, `wording '${template}': nobody has ${relation}`);
    invariant(needs === 'none' || period !== undefined, `wording '${template}': ${relation} needs a time`);
  }
  const texts = tokens.filter((token) => token.type === 'text').map((token) => token.text);
  const landmark = texts.reduce((longest, one) => (one.length > longest.length ? one : longest), '');
  const source = tokens.map((token) => (token.type === 'text' ? escaped(token.text) : `(${patternOf(token)})`)).join('');
  return { template, tokens, values, subjects, period, pattern: new RegExp(`^${source}$`), landmark };
}

function text(said: string): WordingToken {
  return { type: 'text', text: said };
}

const subjectSlot = /^(Company|Person|Product)([!$]|'s)?$/;
const valueSlot = /^(?:(\w+)>)?(\w+?)(@before)?(?:\.(\w+))?$/;

function slot(source: string, template: string): WordingToken {
  if (source === 'year' || source === 'period' || source === 'thatYear') return { type: 'period', kind: source };
  const [, subject, mark] = subjectSlot.exec(source) ?? [];
  if (subject !== undefined) {
    const style = mark === '!' ? 'name' : mark === '$' ? 'ticker' : 'free';
    return { type: 'subject', kind: subject.toLowerCase() as SubjectKind, style, possessive: mark === "'s" };
  }
  const [, of, relation = '', before, form = ''] = valueSlot.exec(source) ?? [];
  const known = isRelation(relation) && (of === undefined || isRelation(of));
  invariant(known, `wording '${template}': no slot is called {${source}}`);
  const found = valueForms[relationInfo(relation).value][form];
  invariant(found, `wording '${template}': ${relation} cannot be written as '${form}'`);
  return { type: 'value', relation, form: found, before: before !== undefined, of };
}

function isRelation(word: string): word is Relation {
  return Object.hasOwn(relations, word);
}

function patternOf(token: Exclude<WordingToken, { type: 'text' }>): string {
  if (token.type === 'value') return token.form.pattern;
  if (token.type === 'period') return periodPatterns[token.kind];
  const { kind, style, possessive } = token;
  if (style === 'ticker') return valueForms.ticker['cash']!.pattern;
  if (style === 'name') return anyName;
  if (kind === 'product') return '[A-Z][a-z]+';
  if (kind === 'company') return possessive ? `[Ii]ts|[Tt]he [Cc]ompany's|${anyName}'s?` : `It|[Tt]he [Cc]ompany|${anyName}`;
  return possessive ? `His|Her|${anyName}'s?` : `He|She|${anyName}`;
}

function escaped(literal: string): string {
  return literal.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
}
