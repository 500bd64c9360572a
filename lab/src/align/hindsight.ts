/**
 * @file Chain of hindsight: the model reads a good and a bad answer to the same prompt, each named as what it is, and learns
 * to write either; asked for a good one, it writes one. Liu et al. 2023, sections 2 and 3.
 */
import { invariant, LabError, Random } from '../base/index.ts';
import type { TokenDataset } from '../data/index.ts';
import type { Sample } from './completions.ts';
import type { PreferencePair } from './direct-preference.ts';

/** What stands before an answer and says how good it is; token ids. Never learned. */
export interface HindsightMarks {
  readonly good: readonly number[];
  readonly bad: readonly number[];
}

/**
 * Each pair in both orders: prompt, mark, answer, mark, answer. Both answers count, the marks do not. In the first order the
 * model learns to do better than what it has just read.
 */
export function hindsightSamples(pairs: readonly PreferencePair[], { good, bad }: HindsightMarks): Sample[] {
  if (good.join() === bad.join()) throw new LabError('hindsightSamples: the marks of good and bad answers are the same.');
  return pairs.flatMap(({ prompt, chosen, rejected }) => {
    const better = { mark: good, answer: chosen };
    const worse = { mark: bad, answer: rejected };
    return [[worse, better], [better, worse]].map((order) => {
      const [first, second] = order as [typeof better, typeof better];
      return {
        prompt: [...prompt, ...first.mark],
        completion: [...first.answer, ...second.mark, ...second.answer],
        counts: [...first.answer.map(() => 1), ...second.mark.map(() => 0), ...second.answer.map(() => 1)],
      };
    });
  });
}

/** Asks for a good answer. */
export function hindsightPrompt(prompt: readonly number[], { good }: HindsightMarks): number[] {
  return [...prompt, ...good];
}

/** Windows of the text that the model first learned from, all of whose tokens count: mixed in, so that it is not forgotten. */
export function pretrainingSamples(
  text: TokenDataset,
  { count, length, seed = 0 }: { readonly count: number; readonly length: number; readonly seed?: number },
): Sample[] {
  invariant(length >= 2 && length <= text.length, `pretrainingSamples: windows of ${length} tokens, a text of ${text.length}`);
  const random = new Random(seed);
  return Array.from({ length: count }, () => {
    const start = random.integer(text.length - length + 1);
    const [first, ...rest] = text.ids.subarray(start, start + length);
    return { prompt: [first!], completion: rest };
  });
}
