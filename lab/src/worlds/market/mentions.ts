/**
 * @file Values in a text that nobody taught the reader to read: does it name what a question asks for, or something else of
 * that kind?
 */
import type { MarketKnowledge } from './knowledge.ts';
import type { Asked } from './questions.ts';
import { relationInfo } from './relations.ts';
import { fields, sectors, valueForms, withCommas, type ValueKind } from './values.ts';

export interface MentionedValues {
  /** How many of the true values are named. */
  readonly right: number;
  /** How many others of the same kind are. */
  readonly wrong: number;
}

/** @param prompt names that are in the question are not an answer to it */
export function mentionedValues(text: string, prompt: string, asked: Asked, knowledge: MarketKnowledge): MentionedValues {
  const { value: kind, many } = relationInfo(asked.relation);
  const truths = knowledge.lookup(asked.subject, asked.relation, asked.period).map(({ object }) => object);
  const found = new Set(valuesIn(text, kind, knowledge));
  for (const value of valuesIn(prompt, kind, knowledge)) found.delete(value);
  const right = [...found].filter((value) => truths.includes(value)).length;
  // Of relations that allow several values, the world does not say that there are no others.
  const wrong = found.size - right;
  return { right, wrong: many && right > 0 ? 0 : wrong };
}

const NEGATIVE = /\b(?:loss|losses|lost|negative|minus|down|fell|declined?|decreased?|dropped|shrank)\b|[-−]\s*\$?\d/i;

/** Everything of a kind that is in a text, in its canonical form. */
function valuesIn(text: string, kind: ValueKind, knowledge: MarketKnowledge): readonly string[] {
  const names = namesOf(kind, knowledge);
  if (names) return names.filter(([written]) => containsName(text, written)).map(([, canonical]) => canonical);
  const values: string[] = [];
  // In this world amounts have commas; others may leave them out.
  const isDate = kind === 'year' || kind === 'month';
  const grouped = isDate ? text : text.replace(/(?<![\d.,])\d{4,15}(?!\d)/g, (digits) => withCommas(Number(digits)));
  for (const form of Object.values(valueForms[kind])) {
    const whole = new RegExp(`(?<![\\w.,$-])(?:${form.pattern})(?![\\w%]|[.,]\\d)`, 'g');
    for (const { 0: said } of grouped.matchAll(whole)) values.push(form.read(said));
  }
  if (kind !== 'money' && kind !== 'percent') return values;
  const sign = NEGATIVE.test(text) ? '-' : '';
  return values.map((value) => sign + value.replace(/^-/, ''));
}

/** What is written, and what it stands for; undefined for kinds that have no list of names. */
function namesOf(
  kind: ValueKind,
  knowledge: MarketKnowledge,
): readonly (readonly [written: string, canonical: string])[] | undefined {
  const same = (names: readonly string[]) => names.map((name) => [name, name] as const);
  const { companies, people, products, cities } = knowledge;
  switch (kind) {
    case 'company':
      return companies.map(({ name, short }) => [short, name]);
    case 'person':
      return same(people.map(({ name }) => name));
    case 'product':
      return same(products.map(({ name }) => name));
    case 'firm':
      return same(companies.flatMap(({ acquisitions }) => acquisitions.map(({ firm }) => firm)));
    case 'ticker':
      return same(companies.map(({ ticker }) => ticker));
    case 'city':
      return same(cities);
    case 'sector':
      return same(sectors);
    case 'field':
      return same(fields);
    default:
      return undefined;
  }
}

/** Whether a name is there as whole words, whatever their case. */
export function containsName(text: string, name: string): boolean {
  const [where, what] = [text.toLowerCase(), name.toLowerCase()];
  for (let at = where.indexOf(what); at >= 0; at = where.indexOf(what, at + 1)) {
    if (!/\w/.test(where.charAt(at - 1)) && !/\w/.test(where.charAt(at + what.length))) return true;
  }
  return false;
}
