/** @file The filters that judge a document by itself, or by what all documents have in common. */
import {
  boilerplate,
  cleanDocuments,
  commonLines,
  documentsOf,
  duplicateShare,
  gopherDefaults,
  gopherMeasures,
  gopherQuality,
  gopherRepetition,
  normalisation,
  normaliseText,
  Random,
  repeatedParts,
  stories,
  topShare,
  type QualityFilter,
} from 'lab';
import { describe, expect, it } from 'vitest';
import { LineCounts } from '../../lab/dist/data/quality/line-counts.js';

const random = new Random(11);
const tales = stories({ count: 300, seed: 5 }).trim().split('\n\n');

/** Why the filter removes each text; undefined for those it keeps. */
function reasons(filter: QualityFilter, ...texts: string[]): (string | undefined)[] {
  const { removed } = cleanDocuments(documentsOf(texts), { filters: [filter] });
  return texts.map((_, i) => removed.find(({ document }) => document.number === i + 1)?.removal.reason);
}

/** What is left of each text that is kept. */
const kept = (filter: QualityFilter, ...texts: string[]): string[] =>
  cleanDocuments(documentsOf(texts), { filters: [filter] }).kept.map(({ text }) => text);

const unlike = (count: number): string[] => Array.from({ length: count }, () => `q${random.uint32().toString(36)}z`);

describe('normalisation', () => {
  const hard = [
    ' |  |\t|\n|\n\n|\r\n|\r|\v|\f|\u0085|\u2028|\u2029|\u00a0|\u2003|\u3000',
    '\0|\x1b|\x7f|\u0090|\u00ad|\u200b|\u200d|\u200e|\u2066|\ufeff|\ufffd',
    '“|”|‘|’|«|»|＂|…|–|é|e\u0301|\u0301|\u0323|ﬁ|Å|\u212b|\u1100\u1161|\u037e',
    `a|B|7|😀|\ud83d|\ude00|中|<b>|'|"`,
  ].flatMap((some) => some.split('|'));

  it('does nothing more when it is done again, and leaves nothing that it should not', () => {
    for (let trial = 0; trial < 3000; trial++) {
      const text = Array.from({ length: random.integer(12) }, () => random.pick(hard)).join('');
      const once = normaliseText(text);
      expect(normaliseText(once), JSON.stringify(text)).toBe(once);
      expect(once).toBe(once.normalize('NFC'));
      expect(once).not.toMatch(/\p{Surrogate}/u);
      expect(once).not.toMatch(/^\s|\s$| {2}| \n|\n |\n{3}/);
      expect(once).not.toMatch(/[^\P{Cc}\n]|[\u00a0\u00ad\u200b\ufeff\u2028]|[“”‘’«»]/u);
    }
  });

  it.each([
    ['plain text stays as it is', 'A plain text.\n\nWith two paragraphs.', 'A plain text.\n\nWith two paragraphs.'],
    ['line breaks of all systems', 'a\r\nb\rc\u2028d', 'a\nb\nc\nd'],
    ['spaces', ' a\t b\u00a0\u2003c  \n\n \n\n d ', 'a b c\n\nd'],
    ['quotation marks', '“Don’t,” «she» said', '"Don\'t," "she" said'],
    ['composed letters', 'cafe\u0301', 'café'],
    ['letters that an invisible character parts', 'co\u00adop\u200berate', 'cooperate'],
    ['half a pair', 'a\ud83db', 'a\ufffdb'],
    ['joiners, without which words change', 'می\u200cخواهم', 'می\u200cخواهم'],
  ])('%s', (_, text, normal) => expect(normaliseText(text)).toBe(normal));

  it('leaves quotation marks when told', () => {
    expect(kept(normalisation({ quotes: false }), ' “a” ')).toEqual(['“a”']);
  });

  it('removes what is empty then', () => {
    expect(reasons(normalisation(), ' \u200b\n\ufeff', '', 'a')).toEqual(['empty', 'empty', undefined]);
  });
});

