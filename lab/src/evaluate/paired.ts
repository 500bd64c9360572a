/**
 * @file Is one model better than another, or only luckier? Tests on the same items, item by item.
 * McNemar 1947 (exact form); paired bootstrap: Koehn 2004, Berg-Kirkpatrick et al. 2012; permutation by exchange: Fisher 1935,
 * for language models Dror et al. 2018.
 */
import { invariant, LabError, Random } from '../base/index.ts';
import { type BootstrapOptions, forEachResample, type ConfidenceInterval, mean, quantile } from './bootstrap.ts';

export interface McNemar {
  /** Items that only the first model got right. */
  readonly onlyFirst: number;
  /** Items that only the second got right. */
  readonly onlySecond: number;
  /** Two-sided: how often would fair coins part the items on which they differ at least as unevenly? */
  readonly pValue: number;
}

/**
 * McNemar's exact test: items that both got right, or both wrong, say nothing; of the n others the first one has b,
 * and under equality b is binomial (n, ½).
 */
export function mcnemar(first: readonly boolean[], second: readonly boolean[]): McNemar {
  checkPairs('mcnemar', first, second);
  const onlyFirst = first.filter((right, i) => right && !second[i]).length;
  const onlySecond = second.filter((right, i) => right && !first[i]).length;
  const n = onlyFirst + onlySecond;
  // Σ_{k ≤ min} C(n, k) 2^−n, each term from the one before in logarithms: 2^−n alone would vanish for n > 1074.
  let logTerm = -n * Math.LN2;
  let tail = Math.exp(logTerm);
  for (let k = 1; k <= Math.min(onlyFirst, onlySecond); k++) {
    logTerm += Math.log(n - k + 1) - Math.log(k);
    tail += Math.exp(logTerm);
  }
  return { onlyFirst, onlySecond, pValue: Math.min(1, 2 * tail) };
}

export interface PairedDifference {
  /** Mean score of the second minus that of the first. */
  readonly difference: number;
  readonly interval: ConfidenceInterval;
  /** Two-sided: twice the share of the test sets on which the difference is not on the side where it is found. */
  readonly pValue: number;
}

/** Draws test sets on which both models are scored, and looks how the difference of their mean scores spreads. */
export function pairedBootstrap(
  first: readonly number[],
  second: readonly number[],
  options: BootstrapOptions = {},
): PairedDifference {
  const { level = 0.95, resamples = 1000 } = options;
  checkPairs('pairedBootstrap', first, second);
  invariant(level > 0 && level < 1, `pairedBootstrap: level must be between 0 and 1, got ${level}`);
  const gains = second.map((score, i) => score - first[i]!);
  const found: number[] = [];
  forEachResample(gains.length, options, (indices) => found.push(mean(indices.map((i) => gains[i]!))));
  found.sort((a, b) => a - b);
  const interval = { low: quantile(found, (1 - level) / 2), high: quantile(found, (1 + level) / 2), level };
  const notAbove = found.filter((value) => value <= 0).length;
  const notBelow = found.filter((value) => value >= 0).length;
  // One more in both: the test set that was really seen is one of those that could have been.
  const pValue = Math.min(1, (2 * (Math.min(notAbove, notBelow) + 1)) / (resamples + 1));
  return { difference: mean(gains), interval, pValue };
}

export interface PermutationOptions {
  /** Exchanges that are drawn when there are too many to try them all (default 10,000). */
  readonly resamples?: number;
  readonly seed?: number;
}

export interface PermutationTest {
  /** Mean score of the second minus that of the first. */
  readonly difference: number;
  /** Two-sided: among all ways to say which model is which, item by item, the share with at least this difference. */
  readonly pValue: number;
  /** Whether all ways were tried. */
  readonly exact: boolean;
}

/** All 2^n exchanges are tried up to so many items that differ. */
const EXACT_UP_TO = 14;

/** The paired permutation test: if the models were equal, their scores on any item could be exchanged. */
export function pairedPermutation(
  first: readonly number[],
  second: readonly number[],
  options: PermutationOptions = {},
): PermutationTest {
  const { resamples = 10_000, seed = 0 } = options;
  checkPairs('pairedPermutation', first, second);
  invariant(Number.isInteger(resamples) && resamples >= 1, `pairedPermutation: resamples must be from 1 on, got ${resamples}`);
  const gains = second.map((score, i) => score - first[i]!);
  const difference = mean(gains);
  // Exchanging equal scores changes nothing.
  const moving = gains.filter((gain) => gain !== 0);
  const total = Math.abs(moving.reduce((sum, gain) => sum + gain, 0));
  // Sums of the same numbers in another order may differ in their last bits.
  const isAsLarge = (sum: number) => Math.abs(sum) >= total * (1 - 1e-12);
  const exact = moving.length <= EXACT_UP_TO;
  if (exact) {
    let asLarge = 0;
    const ways = 2 ** moving.length;
    for (let way = 0; way < ways; way++) {
      if (isAsLarge(moving.reduce((sum, gain, i) => sum + ((way >> i) & 1 ? -gain : gain), 0))) asLarge++;
    }
    return { difference, pValue: asLarge / ways, exact };
  }
  const random = new Random(seed);
  let asLarge = 1;
  for (let i = 0; i < resamples; i++) {
    if (isAsLarge(moving.reduce((sum, gain) => sum + (random.integer(2) === 1 ? -gain : gain), 0))) asLarge++;
  }
  return { difference, pValue: asLarge / (resamples + 1), exact };
}

function checkPairs(who: string, first: readonly unknown[], second: readonly unknown[]): void {
  if (first.length === second.length && first.length > 0) return;
  throw new LabError(
    `${who}: ${first.length} scores of the first model, ${second.length} of the second; both on the same items are wanted.`,
  );
}
