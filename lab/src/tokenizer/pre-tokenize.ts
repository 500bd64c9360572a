/**
 * @file Pre-tokenizers: cut a text into words that no token crosses, so that "dog." does not become a token of its own
 * and a long text is many small problems.
 *
 * The pieces, joined, are the text again. Spaces stand at the beginning of a word: " dog".
 */
import { LabError } from '../base/index.ts';

/** `\s` in JavaScript also means U+FEFF and leaves U+0085 out; White_Space is what other languages mean. */
const SPACE = '\\p{White_Space}';
const CONTRACTION = "'(?:[sdmt]|ll|ve|re)";
/** In either case; the long s (ſ) is an s in Unicode's eyes. */
const CONTRACTION_OF_ANY_CASE = "'(?:[sSſtTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])";
const LETTERS = ' ?\\p{L}+';
const OTHERS = ` ?[^${SPACE}\\p{L}\\p{N}]+`;

/**
 * - `gpt2`: contractions, words, numbers, runs of other signs; the last of several spaces goes with the next word.
 *   Radford et al. 2019, in the pattern of the published code.
 * - `digits`: the same with every digit on its own, so that numbers are spelled alike wherever they stand (Llama).
 * - `llama3`: contractions of any case; a sign goes with the word behind it, line breaks with the signs before them; numbers in
 *   groups of three digits from the left. Llama 3, in the pattern of its tokenizer.json.
 * - `qwen2`: the same with every digit on its own. Qwen2, in the pattern of its tokenizer.json.
 * - `bloomberg`: runs of ASCII letters and spaces, single digits, runs of anything else: a token may hold several words.
 *   Wu et al. 2023 (BloombergGPT), section 2.3.
 * - `none`: the whole text is one word.
 */
const patterns = {
  gpt2: new RegExp(`${CONTRACTION}|${LETTERS}| ?\\p{N}+|${OTHERS}|${SPACE}+(?!\\P{White_Space})|${SPACE}+`, 'gu'),
  digits: new RegExp(`${CONTRACTION}|${LETTERS}|\\p{N}|${OTHERS}|${SPACE}+(?![^${SPACE}\\p{N}])|${SPACE}+`, 'gu'),
  llama3: modernPattern('\\p{N}{1,3}'),
  qwen2: modernPattern('\\p{N}'),
  bloomberg: /[ A-Za-z]+|[0-9]|[^ A-Za-z0-9]+/gu,
  none: /[^]+/gu,
} as const;

function modernPattern(numbers: string): RegExp {
  const parts = [
    CONTRACTION_OF_ANY_CASE,
    '[^\\r\\n\\p{L}\\p{N}]?\\p{L}+',
    numbers,
    `${OTHERS}[\\r\\n]*`,
    `${SPACE}*[\\r\\n]+`,
    `${SPACE}+(?!\\P{White_Space})`,
    `${SPACE}+`,
  ];
  return new RegExp(parts.join('|'), 'gu');
}

export type PreTokenizer = keyof typeof patterns;

export const preTokenizers = Object.keys(patterns) as readonly PreTokenizer[];

/** @throws LabError when there is none of that name. */
export function checkPreTokenizer(name: unknown): PreTokenizer {
  if (typeof name === 'string' && Object.hasOwn(patterns, name)) return name as PreTokenizer;
  throw new LabError(`There is no pre-tokenizer ${JSON.stringify(name)}; known: ${preTokenizers.join(', ')}.`);
}

/**
 * Calls `visit` with each word, in order. The patterns leave no gap, so a word reaches from the end of the one before.
 *
 * @param complete false when more text follows: then the last two words are held back, since what follows can change them
 * (a space joins the next word, `'` and `l` become `'ll`), and no earlier one
 * @returns how many code units of the text the visited words were
 */
export function forEachWord(text: string, name: PreTokenizer, visit: (word: string) => void, complete = true): number {
  const pattern = patterns[name];
  pattern.lastIndex = 0;
  // Two words are held back: text[first, second) and text[second, end).
  let first = 0;
  let second = 0;
  let end = 0;
  while (pattern.test(text)) {
    if (second > first) visit(text.slice(first, second));
    first = second;
    second = end;
    end = pattern.lastIndex;
  }
  if (!complete) return first;
  if (second > first) visit(text.slice(first, second));
  if (end > second) visit(text.slice(second, end));
  return end;
}

/**
 * The words of a text, in order.
 *
 * @example preTokenize("It's 2 dogs", 'gpt2') // ['It', "'s", ' 2', ' dogs']
 */
export function preTokenize(text: string, name: PreTokenizer = 'gpt2'): string[] {
  return text.match(patterns[checkPreTokenizer(name)]) ?? [];
}
