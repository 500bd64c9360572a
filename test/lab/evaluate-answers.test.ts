/**
 * @file Answers in numbers and in words: what is read out of them, and when two are the same.
 */
import { exactMatch, normalizeAnswer, numericMatch, Random, readNumber, readNumbers, wordF1 } from 'lab';
import { describe, expect, it } from 'vitest';

describe('numbers in answers', () => {
  it.each([
    ['5', 5, false, 0],
    ['-5', -5, false, 0],
    ['−5.25', -5.25, false, 2],
    ['+7', 7, false, 0],
    ['.5', 0.5, false, 1],
    ['1,234,567.8', 1234567.8, false, 1],
    ['$ 1,234', 1234, false, 0],
    ['-$3.10', -3.1, false, 2],
    ['$-3.10', -3.1, false, 2],
    ['€5', 5, false, 0],
    ['12 USD', 12, false, 0],
    ['USD 12', 12, false, 0],
    ['(1,234)', -1234, false, 0],
    ['$(5.2)', -5.2, false, 1],
    ['($5.2)', -5.2, false, 1],
    ['14.1%', 14.1, true, 1],
    ['14.1 percent', 14.1, true, 1],
    ['14.1 per cent', 14.1, true, 1],
    ['(5.2%)', -5.2, true, 1],
    ['(5.2)%', -5.2, true, 1],
    ['-97 ( 97 )', -97, false, 0],
    ['0', 0, false, 0],
    ['(0)', 0, false, 0],
    ['The change is -14.1%.', -14.1, true, 1],
    ['it was 206588, in thousands', 206588, false, 0],
    ['a rise (of 5%)', 5, true, 0],
  ])('reads %s', (text, value, percent, decimals) => {
    expect(readNumber(text)).toEqual({ value, percent, decimals });
  });

  it('takes no number out of words, dates and badly grouped digits', () => {
    for (const text of ['', 'none', 'n/a', 'Q3', 'x5', '1,23', '1.2.3', 'G7']) expect(readNumbers(text), text).toEqual([]);
    expect(readNumbers('from 12.5 to (3)').map(({ value }) => value)).toEqual([12.5, -3]);
    expect(readNumbers('between 2008-2009').map(({ value }) => Math.abs(value))).toEqual([2008, 2009]);
  });

  it('asks which of several numbers is the answer', () => {
    expect(readNumber('25 in 2009')).toBeUndefined();
    expect(readNumber('25 in 2009', 'first')?.value).toBe(25);
    expect(readNumber('25 in 2009', 'last')?.value).toBe(2009);
  });

  it.each([
    // The same number, however it is written.
    ['206,588', 206588, true],
    ['$206588', '206,588', true],
    ['25,587.0', 25587, true],
    // The sign counts: what FinGPT's expression cannot see.
    ['-14.1%', '14.1%', false],
    ['14.1', '-14.1', false],
    ['(14.1)', '-14.1', true],
    // One digit.
    ['5', '5', true],
    ['5', 5, true],
    ['6', '5', false],
    // Percent and ratio.
    ['0.141', '14.1%', true],
    ['14.1%', '0.141', true],
    ['14.1', '14.1%', false],
    ['0.14136', 0.14136, true],
    ['14.136%', 0.14136, true],
    ['14.1%', 0.14136, false],
    // Rounding to the precision of the truth.
    ['14.13%', '14.1%', true],
    ['14.149%', '14.1%', true],
    ['14.2%', '14.1%', false],
    ['14%', '14.1%', false],
    ['0.145', '0.14', true],
    ['0.1451', '0.14', false],
    ['0.141364', 0.14136, true],
    ['0.14137', 0.14136, false],
    ['none', 3, false],
    ['3 or 4', 3, false],
  ] as const)('%s for %s: %s', (answer, truth, same) => expect(numericMatch(answer, truth)).toBe(same));

  it('compares at the precision that was asked for', () => {
    expect(numericMatch('14.1%', 0.14136, { decimals: 1 })).toBe(true);
    expect(numericMatch('14.2%', 0.14136, { decimals: 1 })).toBe(false);
    expect(numericMatch('-400', -399.73, { decimals: 0 })).toBe(true);
    expect(numericMatch('-399', -399.73, { decimals: 0 })).toBe(false);
    expect(numericMatch('14%', '14.1%', { decimals: 0 })).toBe(true);
    expect(() => numericMatch('1', 1, { decimals: -1 })).toThrow(/decimals/);
    expect(() => numericMatch('1', 'none')).toThrow(/not one number/);
  });

  it('lets the percent sign be left out when told so', () => {
    const loose = { percent: 'loose' } as const;
    expect(numericMatch('14.1', '14.1%', loose)).toBe(true);
    expect(numericMatch('14.1%', '14.1', loose)).toBe(true);
    expect(numericMatch('14.136', 0.14136, loose)).toBe(true);
    expect(numericMatch('14.1', 0.14136, { ...loose, decimals: 1 })).toBe(true);
    expect(numericMatch('14.1', 0.14136, loose)).toBe(false);
    expect(numericMatch('-14.1', '14.1%', loose)).toBe(false);
    expect(numericMatch('141', '14.1%', loose)).toBe(false);
  });

  it('finds what it wrote itself, in every style', () => {
    const random = new Random(6);
    for (let i = 0; i < 300; i++) {
      const decimals = random.integer(4);
      const value = (random.integer(2_000_000) - 1_000_000) / 10 ** decimals;
      const size = Math.abs(value).toFixed(decimals);
      const [whole, rest = ''] = size.split('.');
      const grouped = whole!.replace(/\B(?=(\d{3})+$)/g, ',') + (rest && `.${rest}`);
      const forms =
        value < 0 ? [`-${size}`, `(${grouped})`, `-$${grouped}`, `$(${grouped})`, `−${size}`] : [size, grouped, `$ ${grouped}`];
      for (const form of forms) {
        expect(numericMatch(form, value), form).toBe(true);
        expect(numericMatch(form, value + 0.001), form).toBe(false);
        if (value !== 0) expect(numericMatch(form, -value), form).toBe(false);
      }
    }
  });
});

describe('answers in words', () => {
  it('are the same without case, punctuation, articles and blanks', () => {
    expect(normalizeAnswer(' The  Net-Income, of an “Umbrella”! ')).toBe('netincome of umbrella');
    expect(exactMatch('the Board.', 'board')).toBe(true);
    expect(exactMatch('theatre', 'atre')).toBe(false);
    expect(exactMatch('Émile', 'Emile')).toBe(false);
  });

  it('share words: the harmonic mean of precision and recall, with each word counted as often as it is there', () => {
    expect(wordF1('net income rose', 'net income fell')).toBeCloseTo(2 / 3, 12);
    expect(wordF1('up up up', 'up')).toBeCloseTo(0.5, 12);
    expect(wordF1('', 'the')).toBe(1);
    expect(wordF1('', 'rise')).toBe(0);
    expect(wordF1('a b', 'c')).toBe(0);
  });
});
