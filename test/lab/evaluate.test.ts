/**
 * @file Scores, calibration, intervals and tests against scikit-learn's and scipy's numbers.
 */
import { readFileSync } from 'node:fs';
import {
  bootstrapInterval,
  brierScore,
  brierScoreOfClasses,
  calibration,
  classificationScores,
  type ClassificationScores,
  EvaluationReport,
  LabError,
  mcnemar,
  pairedBootstrap,
  pairedPermutation,
  Random,
  roundToDecimals,
} from 'lab';
import { describe, expect, it } from 'vitest';

interface Fixture {
  readonly classification: readonly (Omit<ClassificationScores, 'classes' | 'count'> & {
    readonly truth: string[];
    readonly predicted: string[];
    readonly labels: string[] | null;
    readonly scored: string[];
    readonly classes: readonly { precision: number; recall: number; f1: number; support: number }[];
  })[];
  readonly calibration: readonly {
    readonly probabilities: number[];
    readonly outcomes: boolean[];
    readonly bins: number;
    readonly accuracy: number[];
    readonly confidence: number[];
    readonly brier: number;
  }[];
  readonly mcnemar: readonly (readonly [onlyFirst: number, onlySecond: number, pValue: number])[];
  readonly permutation: readonly { readonly first: number[]; readonly second: number[]; readonly pValue: number }[];
  readonly rounding: readonly (readonly [value: number, digits: number, rounded: number])[];
}

const fixture = JSON.parse(readFileSync(new URL('../fixtures/metrics.json', import.meta.url), 'utf8')) as Fixture;

/** Numbers that differ by at most 1e-12, in structures of the same shape. */
function expectNear(found: unknown, wanted: unknown, path = ''): void {
  if (typeof wanted === 'number') expect(Math.abs((found as number) - wanted), path).toBeLessThanOrEqual(1e-12);
  else
    for (const key of Object.keys(wanted as object))
      expectNear(Reflect.get(found as object, key), Reflect.get(wanted as object, key), `${path}.${key}`);
}

describe('classification scores', () => {
  it.each(fixture.classification.map((one, i) => [i, one] as const))(
    'are those of scikit-learn on random labels %i',
    (_, one) => {
      const { truth, predicted, labels, scored, classes, accuracy, micro, macro, weighted, confusion } = one;
      const found = classificationScores(truth, predicted, labels ? { labels } : {});
      expectNear(found, { classes, accuracy, micro, macro, weighted });
      expect(found.confusion).toEqual(confusion);
      expect(found.classes.map(({ label }) => label)).toEqual(scored);
      expect(found.count).toBe(truth.length);
    },
  );

  it('do not depend on the order of the items', () => {
    const { truth, predicted } = fixture.classification[1]!;
    const order = new Random(3).shuffle(truth.map((_, i) => i));
    const found = classificationScores(
      order.map((i) => truth[i]!),
      order.map((i) => predicted[i]!),
    );
    expect(found).toEqual(classificationScores(truth, predicted));
  });

  it('count an answer that is no label as wrong, without a class of its own when the labels are given', () => {
    const found = classificationScores(['a', 'b'], ['a', 'what?'], { labels: ['a', 'b'] });
    expect(found.accuracy).toBe(0.5);
    expect(found.confusion).toEqual([
      [1, 0],
      [0, 0],
    ]);
    expect(found.classes.map(({ f1 }) => f1)).toEqual([1, 0]);
  });

  it('refuse nothing, and lists that do not belong together', () => {
    expect(() => classificationScores([], [])).toThrow(LabError);
    expect(() => classificationScores(['a'], ['a', 'b'])).toThrow(/1 true labels, 2 predicted/);
    expect(() => classificationScores(['a'], ['a'], { labels: ['a', 'a'] })).toThrow(/labels must be different/);
  });
});

