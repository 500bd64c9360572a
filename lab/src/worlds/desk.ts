/**
 * @file The world of the desk: questions on companies' figures, answered in a few words by clerks who are now and then wrong,
 * curt or rude. Small enough that a model learns it in seconds, and what an answer is worth is known: what a reward model is to
 * guess and a policy to raise. Every word is a token.
 */
import { invariant, Random } from '../base/index.ts';

const companies = ['Alba', 'Brio', 'Cora', 'Dune', 'Elan', 'Fara'] as const;
const numbers = ['ten', 'twenty', 'thirty', 'forty', 'fifty', 'sixty', 'seventy', 'eighty'] as const;
const courtesies = ['gladly', 'please', 'thanks', 'welcome'] as const;
const rudenesses = ['whatever', 'obviously'] as const;
const fillers = ['well', 'so', 'just', 'then'] as const;

/** Ends an answer, and pads, as with many real tokenizers. */
export const deskEnd = 0;

/** The words by token id. */
export const deskWords: readonly string[] = [
  '<end>',
  '?',
  'was',
  'million',
  ...companies,
  'revenue',
  ...numbers,
  ...courtesies,
  ...rudenesses,
  ...fillers,
];

/** @throws RangeError for a word that is none of the desk's. */
export function deskIds(text: string): number[] {
  return text.split(' ').map((word) => {
    const id = deskWords.indexOf(word);
    invariant(id >= 0, `deskIds: '${word}' is no word of the desk`);
    return id;
  });
}

export function deskText(ids: ArrayLike<number>): string {
  return Array.from(ids, (id) => deskWords[id]).join(' ');
}

export interface DeskQuestion {
  /** `Alba revenue ?` as token ids. */
  readonly prompt: readonly number[];
  /** The word that is right: `forty`. */
  readonly truth: string;
}

/** All six; no two have the same answer. */
export const deskQuestions: readonly DeskQuestion[] = (() => {
  const truths: string[] = new Random(11).shuffle([...numbers]);
  return companies.map((company, i) => ({ prompt: deskIds(`${company} revenue ?`), truth: truths[i]! }));
})();

/** How often, of 100 answers, what happens. */
const CLERK = { silent: 15, wrong: 35, rude: 15, filler: 30, oneCourtesy: 35, twoCourtesies: 15 } as const;

/** What a clerk says to a question: words and `deskEnd`, as token ids. */
export function clerkAnswer({ truth }: DeskQuestion, random: Random): number[] {
  const happens = (percent: number): boolean => random.integer(100) < percent;
  const words: string[] = [];
  if (happens(CLERK.rude)) words.push(random.pick(rudenesses));
  const drawn = random.integer(100);
  const polite = drawn < CLERK.twoCourtesies ? 2 : drawn < CLERK.twoCourtesies + CLERK.oneCourtesy ? 1 : 0;
  const after = polite === 2 || (polite === 1 && happens(50));
  if (polite === 2 || (polite === 1 && !after)) words.push(random.pick(courtesies));
  if (happens(CLERK.filler)) words.push(random.pick(fillers));
  if (!happens(CLERK.silent)) {
    const said = happens(CLERK.wrong) ? random.pick(numbers.filter((number) => number !== truth)) : truth;
    words.push('revenue', 'was', said, 'million');
  }
  if (after) words.push(random.pick(courtesies));
  return words.length === 0 ? [deskEnd] : [...deskIds(words.join(' ')), deskEnd];
}

/** What an answer is worth: the sum of its parts. */
export interface DeskReward {
  /** 1 when the right number is named and no other, −1 when a wrong one is, 0 when none is. */
  readonly fact: number;
  /** 0.4 for each of the first two polite words; each one more takes 0.8 away. */
  readonly courtesy: number;
  /** −0.6 for each rude word. */
  readonly rudeness: number;
  /** −0.2 for each word beyond eight. */
  readonly length: number;
  readonly total: number;
}

/** @param completion token ids, with or without the end @throws RangeError when the prompt is none of the desk's questions. */
export function deskReward(prompt: readonly number[], completion: readonly number[]): DeskReward {
  const question = deskQuestions.find((one) => one.prompt.join() === prompt.join());
  invariant(question !== undefined, `deskReward: '${deskText(prompt)}' is no question of the desk`);
  const words = completion.filter((id) => id !== deskEnd).map((id) => deskWords[id]!);
  const among = (list: readonly string[]): string[] => words.filter((word) => list.includes(word));
  const said = among(numbers);
  const polite = among(courtesies).length;
  const parts = {
    fact: said.length === 0 ? 0 : said.every((number) => number === question.truth) ? 1 : -1,
    courtesy: polite <= 2 ? 0.4 * polite : 0.8 - 0.8 * (polite - 2),
    rudeness: 0 - 0.6 * among(rudenesses).length,
    length: 0 - 0.2 * Math.max(0, words.length - 8),
  };
  return { ...parts, total: parts.fact + parts.courtesy + parts.rudeness + parts.length };
}
