/**
 * @file How sure is a share, and a mean of few runs? Closed forms, where the bootstrap has too little to draw from.
 * Wilson 1927 (shares); Student 1908 (means).
 */
import { invariant, LabError } from '../base/index.ts';
import { mean, type ConfidenceInterval } from './bootstrap.ts';

/** 97.5% of a normal distribution lie below so many standard deviations. */
const Z = 1.959963984540054;

/** The same of Student's distribution with 1, 2, … 10 degrees of freedom. */
const STUDENT = [12.7062, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.306, 2.26216, 2.22814];

/** Wilson's interval of a share, 95%: it stays inside 0 … 1, and has a width where all or none are successes. */
export function proportionInterval(successes: number, count: number): ConfidenceInterval {
  invariant(
    Number.isInteger(successes) && Number.isInteger(count) && successes >= 0 && count >= successes,
    `proportionInterval: ${successes} of ${count} is no share`,
  );
  if (count === 0) return { low: 0, high: 1, level: 0.95 };
  const share = successes / count;
  const scale = 1 + Z ** 2 / count;
  const middle = (share + Z ** 2 / (2 * count)) / scale;
  const reach = (Z / scale) * Math.sqrt((share * (1 - share)) / count + Z ** 2 / (4 * count ** 2));
  return { low: Math.max(0, middle - reach), high: Math.min(1, middle + reach), level: 0.95 };
}

export interface MeanOfRuns {
  readonly mean: number;
  /** Student's, 95%: ± t s / √n. */
  readonly interval: ConfidenceInterval;
}

/**
 * The mean of runs that differ in their seeds, or of their differences, pair by pair. With three of them t is 4.3: what comes
 * out as sure is large against how much the runs differ.
 *
 * @throws LabError for no run; for a single one the interval is infinite.
 */
export function meanOfRuns(values: readonly number[]): MeanOfRuns {
  if (values.length === 0) throw new LabError('There is no run to take a mean of.');
  const middle = mean(values);
  if (values.length === 1) return { mean: middle, interval: { low: -Infinity, high: Infinity, level: 0.95 } };
  const variance = values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1);
  const reach = studentQuantile(values.length - 1) * Math.sqrt(variance / values.length);
  return { mean: middle, interval: { low: middle - reach, high: middle + reach, level: 0.95 } };
}

/** Beyond the table: the expansion of Fisher and Cornish in 1 / degrees, off by less than 0.003. */
function studentQuantile(degrees: number): number {
  const first = (Z ** 3 + Z) / (4 * degrees);
  const second = (5 * Z ** 5 + 16 * Z ** 3 + 3 * Z) / (96 * degrees ** 2);
  return STUDENT[degrees - 1] ?? Z + first + second;
}