describe('the rules of Gopher for quality', () => {
  const good = tales.slice(0, 3).join('\n');
  const open = { minWords: 0, minWordLength: 0, minAlphabetic: 0, minStopWords: 0 };

  it('keep stories', () => {
    expect(reasons(gopherQuality(), good, tales.slice(3, 9).join(' '))).toEqual([undefined, undefined]);
  });

  it('measure what they say', () => {
    const measures = gopherMeasures('The cats, # 12 and\n- of ... x…\n• to be 中');
    expect(measures).toEqual({
      words: 9, // The cats, 12 and of x… to be 中
      wordLength: (3 + 5 + 2 + 3 + 2 + 2 + 2 + 2 + 1) / 9,
      hashes: 1 / 13,
      ellipses: 2 / 13,
      bulletLines: 2 / 3,
      ellipsisLines: 1 / 3,
      alphabetic: 8 / 13,
      stopWords: 5,
    });
  });

  it('see stop words in any case, with punctuation, each once, and not inside of others', () => {
    expect(gopherMeasures('THE "the", the; (AND)').stopWords).toBe(2);
    expect(gopherMeasures('other bee withal sand offer').stopWords).toBe(0);
    expect(gopherMeasures('le chat et la vie', ['et', 'le']).stopWords).toBe(2);
  });

  it('have nothing to divide by in an empty text', () => {
    expect(Object.values(gopherMeasures('')).every((value) => value === 0)).toBe(true);
    expect(reasons(gopherQuality(), '')).toEqual(['too few words']);
  });

  const repeated = (word: string, count: number): string => new Array<string>(count).fill(word).join(' ');
  it.each([
    ['too few words', repeated('word', 49), repeated('word', 50), { ...open, minWords: 50 }],
    ['too many words', repeated('word', 21), repeated('word', 20), { ...open, maxWords: 20 }],
    ['words too short', 'ab ab abcde ab', 'ab abcd', { ...open, minWordLength: 3 }],
    ['words too long', repeated('abcdefghijk', 9), repeated('abcdefghij', 9), { ...open, maxWordLength: 10 }],
    ['too many hash signs', '#a b c d e #f g h i j', '#a b c d e f g h i j', open],
    ['too many ellipses', 'a... b c d e… f g h i j', 'a... b c d e f g h i j', open],
    ['too many lines with bullets', '- a\n* b\n• c', '- a\n* b\n• c\nd', { ...open, maxBullets: 0.75 }],
    ['too many lines end with an ellipsis', 'a…\nb\nc', 'a…\nb\nc\nd', { ...open, maxSymbols: 1, maxEllipses: 0.25 }],
    ['too few words with letters', 'a b c 1 2', 'a b c d 2', { ...open, minAlphabetic: 0.8 }],
    ['too few stop words', 'the the', 'the and', { ...open, minStopWords: 2 }],
  ])('%s', (reason, broken, fine, options) => {
    expect(reasons(gopherQuality(options), broken, fine)).toEqual([reason, undefined]);
  });

  it('have the thresholds of the paper', () => {
    expect({ ...gopherDefaults, stopWords: gopherDefaults.stopWords.length }).toEqual({
      minWords: 50,
      maxWords: 100_000,
      minWordLength: 3,
      maxWordLength: 10,
      maxSymbols: 0.1,
      maxBullets: 0.9,
      maxEllipses: 0.3,
      minAlphabetic: 0.8,
      minStopWords: 2,
      stopWords: 8,
    });
  });
});

