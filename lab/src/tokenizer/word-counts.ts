/**
 * @file The words of a training text and how often each comes: both trainers look at every different word only once.
 */
import { LabError } from '../base/index.ts';
import { detached } from './detached.ts';
import { forEachWord, type PreTokenizer } from './pre-tokenize.ts';
import { specialPattern } from './special-tokens.ts';
import { utf8Bytes } from './utf8.ts';

/** Different words, their bytes one after another. */
export interface WordCounts {
  readonly bytes: Uint8Array;
  /** Word w is bytes[starts[w]] … bytes[starts[w + 1] − 1]. */
  readonly starts: Int32Array;
  /** How often each word comes. */
  readonly counts: Float64Array;
}

/**
 * @param specialTokens separate words and are not counted
 * @throws LabError when there is no word.
 */
export function countWords(
  text: string | Iterable<string>,
  preTokenizer: PreTokenizer,
  specialTokens: readonly string[] = [],
): WordCounts {
  const numbers = new Map<string, number>();
  const counts: number[] = [];
  const count = (word: string): void => {
    const known = numbers.get(word);
    if (known !== undefined) counts[known]!++;
    else numbers.set(detached(word), counts.push(1) - 1);
  };
  const special = specialTokens.length > 0 ? specialPattern(specialTokens) : undefined;
  for (const whole of typeof text === 'string' ? [text] : text) {
    for (const part of special ? whole.split(special) : [whole]) forEachWord(part, preTokenizer, count);
  }
  if (counts.length === 0) throw new LabError('The training text is empty, so there is no token to learn.');
  return { ...joinWords([...numbers.keys()]), counts: Float64Array.from(counts) };
}

function joinWords(words: readonly string[]): { bytes: Uint8Array; starts: Int32Array } {
  const encoded = words.map(utf8Bytes);
  const starts = new Int32Array(words.length + 1);
  encoded.forEach((bytes, w) => (starts[w + 1] = starts[w]! + bytes.length));
  const bytes = new Uint8Array(starts.at(-1)!);
  encoded.forEach((word, w) => bytes.set(word, starts[w]));
  return { bytes, starts };
}

/** @throws LabError when a vocabulary of that size cannot hold every byte and the special tokens. */
export function checkVocabSize(vocabSize: number, specialTokens: readonly string[]): void {
  const least = 256 + specialTokens.length;
  if (Number.isSafeInteger(vocabSize) && vocabSize >= least) return;
  const special = specialTokens.length > 0 ? ` and ${specialTokens.length} special tokens` : '';
  throw new LabError(`vocabSize must be an integer of at least ${least}, for the 256 bytes${special}; got ${vocabSize}.`);
}
