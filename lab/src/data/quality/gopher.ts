/**
 * @file The quality rules of Gopher: what is not prose at all. Rae et al. 2021, appendix A.1.1.
 */
import type { QualityFilter, Removal } from './filter.ts';
import { ALONE, chain, characters, DIGIT, HASH_SEED, LETTER, SPACE } from './words.ts';

/** Every bound is the last value that is still kept. The rules are made for languages with spaces between words. */
export interface GopherOptions {
  /** Words (default 50). */
  readonly minWords?: number;
  /** Words (default 100,000). */
  readonly maxWords?: number;
  /** Mean characters of a word (default 3). */
  readonly minWordLength?: number;
  /** Mean characters of a word (default 10). */
  readonly maxWordLength?: number;
  /** Hash signs to words, and ellipses to words (default 0.1). */
  readonly maxSymbols?: number;
  /** The share of lines that begin with a bullet (default 0.9). */
  readonly maxBullets?: number;
  /** The share of lines that end with an ellipsis (default 0.3). */
  readonly maxEllipses?: number;
  /** The share of what stands between spaces that has a letter in it (default 0.8). */
  readonly minAlphabetic?: number;
  /** How many different ones of `stopWords` there are (default 2). */
  readonly minStopWords?: number;
  /** Words that no English text does without (default: the, be, to, of, and, that, have, with). */
  readonly stopWords?: readonly string[];
}

export const gopherDefaults = {
  minWords: 50,
  maxWords: 100_000,
  minWordLength: 3,
  maxWordLength: 10,
  maxSymbols: 0.1,
  maxBullets: 0.9,
  maxEllipses: 0.3,
  minAlphabetic: 0.8,
  minStopWords: 2,
  stopWords: ['the', 'be', 'to', 'of', 'and', 'that', 'have', 'with'],
} as const satisfies Required<GopherOptions>;

/** What the rules look at. */
export interface GopherMeasures {
  /** What stands between spaces and has a letter or a digit. */
  readonly words: number;
  /** Mean characters of a word, its punctuation included. */
  readonly wordLength: number;
  /** Hash signs to everything between spaces. */
  readonly hashes: number;
  /** `...` and `…` to everything between spaces. */
  readonly ellipses: number;
  readonly bulletLines: number;
  readonly ellipsisLines: number;
  readonly alphabetic: number;
  readonly stopWords: number;
}

export function gopherMeasures(text: string, stopWords: readonly string[] = gopherDefaults.stopWords): GopherMeasures {
  const tokens = scan(text, new Map(stopWords.map((word, i) => [letterHash(word), i])));
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const share = (count: number, total: number): number => (total === 0 ? 0 : count / total);
  const bullets = lines.filter((line) => /^\s*[•‣◦*-]/.test(line)).length;
  const ellipses = lines.filter((line) => /(?:\.\.\.|…)\s*$/.test(line)).length;
  return {
    words: tokens.words,
    wordLength: share(tokens.characters, tokens.words),
    hashes: share(tokens.hashes, tokens.all),
    ellipses: share(countOf(text, '...') + countOf(text, '…'), tokens.all),
    bulletLines: share(bullets, lines.length),
    ellipsisLines: share(ellipses, lines.length),
    alphabetic: share(tokens.alphabetic, tokens.all),
    stopWords: tokens.stopWords,
  };
}

interface Tokens {
  /** Everything that stands between spaces. */
  all: number;
  words: number;
  /** Characters of the words. */
  characters: number;
  alphabetic: number;
  hashes: number;
  /** Different stop words. */
  stopWords: number;
}

/** One walk over the text; a word is known as a stop word by the hash of its letters. */
function scan(text: string, stopWords: ReadonlyMap<number, number>): Tokens {
  const { kinds, lower } = characters();
  const tokens: Tokens = { all: 0, words: 0, characters: 0, alphabetic: 0, hashes: 0, stopWords: 0 };
  const seen = new Set<number>();
  let [length, letters, digits, hash] = [0, 0, 0, HASH_SEED];
  for (let i = 0; i <= text.length; i++) {
    const unit = i < text.length ? text.charCodeAt(i) : 0x20;
    const kind = kinds[unit]!;
    if (kind !== SPACE) {
      length++;
      if (kind === LETTER || kind === ALONE) {
        letters++;
        hash = chain(hash, lower[unit]!);
      } else if (kind === DIGIT) digits++;
      else if (unit === 0x23) tokens.hashes++;
      continue;
    }
    if (length === 0) continue;
    tokens.all++;
    if (letters > 0) tokens.alphabetic++;
    if (letters + digits > 0) {
      tokens.words++;
      tokens.characters += length;
    }
    const stopWord = stopWords.get(hash);
    if (stopWord !== undefined) seen.add(stopWord);
    length = letters = digits = 0;
    hash = HASH_SEED;
  }
  tokens.stopWords = seen.size;
  return tokens;
}

function letterHash(word: string): number {
  const { kinds, lower } = characters();
  let hash = HASH_SEED;
  for (let i = 0; i < word.length; i++) {
    const unit = word.charCodeAt(i);
    if (kinds[unit] === LETTER || kinds[unit] === ALONE) hash = chain(hash, lower[unit]!);
  }
  return hash;
}

function countOf(text: string, part: string): number {
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count++;
  return count;
}

type Bounds = Required<Omit<GopherOptions, 'stopWords'>>;

/** Removes what breaks a rule, naming the first one. */
export function gopherQuality(options: GopherOptions = {}): QualityFilter {
  const { stopWords, ...bounds } = { ...gopherDefaults, ...options };
  return {
    name: 'Gopher quality',
    settings: { ...bounds, stopWords },
    judge: ({ text }) => firstBroken(gopherMeasures(text, stopWords), bounds),
  };
}

function firstBroken(m: GopherMeasures, b: Bounds): Removal | undefined {
  if (m.words < b.minWords) return { reason: 'too few words', detail: `${m.words}; at least ${b.minWords}` };
  if (m.words > b.maxWords) return { reason: 'too many words', detail: `${m.words}; at most ${b.maxWords}` };
  if (m.wordLength < b.minWordLength) return below('words too short', m.wordLength, b.minWordLength);
  if (m.wordLength > b.maxWordLength) return above('words too long', m.wordLength, b.maxWordLength);
  if (m.hashes > b.maxSymbols) return above('too many hash signs', m.hashes, b.maxSymbols);
  if (m.ellipses > b.maxSymbols) return above('too many ellipses', m.ellipses, b.maxSymbols);
  if (m.bulletLines > b.maxBullets) return above('too many lines with bullets', m.bulletLines, b.maxBullets);
  if (m.ellipsisLines > b.maxEllipses) return above('too many lines end with an ellipsis', m.ellipsisLines, b.maxEllipses);
  if (m.alphabetic < b.minAlphabetic) return below('too few words with letters', m.alphabetic, b.minAlphabetic);
  if (m.stopWords >= b.minStopWords) return undefined;
  return { reason: 'too few stop words', detail: `${m.stopWords}; at least ${b.minStopWords}` };
}

export function above(reason: string, value: number, most: number): Removal {
  return { reason, detail: `${Number(value.toFixed(3))}; at most ${most}` };
}

function below(reason: string, value: number, least: number): Removal {
  return { reason, detail: `${Number(value.toFixed(3))}; at least ${least}` };
}