describe('calibration', () => {
  it.each(fixture.calibration)('has the reliability table of scikit-learn', (one) => {
    const { probabilities, outcomes, bins, accuracy, confidence, brier } = one;
    const found = calibration(probabilities, outcomes, { bins });
    expectNear(
      found.bins.map((bin) => bin.accuracy),
      accuracy,
    );
    expectNear(
      found.bins.map((bin) => bin.confidence),
      confidence,
    );
    expectNear(brierScore(probabilities, outcomes), brier);
    const gaps = found.bins.map((bin) => Math.abs(bin.accuracy - bin.confidence));
    const expected = found.bins.reduce((sum, bin, i) => sum + bin.count * gaps[i]!, 0) / probabilities.length;
    expectNear([found.expectedError, found.maximumError], [expected, Math.max(...gaps)]);
  });

  it('puts equal masses into bins, and never divides equal confidences', () => {
    const random = new Random(5);
    const confidences = Array.from({ length: 100 }, () => random.uniform());
    const even = calibration(
      confidences,
      confidences.map(() => true),
      { bins: 10, binning: 'mass' },
    );
    expect(even.bins.map(({ count }) => count)).toEqual(Array.from({ length: 10 }, () => 10));
    even.bins.slice(1).forEach((bin, i) => expect(bin.low).toBeGreaterThan(even.bins[i]!.high));
    const tied = [...Array.from({ length: 70 }, () => 0.5), ...Array.from({ length: 30 }, (_, i) => 0.6 + i / 100)];
    const rows = calibration(
      tied,
      tied.map((_, i) => i % 2 === 0),
      { bins: 4, binning: 'mass' },
    ).bins;
    expect(rows[0]).toEqual({ low: 0.5, high: 0.5, count: 70, confidence: 0.5, accuracy: 0.5 });
    expect(rows.reduce((sum, { count }) => sum + count, 0)).toBe(100);
  });

  it('is perfect for a model that is always sure and right, and as bad as can be for one that is sure and wrong', () => {
    expect(calibration([1, 1], [true, true]).expectedError).toBe(0);
    expect(calibration([1, 1], [false, false]).expectedError).toBe(1);
    expect(calibration([0, 1], [false, true], { binning: 'mass' }).maximumError).toBe(0);
  });

  it('gives twice the score of two outcomes for Brier’s own score of two classes', () => {
    const { probabilities, outcomes, brier } = fixture.calibration[0]!;
    const found = brierScoreOfClasses(
      probabilities.map((p) => [1 - p, p]),
      outcomes.map(Number),
    );
    expectNear(found, 2 * brier);
    expect(() => brierScoreOfClasses([[1]], [1])).toThrow(/item 0 has no class 1/);
  });

  it('refuses what is no probability', () => {
    expect(() => calibration([0.5, 1.5], [true, true])).toThrow(/probability 1 is 1.5/);
    expect(() => brierScore([Number.NaN], [true])).toThrow(/probability 0 is NaN/);
    expect(() => calibration([], [])).toThrow(/one or more/);
  });
});

describe('the bootstrap', () => {
  const average = (sample: readonly number[]): number => sample.reduce((sum, value) => sum + value, 0) / sample.length;

  it('covers the true mean about as often as its level says', () => {
    const random = new Random(8);
    let covered = 0;
    for (let trial = 0; trial < 300; trial++) {
      const sample = Array.from({ length: 60 }, () => random.normal() + 3);
      const { low, high } = bootstrapInterval(sample, average, { resamples: 200, level: 0.9, seed: trial });
      if (low <= 3 && 3 <= high) covered++;
    }
    // 270 of 300 expected, standard deviation 5; percentile intervals of 60 items are a little too narrow.
    expect(covered).toBeGreaterThan(246);
    expect(covered).toBeLessThan(290);
  });

  it('is decided by the seed, and has no width when nothing varies', () => {
    const items = [1, 4, 9, 16];
    expect(bootstrapInterval(items, average, { seed: 1 })).toEqual(bootstrapInterval(items, average, { seed: 1 }));
    expect(bootstrapInterval(items, average, { seed: 1 })).not.toEqual(bootstrapInterval(items, average, { seed: 2 }));
    expect(bootstrapInterval([7, 7, 7], average)).toEqual({ low: 7, high: 7, level: 0.95 });
    expect(() => bootstrapInterval([], average)).toThrow(/no items/);
  });

  it('leaves out half of what is not in its level at either end', () => {
    let drawn = 0;
    const { low, high } = bootstrapInterval([1], () => drawn++, { resamples: 1001, level: 0.9 });
    expect(low).toBeCloseTo(50, 9);
    expect(high).toBeCloseTo(950, 9);
  });

  it('is wider for a higher level', () => {
    const items = Array.from({ length: 40 }, (_, i) => i % 7);
    const [narrow, wide] = [0.5, 0.99].map((level) => bootstrapInterval(items, average, { level }));
    expect(wide!.low).toBeLessThan(narrow!.low);
    expect(wide!.high).toBeGreaterThan(narrow!.high);
  });
});

