/**
 * @file How sure is a score? The bootstrap: the test set is drawn again from itself, with replacement, and the spread of the
 * scores on these is taken for the spread over test sets. Efron 1979; percentile intervals: Efron and Tibshirani 1993,
 * section 13.3.
 */
import { invariant, LabError, Random } from '../base/index.ts';

export interface BootstrapOptions {
  /** How many test sets are drawn (default 1000). */
  readonly resamples?: number;
  /** Share of them between the ends of the interval (default 0.95). */
  readonly level?: number;
  /** Decides what is drawn (default 0). */
  readonly seed?: number;
}

export interface ConfidenceInterval {
  readonly low: number;
  readonly high: number;
  readonly level: number;
}

/**
 * The percentile interval of any statistic of the items.
 *
 * @param items what was scored, each on its own: `{ truth, predicted }`, a number, …
 * @param statistic of a test set as large as the given one
 */
export function bootstrapInterval<T>(
  items: readonly T[],
  statistic: (sample: readonly T[]) => number,
  options: BootstrapOptions = {},
): ConfidenceInterval {
  const { level = 0.95 } = options;
  invariant(level > 0 && level < 1, `bootstrapInterval: level must be between 0 and 1, got ${level}`);
  const values: number[] = [];
  forEachResample(items.length, options, (indices) => values.push(statistic(indices.map((i) => items[i]!))));
  values.sort((a, b) => a - b);
  return { low: quantile(values, (1 - level) / 2), high: quantile(values, (1 + level) / 2), level };
}

/** @throws LabError for no items. */
export function forEachResample(
  count: number,
  { resamples = 1000, seed = 0 }: BootstrapOptions,
  visit: (indices: readonly number[]) => void,
): void {
  if (count === 0) throw new LabError('There are no items to draw from: score one or more.');
  invariant(Number.isInteger(resamples) && resamples >= 1, `resamples must be a whole number from 1 on, got ${resamples}`);
  const random = new Random(seed);
  for (let i = 0; i < resamples; i++) visit(Array.from({ length: count }, () => random.integer(count)));
}

/**
 * Between the two nearest of the sorted values, linearly: the definition of numpy's `quantile`.
 *
 * @param sorted rising, one or more
 * @param q 0 … 1
 */
export function quantile(sorted: readonly number[], q: number): number {
  invariant(sorted.length > 0 && q >= 0 && q <= 1, `quantile: ${sorted.length} values, q ${q}`);
  const place = (sorted.length - 1) * q;
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (sorted[above]! - sorted[below]!) * (place - below);
}

export function mean(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}
