/**
 * @file Answers in words: equal after what does not matter is taken away, or as many of the right words as possible.
 * The rules are those of SQuAD's evaluator (Rajpurkar et al. 2016, section 6.1): no case, no punctuation, no articles, single
 * blanks.
 */

/** `The Net Income, ` → `net income`. */
export function normalizeAnswer(text: string): string {
  const words = text
    .toLowerCase()
    .replace(/[\p{P}\p{S}]/gu, '')
    .replace(/\b(?:a|an|the)\b/g, ' ');
  return words
    .split(/\s+/)
    .filter((word) => word !== '')
    .join(' ');
}

/** Whether two answers are the same after `normalizeAnswer`. */
export function exactMatch(answer: string, truth: string): boolean {
  return normalizeAnswer(answer) === normalizeAnswer(truth);
}

/** The harmonic mean of the share of the answer's words that are right and of the right words that are there, 0 … 1. */
export function wordF1(answer: string, truth: string): number {
  const [given, wanted] = [wordsOf(answer), wordsOf(truth)];
  if (given.length === 0 || wanted.length === 0) return given.length === wanted.length ? 1 : 0;
  const left = new Map<string, number>();
  for (const word of wanted) left.set(word, (left.get(word) ?? 0) + 1);
  let common = 0;
  for (const word of given) {
    const count = left.get(word) ?? 0;
    if (count > 0) common++;
    left.set(word, count - 1);
  }
  return (2 * common) / (given.length + wanted.length);
}

function wordsOf(text: string): string[] {
  return normalizeAnswer(text)
    .split(' ')
    .filter((word) => word !== '');
}