describe('tests on pairs', () => {
  it.each(fixture.mcnemar)('McNemar: %i against %i as scipy’s binomial test', (onlyFirst, onlySecond, pValue) => {
    const first = [
      ...Array.from({ length: onlyFirst }, () => true),
      ...Array.from({ length: onlySecond }, () => false),
      true,
      false,
    ];
    const second = [...first.slice(0, -2).map((right) => !right), true, false];
    const found = mcnemar(first, second);
    expect(found).toMatchObject({ onlyFirst, onlySecond });
    expect(Math.abs(found.pValue - pValue)).toBeLessThanOrEqual(1e-10 * Math.max(pValue, 1e-3));
  });

  it.each(fixture.permutation)('permutation: all exchanges, as scipy', ({ first, second, pValue }) => {
    const found = pairedPermutation(first, second);
    expect(found.exact).toBe(true);
    expect(found.pValue).toBeCloseTo(pValue, 12);
  });

  it('permutation: drawn exchanges come near to what McNemar counts', () => {
    const first = Array.from({ length: 60 }, (_, i) => Number(i < 20));
    const second = Array.from({ length: 60 }, (_, i) => Number(i >= 20 && i < 52));
    const found = pairedPermutation(first, second, { resamples: 20_000, seed: 4 });
    const exact = mcnemar(first.map(Boolean), second.map(Boolean)).pValue;
    expect(found.exact).toBe(false);
    expect(found.difference).toBeCloseTo(0.2, 12);
    expect(Math.abs(found.pValue - exact)).toBeLessThan(4 * Math.sqrt((exact * (1 - exact)) / 20_000));
    expect(pairedPermutation(first, second, { seed: 4 })).toEqual(pairedPermutation(first, second, { seed: 4 }));
  });

  it('say nothing about equal models, and see a clear difference', () => {
    const scores = Array.from({ length: 50 }, (_, i) => (i * 7) % 3);
    expect(pairedPermutation(scores, scores).pValue).toBe(1);
    expect(pairedBootstrap(scores, scores)).toMatchObject({ difference: 0, pValue: 1 });
    expect(mcnemar([true, false], [true, false]).pValue).toBe(1);
    const better = pairedBootstrap(
      scores,
      scores.map((score, i) => score + 1 + (i % 2)),
    );
    expect(better.pValue).toBeLessThan(0.01);
    expect(better.interval.low).toBeGreaterThan(1);
    expect(pairedBootstrap([0, 0, 0], [1, 1, 1]).difference).toBe(1);
    expect(pairedBootstrap([1, 1, 1], [0, 0, 0]).pValue).toBeLessThan(0.01);
  });

  it('refuse scores of different items', () => {
    for (const test of [pairedPermutation, pairedBootstrap]) expect(() => test([1], [1, 2])).toThrow(LabError);
    expect(() => mcnemar([], [])).toThrow(LabError);
  });
});

describe('rounding', () => {
  it('is Python’s', () => {
    for (const [value, digits, rounded] of fixture.rounding) {
      expect(Math.abs(roundToDecimals(value, digits) - rounded), `${value} ${digits}`).toBe(0);
    }
    expect(roundToDecimals(Infinity, 5)).toBe(Infinity);
    expect(() => roundToDecimals(1, -1)).toThrow(RangeError);
  });
});

describe('a report', () => {
  const report = new EvaluationReport({
    task: 'sentiment',
    count: 40,
    measures: [
      { name: 'weighted F1', value: 0.51234, interval: { low: 0.4, high: 0.61, level: 0.95 } },
      { name: 'accuracy', value: 0.5 },
    ],
    settings: { model: 'gpt2', shots: 5 },
    leftOut: { 'broken records': 2 },
  });

  it('is a table with intervals, settings and what was left out', () => {
    expect(String(report).split('\n')).toEqual([
      'sentiment: 40 items, model gpt2, shots 5',
      '  weighted F1  0.5123  0.4000 … 0.6100 (95%)',
      '  accuracy     0.5000',
      '  left out: 2 broken records',
    ]);
  });

  it('is JSON that makes the same report', () => {
    const again = new EvaluationReport(JSON.parse(JSON.stringify(report)));
    expect(again).toEqual(report);
    expect(again.get('accuracy')).toBe(0.5);
    expect(again.get('nothing')).toBeUndefined();
  });
});
