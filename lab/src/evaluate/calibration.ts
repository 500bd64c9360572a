/**
 * @file Calibration: of the answers that a model gives with a confidence of 70%, are 70% right?
 * Guo et al. 2017 (expected calibration error, equal widths); Nguyen and O'Connor 2015, Roelofs et al. 2022 (equal masses);
 * Brier 1950.
 */
import { invariant } from '../base/index.ts';

export interface ReliabilityOptions {
  /** How many bins (default 15, as Guo et al.). */
  readonly bins?: number;
  /** Bins ((b − 1)/B, b/B] of equal width (default), or with equally many items, where equal confidences stay together. */
  readonly binning?: 'width' | 'mass';
}

export interface CalibrationBin {
  /** The bin's edges; with equal masses the smallest and the largest confidence in it. */
  readonly low: number;
  readonly high: number;
  readonly count: number;
  /** Mean confidence of its items. */
  readonly confidence: number;
  /** Share of them that are right. */
  readonly accuracy: number;
}

export interface Calibration {
  /** Expected calibration error: the mean of |accuracy − confidence| over the items' bins. */
  readonly expectedError: number;
  /** The same of the worst bin. */
  readonly maximumError: number;
  /** The reliability table: the bins that have items, from unsure to sure. */
  readonly bins: readonly CalibrationBin[];
}

/**
 * @param confidences how sure the model was of each answer, 0 … 1
 * @param correct whether the answer was right
 */
export function calibration(
  confidences: readonly number[],
  correct: readonly boolean[],
  options: ReliabilityOptions = {},
): Calibration {
  const { bins = 15, binning = 'width' } = options;
  checkProbabilities('calibration', confidences, correct.length);
  invariant(Number.isInteger(bins) && bins >= 1, `calibration: bins must be a whole number from 1 on, got ${bins}`);
  const items = confidences.map((confidence, i) => ({ confidence, right: correct[i] ? 1 : 0 }));
  items.sort((a, b) => a.confidence - b.confidence);
  const groups = binning === 'width' ? byWidth(items, bins) : byMass(items, bins);
  const rows = groups.filter(({ members }) => members.length > 0).map(summary);
  const gaps = rows.map((row) => Math.abs(row.accuracy - row.confidence));
  return {
    expectedError: rows.reduce((total, row, i) => total + (row.count / items.length) * gaps[i]!, 0),
    maximumError: Math.max(...gaps),
    bins: rows,
  };
}

interface Item {
  readonly confidence: number;
  readonly right: number;
}

interface Group {
  readonly low: number;
  readonly high: number;
  readonly members: readonly Item[];
}

function byWidth(items: readonly Item[], bins: number): Group[] {
  return Array.from({ length: bins }, (_, bin) => {
    const [low, high] = [bin / bins, (bin + 1) / bins];
    const members = items.filter(({ confidence }) => confidence <= high && (confidence > low || bin === 0));
    return { low, high, members };
  });
}

/** @param items by rising confidence */
function byMass(items: readonly Item[], bins: number): Group[] {
  const groups: Group[] = [];
  for (let bin = 0, start = 0; bin < bins; bin++) {
    let end = Math.max(start, Math.round(((bin + 1) * items.length) / bins));
    while (end > 0 && end < items.length && items[end]!.confidence === items[end - 1]!.confidence) end++;
    const members = items.slice(start, end);
    if (members.length > 0) groups.push({ low: members[0]!.confidence, high: members.at(-1)!.confidence, members });
    start = end;
  }
  return groups;
}

function summary({ low, high, members }: Group): CalibrationBin {
  const count = members.length;
  const mean = (of: (item: Item) => number) => members.reduce((total, item) => total + of(item), 0) / count;
  return { low, high, count, confidence: mean((item) => item.confidence), accuracy: mean((item) => item.right) };
}

/**
 * The mean of (p − y)²: 0 is perfect, 0.25 is what always saying one half gets.
 *
 * @param probabilities that the answer is yes
 * @param outcomes whether it was
 */
export function brierScore(probabilities: readonly number[], outcomes: readonly boolean[]): number {
  checkProbabilities('brierScore', probabilities, outcomes.length);
  const squares = probabilities.map((p, i) => (p - (outcomes[i] ? 1 : 0)) ** 2);
  return squares.reduce((total, square) => total + square, 0) / squares.length;
}

/**
 * Brier's own score for several classes, the mean of Σ_c (p_c − y_c)², from 0 to 2.
 *
 * @param distributions a probability for each class, item by item
 * @param truth the index of the right class
 */
export function brierScoreOfClasses(distributions: readonly (readonly number[])[], truth: readonly number[]): number {
  invariant(
    distributions.length === truth.length && truth.length > 0,
    `brierScoreOfClasses: ${distributions.length} distributions, ${truth.length} true classes`,
  );
  let total = 0;
  distributions.forEach((distribution, item) => {
    const right = truth[item]!;
    invariant(right >= 0 && right < distribution.length, `brierScoreOfClasses: item ${item} has no class ${right}`);
    distribution.forEach((p, label) => (total += (p - (label === right ? 1 : 0)) ** 2));
  });
  return total / truth.length;
}

function checkProbabilities(who: string, probabilities: readonly number[], outcomes: number): void {
  invariant(
    probabilities.length === outcomes && outcomes > 0,
    `${who}: ${probabilities.length} probabilities, ${outcomes} outcomes; as many of each are wanted, and one or more`,
  );
  const wrong = probabilities.findIndex((p) => !(p >= 0 && p <= 1));
  invariant(wrong < 0, `${who}: probability ${wrong} is ${probabilities[wrong]}, not in 0 … 1`);
}
