/**
 * @file Scores of a classifier: accuracy, precision, recall and F1, for each class and averaged over classes in three ways.
 * The definitions, and what happens to classes that are never true or never predicted, are scikit-learn's
 * (`precision_recall_fscore_support` with zero_division=0).
 *
 * precision = tp / (tp + fp), recall = tp / (tp + fn), F1 = 2 tp / (2 tp + fp + fn); 0 where nothing is divided by nothing.
 */
import { invariant, LabError } from '../base/index.ts';

export interface PrecisionRecall {
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
}

export interface ClassScores extends PrecisionRecall {
  readonly label: string;
  /** How many items truly are of this class. */
  readonly support: number;
}

export interface ClassificationScores {
  /** Share of the items whose label is right. */
  readonly accuracy: number;
  /** Of the sums of tp, fp and fn over the classes; equals the accuracy when all labels are scored. */
  readonly micro: PrecisionRecall;
  /** The mean over the classes, each as important as the other. */
  readonly macro: PrecisionRecall;
  /** The mean over the classes weighted by their support, Σ (n_c / N) · F1_c: what BloombergGPT reports. */
  readonly weighted: PrecisionRecall;
  readonly classes: readonly ClassScores[];
  /** confusion[i][j]: items of class i that were called class j, in the order of `classes`. */
  readonly confusion: readonly (readonly number[])[];
  /** Items in all. */
  readonly count: number;
}

export interface ClassificationOptions {
  /**
   * The classes to score, in this order; all that occur, sorted by code unit, unless told. A label outside counts as wrong in
   * the accuracy and as a miss or a false alarm of the classes that are scored, and has no row in the confusion matrix.
   */
  readonly labels?: readonly string[];
}

/**
 * @param truth the right label of each item
 * @param predicted the label that was given instead; a model's answer that is none may be '' or any word outside the labels
 * @throws LabError for no items or different numbers of both.
 */
export function classificationScores(
  truth: readonly string[],
  predicted: readonly string[],
  options: ClassificationOptions = {},
): ClassificationScores {
  if (truth.length !== predicted.length || truth.length === 0) {
    throw new LabError(
      `classificationScores: ${truth.length} true labels, ${predicted.length} predicted; ` +
        'as many of each are wanted, and one or more.',
    );
  }
  const labels = options.labels ?? [...new Set([...truth, ...predicted])].sort();
  const index = new Map(labels.map((label, i) => [label, i]));
  invariant(
    index.size === labels.length && labels.length > 0,
    'classificationScores: labels must be different, and one or more',
  );
  const confusion = labels.map(() => labels.map(() => 0));
  const support = labels.map(() => 0);
  const called = labels.map(() => 0);
  truth.forEach((label, item) => {
    const row = index.get(label);
    const column = index.get(predicted[item]!);
    if (row !== undefined) support[row]!++;
    if (column !== undefined) called[column]!++;
    if (row !== undefined && column !== undefined) confusion[row]![column]!++;
  });
  const right = labels.map((_, i) => confusion[i]![i]!);
  const classes = labels.map((label, i) => ({ label, support: support[i]!, ...scores(right[i]!, called[i]!, support[i]!) }));
  return {
    accuracy: truth.filter((label, item) => label === predicted[item]).length / truth.length,
    micro: scores(sum(right), sum(called), sum(support)),
    macro: average(classes, () => 1),
    weighted: average(classes, (one) => one.support),
    classes,
    confusion,
    count: truth.length,
  };
}

/** @param right true positives; @param called tp + fp; @param support tp + fn */
function scores(right: number, called: number, support: number): PrecisionRecall {
  return {
    precision: ratio(right, called),
    recall: ratio(right, support),
    f1: ratio(2 * right, called + support),
  };
}

function average(classes: readonly ClassScores[], weight: (one: ClassScores) => number): PrecisionRecall {
  const total = sum(classes.map(weight));
  const mean = (of: (one: PrecisionRecall) => number) => ratio(sum(classes.map((one) => weight(one) * of(one))), total);
  return {
    precision: mean((one) => one.precision),
    recall: mean((one) => one.recall),
    f1: mean((one) => one.f1),
  };
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