describe('the rules of Gopher for repetition', () => {
  /** By the definitions, on words of one letter as long as they like. */
  function slowTop(list: readonly string[], n: number): number {
    const grams = new Map<string, number[]>();
    for (let i = 0; i + n <= list.length; i++) {
      const gram = list.slice(i, i + n).join(' ');
      const starts = grams.get(gram) ?? [];
      grams.set(gram, starts);
      if (starts.length === 0 || i >= starts.at(-1)! + n) starts.push(i);
    }
    const most = Math.max(0, ...[...grams.values()].map((starts) => starts.length));
    if (most < 2) return 0;
    const mostFrequent = [...grams].filter(([, starts]) => starts.length === most).map(([gram]) => gram.replaceAll(' ', ''));
    return Math.max(...mostFrequent.map((gram) => gram.length * most)) / list.join('').length;
  }

  function slowDuplicate(list: readonly string[], n: number): number {
    const seen = new Set<string>();
    const covered = new Set<number>();
    for (let i = 0; i + n <= list.length; i++) {
      const gram = list.slice(i, i + n).join(' ');
      if (seen.has(gram)) for (let j = i; j < i + n; j++) covered.add(j);
      seen.add(gram);
    }
    return list.length === 0 ? 0 : [...covered].reduce((sum, i) => sum + list[i]!.length, 0) / list.join('').length;
  }

  it('count what the definitions say', () => {
    for (let trial = 0; trial < 400; trial++) {
      const word = (): string => random.pick(['a', 'bb', 'ccc', 'dddd']).slice(0, 1 + random.integer(4));
      const list = Array.from({ length: random.integer(40) }, word);
      const text = list.join(random.pick([' ', ', ', '\n']));
      const n = 2 + random.integer(5);
      expect(topShare(text, n), text).toBeCloseTo(slowTop(list, n), 12);
      expect(duplicateShare(text, n), text).toBeCloseTo(slowDuplicate(list, n), 12);
    }
  });

  it('find half of a text that is said twice, and nothing in one that is said once', () => {
    const once = unlike(30);
    expect(duplicateShare([...once, ...once].join(' '), 5)).toBeCloseTo(0.5, 12);
    expect(duplicateShare(once.join(' '), 5)).toBe(0);
    expect(topShare(once.join(' '), 2)).toBe(0);
    expect(topShare('la la la la', 2)).toBe(1);
  });

  it('count lines and paragraphs, but not empty ones', () => {
    expect(repeatedParts('a\n\nbb\na\n\n a \nccc', '\n')).toEqual({ share: 2 / 5, characters: 2 / 8 });
    expect(repeatedParts('a\nb\n\nc\n\na\nb', '\n\n')).toEqual({ share: 1 / 3, characters: 3 / 7 });
    expect(repeatedParts('', '\n')).toEqual({ share: 0, characters: 0 });
    expect(repeatedParts('\n \n', '\n')).toEqual({ share: 0, characters: 0 });
  });

  const lines = (...list: string[]): string => list.join('\n');
  const [a, b, c, d] = [0, 1, 2, 3].map(() => unlike(4).join(' ')) as [string, string, string, string];
  const off = { maxTop: {}, maxDuplicate: {} };
  const linesOff = { maxLines: 1, maxLineCharacters: 1 };
  it.each([
    ['repeated lines', lines('x', 'x', a, b), lines('x', 'x', a, b, c), { ...off, maxLines: 0.24 }],
    ['characters in repeated lines', lines(a, a, b), lines(a, a, b, c, d), { ...off, maxLines: 1 }],
    ['repeated paragraphs', `x\n\nx\n\n${a}`, `x\n\nx\n\n${a}\n\n${b}`, { ...off, maxLines: 1, maxParagraphs: 0.3 }],
    ['characters in repeated paragraphs', `${a}\n\n${a}\n\n${b}`, `${a}\n\n${b}`, { ...off, ...linesOff, maxParagraphs: 1 }],
    ['the most frequent 3 words', `${a} ${a} ${a}`, `${a} ${b}`, { maxTop: { 3: 0.18 }, maxDuplicate: {} }],
    ['repeated 5 words', unlike(8).join(' ').repeat(3), unlike(24).join(' '), { maxTop: {} }],
  ])('%s', (reason, broken, fine, options) => {
    expect(reasons(gopherRepetition(options), broken, fine)).toEqual([reason, undefined]);
  });

  it('the table does not remember the text before, nor how long it was', () => {
    const long = unlike(5000);
    expect(duplicateShare(long.join(' '), 5)).toBe(0);
    expect(duplicateShare(long.slice(0, 50).join(' '), 5)).toBe(0);
    expect(duplicateShare(long.join(' '), 6)).toBe(0);
  });
});

