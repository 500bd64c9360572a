/**
 * @file Numbers in answers: read with sign, currency, thousands and percent, and compared at the precision that was asked for.
 *
 * What is read as a number: `1,234.5`, `.5`, `5` (one digit is a number like any other), with + - − before it, with $ € £ ¥ or
 * USD EUR GBP JPY CHF before or behind it, `14.1%`, `14.1 percent`, `14.1 per cent`; in parentheses it is negative, as
 * accountants write it: `(1,234)`, `$(5.2)`, `(5.2%)`. Tables of FinQA write such a number twice, `-1234 ( 1234 )`; that is one
 * number, −1234. Words of scale (`million`) do not multiply: answers are in the unit of their table, as in FinQA.
 *
 * When two numbers are the same (the data sets publish answers such as 14.1%, and programs give 0.14136): an answer written
 * to d decimals stands for everything that rounds to it, so it is right when the truth lies within half a unit of the last
 * decimal that counts. FinGPT's public scorer looks for `\d+(.\d+)` instead, and so loses the sign, the percent and `5`.
 */
import { invariant } from '../base/index.ts';

export interface NumericAnswer {
  /** As written: 14.1 for `14.1%`, −5.2 for `$(5.2)`. */
  readonly value: number;
  readonly percent: boolean;
  /** Digits written behind the point. */
  readonly decimals: number;
}

export interface NumericMatchOptions {
  /** Digits behind the point that were asked for; those of the truth as it is written unless told. */
  readonly decimals?: number;
  /**
   * Whether a percent sign that only one of the two has divides by 100 ('strict', default), or may also have been left out, so
   * that `14.1` is right for 14.1% and 0.141 ('loose').
   */
  readonly percent?: 'strict' | 'loose';
  /** Which number of a text that has several is the answer; a text with several has none unless told ('only'). */
  readonly pick?: 'only' | 'first' | 'last';
}

const DIGITS = String.raw`(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+`;
const MONEY = String.raw`(?:[$€£¥]|\b(?:USD|EUR|GBP|JPY|CHF)\b)`;
const PERCENT = String.raw`(?:%|(?:percent|per cent)\b)`;
/** sign, money, (, sign, money, digits, percent, ), percent: what stands around one number, in a text with single blanks. */
const NUMBER = new RegExp(
  String.raw`(?<![\w.,])(?<sign>[-−+]?) ?${MONEY}? ?(?<open>\(?) ?(?<inner>[-−+]?) ?${MONEY}? ?` +
    String.raw`(?<digits>${DIGITS})(?!\d|[.,]\d) ?(?<percent>${PERCENT}?) ?(?<close>\)?) ?(?<after>${PERCENT}?)`,
  'giu',
);

/** All numbers of a text, in order. */
export function readNumbers(text: string): NumericAnswer[] {
  const numbers: NumericAnswer[] = [];
  let before: { readonly value: number; readonly end: number } | undefined;
  const spaced = text.replace(/\s+/g, ' ');
  for (const match of spaced.matchAll(NUMBER)) {
    const { sign, open, inner, digits, percent, close, after } = match.groups as Record<string, string>;
    const bracketed = open !== '' && close !== '';
    const minus = [sign, inner].some((mark) => mark === '-' || mark === '−');
    const size = Number(digits!.replaceAll(',', ''));
    const end = match.index + match[0].length;
    const said =
      before !== undefined && bracketed && before.value === -size && spaced.slice(before.end, match.index).trim() === '';
    before = undefined;
    if (said) continue;
    const value = size === 0 || !(minus || bracketed) ? size : -size;
    before = { value, end };
    // A percent sign behind a parenthesis that was opened elsewhere belongs to another number.
    const isPercent = percent !== '' || (after !== '' && bracketed);
    numbers.push({ value, percent: isPercent, decimals: digits!.split('.')[1]?.length ?? 0 });
  }
  return numbers;
}

/** The number that a text gives as its answer, or undefined when it gives none. */
export function readNumber(text: string, pick: 'only' | 'first' | 'last' = 'only'): NumericAnswer | undefined {
  const numbers = readNumbers(text);
  if (pick === 'only' && numbers.length !== 1) return undefined;
  return pick === 'last' ? numbers.at(-1) : numbers[0];
}

/**
 * Whether an answer states the true number.
 *
 * @param truth a text such as `14.1%`, or a number as programs give it, which has 5 digits behind the point
 * @throws RangeError for a truth that is not one number.
 */
export function numericMatch(answer: string, truth: string | number, options: NumericMatchOptions = {}): boolean {
  const { percent = 'strict', pick = 'only' } = options;
  const computed = typeof truth === 'number';
  const right = computed ? { value: truth, percent: false, decimals: 5 } : readNumber(truth);
  invariant(right && Number.isFinite(right.value), () => `numericMatch: the truth ${JSON.stringify(truth)} is not one number`);
  const decimals = options.decimals ?? right.decimals;
  invariant(Number.isInteger(decimals) && decimals >= 0, `numericMatch: decimals must be 0, 1, …, got ${decimals}`);
  const given = readNumber(answer, pick);
  if (!given) return false;
  // Decimals that were asked for are those of the percentage, where one is written: 14.1% has three as a ratio.
  const inPercent = (computed ? options.decimals !== undefined && given.percent : right.percent) ? 2 : 0;
  if (within(ratio(given), ratio(right), decimals + inPercent)) return true;
  if (percent === 'strict') return false;
  if (given.percent !== right.percent) return within(given.value, right.value, decimals);
  return computed && within(given.value / 100, right.value, options.decimals === undefined ? decimals : decimals + 2);
}

function ratio({ value, percent }: NumericAnswer): number {
  return percent ? value / 100 : value;
}

function within(given: number, right: number, decimals: number): boolean {
  // A little more than a half, as 0.145 is not a double; less than what any further digit could mean.
  const half = 0.5 * 10 ** -decimals * (1 + 1e-6);
  return Math.abs(given - right) <= half + Number.EPSILON * Math.abs(right);
}
