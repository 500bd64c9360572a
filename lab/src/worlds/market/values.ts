/**
 * @file What facts can say: names, amounts and dates. Each has one canonical text, by which facts are compared, and other ways
 * of writing it, each with its way back.
 */
import { invariant } from '../../base/index.ts';

/** The kinds of things and numbers that a fact can be about. */
export type ValueKind =
  | 'company'
  | 'person'
  | 'city'
  | 'sector'
  | 'product'
  | 'firm'
  | 'ticker'
  | 'field'
  | 'year'
  | 'month'
  | 'money'
  | 'count'
  | 'percent'
  | 'price';

/** Kinds whose values are whole numbers of a smallest unit. */
export type AmountKind = 'year' | 'money' | 'count' | 'percent' | 'price';

/** A way of writing the values of a kind. */
export interface ValueForm {
  /** What is written for the canonical text; undefined where this form cannot say it (a loss as a profit). */
  write(canonical: string): string | undefined;
  /** What it looks like: the source of a regular expression without groups. */
  readonly pattern: string;
  /** The canonical text again. */
  read(said: string): string;
}

/** Fields that people studied. */
export const fields = [
  'economics',
  'physics',
  'law',
  'mathematics',
  'chemistry',
  'history',
  'engineering',
  'medicine',
  'geology',
  'accounting',
] as const;

/** What companies do. */
export const sectors = [
  'software',
  'shipping',
  'banking',
  'insurance',
  'steel',
  'food',
  'energy',
  'medical devices',
  'telecommunications',
  'retail',
  'chemicals',
  'aerospace',
] as const;

export const months = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
] as const;

/** A whole number with commas between thousands: 12,404. */
export function withCommas(amount: number): string {
  invariant(Number.isSafeInteger(amount) && amount >= 0, `withCommas: a whole number, 0 or more, is wanted; got ${amount}`);
  return String(amount).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** The size of an amount in its kind's smallest unit, written. */
const sizeText: Readonly<Record<AmountKind, (size: number) => string>> = {
  year: String,
  money: (millions) => `$${withCommas(millions)} million`,
  count: withCommas,
  percent: (tenths) => `${Math.floor(tenths / 10)}.${tenths % 10}%`,
  price: (cents) => `$${withCommas(Math.floor(cents / 100))}.${String(cents % 100).padStart(2, '0')}`,
};

/** An amount as its kind's canonical text: 1240 millions are `$1,240 million`, a loss `-$12 million`, 43 tenths `4.3%`. */
export function amountText(kind: AmountKind, amount: number): string {
  return (amount < 0 ? '-' : '') + sizeText[kind](Math.abs(amount));
}

const commas = String.raw`\d{1,3}(?:,\d{3})*`;
const oneName = String.raw`[A-Z][a-z]+`;
const upToThreeNames = `${oneName}(?: ${oneName}){0,2}`;

/** Written as it is. */
function plain(pattern: string): ValueForm {
  return { write: (canonical) => canonical, pattern, read: (said) => said };
}

/** Amounts of one sign, written by their size. */
function signed(negative: boolean, pattern: string, from: string, to: string): ValueForm {
  return {
    write: (canonical) => {
      if (canonical.startsWith('-') !== negative) return undefined;
      return canonical.replace('-', '').replace(from, to);
    },
    pattern,
    read: (said) => (negative ? '-' : '') + said.replace(to, from),
  };
}

const dollars: ValueForm = {
  write: (canonical) => (canonical.startsWith('-') ? undefined : `${canonical.slice(1)} dollars`),
  pattern: `${commas} million dollars`,
  read: (said) => `$${said.slice(0, -' dollars'.length)}`,
};

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
const small = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);
const oneOf = (values: readonly string[]): string => `(?:${values.join('|')})`;

/** Sectors and fields at the start of a sentence. */
function capitalized(values: readonly string[]): ValueForm {
  return { write: capital, pattern: oneOf(values.map(capital)), read: small };
}

const money = (negative: boolean): Readonly<Record<string, ValueForm>> => {
  const names = negative ? ['loss', 'lossWords', 'lossShort'] : ['', 'words', 'short'];
  const words: ValueForm = {
    write: (canonical) => (canonical.startsWith('-') === negative ? dollars.write(canonical.replace('-', '')) : undefined),
    pattern: dollars.pattern,
    read: (said) => (negative ? '-' : '') + dollars.read(said),
  };
  return {
    [names[0]!]: signed(negative, String.raw`\$${commas} million`, '', ''),
    [names[1]!]: words,
    [names[2]!]: signed(negative, String.raw`\$${commas}M`, ' million', 'M'),
  };
};

const percent = String.raw`\d+\.\d%`;
const percentWords = String.raw`\d+\.\d percent`;

/** The forms of each kind by name; '' is the usual one. */
export const valueForms: Readonly<Record<ValueKind, Readonly<Record<string, ValueForm>>>> = {
  company: { '': plain(upToThreeNames) },
  firm: { '': plain(upToThreeNames) },
  person: { '': plain(`${oneName} ${oneName}`) },
  city: { '': plain(oneName) },
  product: { '': plain(oneName) },
  sector: { '': plain(oneOf(sectors)), capital: capitalized(sectors) },
  field: { '': plain(oneOf(fields)), capital: capitalized(fields) },
  ticker: {
    '': plain('[A-Z]{4,5}'),
    cash: { write: (ticker) => `$${ticker}`, pattern: String.raw`\$[A-Z]{4,5}`, read: (said) => said.slice(1) },
  },
  year: { '': plain(String.raw`\d{4}`) },
  month: { '': plain(String.raw`${oneOf(months)} \d{4}`) },
  money: { ...money(false), ...money(true) },
  count: { '': plain(commas) },
  percent: {
    '': plain(`-?${percent}`),
    up: signed(false, percent, '', ''),
    upWords: signed(false, percentWords, '%', ' percent'),
    down: signed(true, percent, '', ''),
    downWords: signed(true, percentWords, '%', ' percent'),
  },
  price: { '': plain(String.raw`\$${commas}\.\d\d`) },
};