describe('boilerplate by its wording', () => {
  const prose = 'A fox lived under the oak and was very kind to all the birds of the wood.';

  it.each([
    'Home | About us | Contact',
    'Home » News » 2024',
    'Skip to main content',
    'Click here to see more',
    'Copyright 2023 Acme Corp.',
    '© 2024 The Daily Story. All rights reserved.',
    'This website uses cookies to give you the best experience.',
    'This release contains forward-looking statements within the meaning of the law.',
    'Past performance is not a guide to the future.',
    'Lorem ipsum dolor sit amet',
  ])('%s', (line) => {
    expect(kept(boilerplate(), `${line}\n${prose}\n\n${prose} Truly.`)).toEqual([`${prose}\n\n${prose} Truly.`]);
    expect(reasons(boilerplate(), line)).toEqual(['mostly boilerplate']);
  });

  it('leaves prose alone', () => {
    const texts = [...tales, 'He came home.', 'The news was good, and she went to search for help.', prose];
    expect(kept(boilerplate(), ...texts)).toEqual(texts);
  });

  it('keeps up to the largest share', () => {
    const text = `Back to top\n${'x'.repeat(11)}`;
    expect(kept(boilerplate(), text)).toEqual(['x'.repeat(11)]);
    expect(reasons(boilerplate({ maxShare: 0.49 }), text)).toEqual(['mostly boilerplate']);
  });

  it('takes other patterns', () => {
    const patterns = [{ kind: 'price', pattern: /^\$\d+$/ }];
    expect(kept(boilerplate({ patterns }), 'a text\n$12\nClick here')).toEqual(['a text\nClick here']);
  });
});

describe('lines that many documents share', () => {
  const bodies = Array.from({ length: 12 }, () => unlike(8).join(' '));

  it('are cut where they stand in so many documents, and not where they stand in fewer', () => {
    const texts = bodies.map((body, i) => `The header of this site\n${body}${i < 9 ? '\nA line of nine pages' : ''}`);
    const cut = texts.map((text) => text.replace('The header of this site\n', ''));
    expect(kept(commonLines({ documents: 10 }), ...texts)).toEqual(cut);
    expect(kept(commonLines({ documents: 9 }), ...texts)).toEqual(bodies);
    expect(kept(commonLines({ documents: 13 }), ...texts)).toEqual(texts);
  });

  it('count once in a document, however often they come there', () => {
    const text = new Array<string>(50).fill('again and again and again').join('\n');
    expect(kept(commonLines({ documents: 2 }), text, ...bodies)).toEqual([text, ...bodies]);
  });

  it('short ones do not count', () => {
    const texts = bodies.map((body) => `- - -\n${body}`);
    expect(kept(commonLines(), ...texts)).toEqual(texts);
    expect(kept(commonLines({ minLength: 5 }), ...texts)).toEqual(bodies);
  });

  it('take the document with them when there is little else', () => {
    const texts = bodies.map(() => 'The header of this site');
    const all = reasons(commonLines(), ...texts, bodies[0]!);
    expect(all).toEqual([...texts.map(() => 'mostly lines that many documents share'), undefined]);
  });

  it.each([1, 256, 2.5])('refuses the number of documents %s', (documents) => {
    expect(() => commonLines({ documents })).toThrow(/documents must be a whole number from 2 to 255/);
  });
});

describe('the table of line counts', () => {
  it('never counts too low, rarely too high, and says how rarely', () => {
    const counts = new LineCounts(12, 3);
    const truth = new Map<string, number>();
    for (let i = 0; i < 6000; i++) {
      const line = `line ${Math.floor(3000 * random.uniform() ** 3)}`;
      truth.set(line, (truth.get(line) ?? 0) + 1);
      counts.add(line);
    }
    let high = 0;
    for (const [line, count] of truth) {
      expect(counts.count(line)).toBeGreaterThanOrEqual(Math.min(255, count));
      if (counts.count(line) > count) high++;
    }
    expect(high / truth.size).toBeLessThan(0.1);
    const strangers = Array.from({ length: 20_000 }, (_, i) => counts.count(`stranger ${i}`) >= 1).filter(Boolean).length;
    const risk = counts.confusion(1);
    expect(Math.abs(strangers / 20_000 - risk)).toBeLessThan(5 * Math.sqrt((risk * (1 - risk)) / 20_000));
    expect(risk).toBeGreaterThan(0.01);
    expect(risk).toBeLessThan(0.3);
  });

  it('stops at 255', () => {
    const counts = new LineCounts(8, 1);
    for (let i = 0; i < 400; i++) counts.add('a');
    expect(counts.count('a')).toBe(255);
    expect(counts.count('b')).toBe(0);
  });
});
