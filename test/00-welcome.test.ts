/**
 * @file Chapter 00, welcome: what each answer must do, and what the usual mistakes look like.
 * Sizes differ from one another wherever mistaking one for the other would go unnoticed.
 */
import { describe, expect, it } from 'vitest';
import { Diagnosis, expectClose, NotWrittenYet, Random, type Hints } from 'lab';
import { broadcastShape, matmul, numericalGradient } from '../solutions/00-welcome.ts';

describe('0.1 broadcasting', () => {
  type Outcome = number[] | 'refused';
  interface Case {
    readonly a: number[];
    readonly b: number[];
    readonly expected: Outcome;
  }
  interface Trial extends Case {
    readonly outcome: Outcome;
    readonly changed: boolean;
  }

  const fitting: Case[] = [
    { a: [2, 3], b: [2, 3], expected: [2, 3] },
    { a: [4, 1], b: [4, 5], expected: [4, 5] },
    { a: [4, 5], b: [4, 1], expected: [4, 5] },
    { a: [4, 1], b: [1, 5], expected: [4, 5] },
    { a: [4, 3], b: [3], expected: [4, 3] },
    { a: [3], b: [2, 4, 3], expected: [2, 4, 3] },
    { a: [2, 6, 1, 5], b: [3, 1], expected: [2, 6, 3, 5] },
    { a: [], b: [2, 7], expected: [2, 7] },
    { a: [], b: [], expected: [] },
    { a: [0, 3], b: [1, 3], expected: [0, 3] },
  ];
  const unfitting: Case[] = [
    { a: [2], b: [3], expected: 'refused' },
    { a: [4, 5], b: [4], expected: 'refused' },
    { a: [2, 3, 4], b: [2, 1, 5], expected: 'refused' },
  ];

  it.each(fitting)('gives $expected for $a and $b', (given) => expectOutcome(given));
  it.each(unfitting)('refuses $a and $b', (given) => expectOutcome(given));

  function expectOutcome(given: Case): void {
    const trial = attempt(given);
    if (isRight(trial)) return;
    const trials = [...fitting, ...unfitting].map(attempt);
    const wrong = trials.filter((one) => !isRight(one));
    const known = mistakes.find(({ is }) => is(trials, wrong));
    if (known) throw new Diagnosis(known.hint, known.say);
    expect(trial.outcome, `the shape for [${given.a.join(', ')}] and [${given.b.join(', ')}]`).toEqual(given.expected);
  }

  /** Calls the answer with copies. An error that it threw itself is a refusal; a slip in its code is not. */
  function attempt(given: Case): Trial {
    const [a, b] = [[...given.a], [...given.b]];
    let outcome: Outcome;
    try {
      outcome = broadcastShape(a, b);
    } catch (error) {
      if (error instanceof NotWrittenYet || error instanceof TypeError || error instanceof ReferenceError) throw error;
      outcome = 'refused';
    }
    return { ...given, outcome, changed: String(a) !== String(given.a) || String(b) !== String(given.b) };
  }

  function isRight({ outcome, expected, changed }: Trial): boolean {
    return !changed && JSON.stringify(outcome) === JSON.stringify(expected);
  }

  /** What comes of putting the first axes above one another instead of the last. */
  function leftAligned({ a, b }: Case): Outcome {
    const pairs = Array.from({ length: Math.max(a.length, b.length) }, (_, i) => [a[i] ?? 1, b[i] ?? 1] as const);
    if (pairs.some(([m, n]) => m !== n && m !== 1 && n !== 1)) return 'refused';
    return pairs.map(([m, n]) => (m === 1 ? n : m));
  }

  const sameRank = ({ a, b }: Case): boolean => a.length === b.length;

  const mistakes: { hint: string; say: string; is: (all: Trial[], wrong: Trial[]) => boolean }[] = [
    {
      hint: 'changes-its-arguments',
      say:
        'The arrays that were passed in are not the same afterwards: unshift, push, pop and ' +
        'reverse change the array itself, and it is the caller’s. Work on a copy, [...a].',
      is: (all) => all.some(({ changed }) => changed),
    },
    {
      hint: 'aligned-left',
      say:
        'It looks as if the shapes were compared from the first axis on. They are ' +
        'aligned at the last one: [4, 3] and [3] fit, [4, 5] and [4] do not.',
      is: (_, wrong) => wrong.every((trial) => !sameRank(trial) && String(trial.outcome) === String(leftAligned(trial))),
    },
    {
      hint: 'drops-leading-axes',
      say:
        'The result has only as many axes as the shorter shape. An axis that the shorter one ' +
        'lacks counts as 1, so the longer one’s size stays: [4, 3] and [3] give [4, 3].',
      is: (_, wrong) =>
        wrong.every(({ a, b, outcome }) => a.length !== b.length && outcome.length === Math.min(a.length, b.length)),
    },
    {
      hint: 'needs-equal-ranks',
      say:
        'Shapes with different numbers of axes are refused. They may fit: ' +
        'the axes that the shorter one lacks, at its left, count as 1.',
      is: (_, wrong) => wrong.every((trial) => !sameRank(trial) && trial.outcome === 'refused'),
    },
    {
      hint: 'stretches-one-side',
      say:
        'Shapes that fit are refused. A size of 1 stretches on either side: ' +
        'in a on one axis and in b on another, as in [4, 1] and [1, 5].',
      is: (_, wrong) => wrong.every(({ outcome }) => outcome === 'refused'),
    },
    {
      hint: 'never-refuses',
      say:
        'Shapes that do not fit get a result. On an axis where the sizes differ ' +
        'and neither is 1, such as 2 and 3, there is no sum: throw an Error.',
      is: (_, wrong) => wrong.some(({ expected, outcome }) => expected === 'refused' && Array.isArray(outcome)),
    },
    {
      hint: 'takes-the-larger',
      say:
        'A size of 0 (an empty tensor) with a size of 1 gives 0: the 1 is stretched ' +
        'to the other size, whatever that is, and not to the larger of the two.',
      is: (_, wrong) => wrong.every(({ a, b }) => [...a, ...b].includes(0)),
    },
  ];
});

describe('0.2 finite differences', () => {
  it('is the central difference for every coordinate', async () => {
    // Bent differently along every coordinate: at a step this large no two ways of differencing agree.
    const bent = (x: Float64Array): number => x[0]! ** 3 + 2 * x[0]! * x[1]! ** 3 + Math.exp(x[2]!) - x[1]! * x[2]!;
    const point = Float64Array.of(0.7, -1.2, 0.4);
    const h = 0.25;
    const central = point.map((_, i) => (moved(bent, point, i, h) - moved(bent, point, i, -h)) / (2 * h));
    await expectGradient(bent, point, h, central, 1e-8);
  });

  it('finds that the gradient of log Σ exp is the softmax', async () => {
    const logSumExp = (x: Float64Array): number => Math.log(x.reduce((sum, value) => sum + Math.exp(value), 0));
    const point = Float64Array.from(new Random(1).normals(6));
    const sum = Math.exp(logSumExp(point));
    const softmax = point.map((value) => Math.exp(value) / sum);
    await expectGradient(logSumExp, point, 1e-3, softmax, 1e-6);
  });

  type Curve = (x: Float64Array) => number;

  /** f with coordinate i of the point moved. */
  function moved(f: Curve, point: Float64Array, i: number, step: number): number {
    return f(point.map((value, j) => (j === i ? value + step : value)));
  }

  async function expectGradient(
    f: Curve,
    point: Float64Array,
    h: number,
    expected: Float64Array,
    tolerance: number,
  ): Promise<void> {
    const x = Float64Array.from(point);
    const gradient = numericalGradient(f, x, h);
    // Adding h, taking 2h away and adding h again leaves rounding behind; that is forgiven.
    const changed = x.some((value, i) => Math.abs(value - point[i]!) > 1e-9);
    await expectClose(gradient, expected, {
      hints: { ...restoring(changed), ...hintsFor(f, point, h) },
      tolerance,
      what: 'the gradient',
    });
    if (changed) throw new Diagnosis('moves-the-point', restoring(true)['moves-the-point']!.say);
  }

  function restoring(changed: boolean): Hints {
    const say =
      'The point x is not what it was before the call. Put every coordinate ' +
      'back before the next one is moved, or move it in a copy.';
    return { 'moves-the-point': { say, when: changed } };
  }

  function hintsFor(f: Curve, point: Float64Array, h: number): Hints {
    const each = (difference: (i: number) => number): Float64Array => point.map((_, i) => difference(i));
    const at = (i: number, step: number): number => moved(f, point, i, step);
    const allAtOnce = (f(point.map((value) => value + h)) - f(point.map((value) => value - h))) / (2 * h);
    return {
      'one-sided': {
        say:
          'This is the one-sided difference, (f(x + h) − f(x)) / h. Its error shrinks ' +
          'only as h; that of the central one, (f(x + h) − f(x − h)) / 2h, as h².',
        looksLike: each((i) => (at(i, h) - f(point)) / h),
      },
      'divided-by-h': {
        say: 'Every number is twice what it should be: from x − h to x + h it is 2h, so that is what to divide by.',
        looksLike: each((i) => (at(i, h) - at(i, -h)) / h),
      },
      'wrong-sign': {
        say: 'The sign is wrong: take the value on the right, f(x + h), minus the value on the left, f(x − h).',
        looksLike: each((i) => (at(i, -h) - at(i, h)) / (2 * h)),
      },
      'moves-all-coordinates': {
        say:
          'All coordinates were moved at once. A partial derivative moves ' +
          'one coordinate and leaves the others where they are.',
        looksLike: each(() => allAtOnce),
      },
      'ignores-h': {
        say: 'The step h that was passed in is not used: this is the difference for a much smaller one.',
        looksLike: each((i) => (at(i, 1e-5) - at(i, -1e-5)) / 2e-5),
      },
    };
  }
});

describe('0.3 matrix product', () => {
  const sizes: [M: number, K: number, N: number][] = [
    [3, 4, 5],
    [5, 2, 3],
    [1, 6, 2],
    [4, 1, 3],
    [1, 1, 1],
  ];

  it.each(sizes)('is right for M = %i, K = %i, N = %i', async (M, K, N) => {
    const random = new Random(M * 100 + K * 10 + N);
    const [a, b] = [random.normals(M * K), random.normals(K * N)];
    const sum = (term: (k: number) => number): number => Array.from({ length: K }, (_, k) => term(k)).reduce((x, y) => x + y, 0);
    const product = (entry: (i: number, j: number) => number): Float32Array =>
      Float32Array.from({ length: M * N }, (_, at) => entry(Math.floor(at / N), at % N));

    const expected = product((i, j) => sum((k) => a[i * K + k]! * b[k * N + j]!));
    const hints: Hints = {
      'keeps-the-last-product': {
        say:
          'Only the last product of each sum is there. The products over k must be ' +
          'added up: sum += …, and the result set when the loop over k is over.',
        looksLike: product((i, j) => a[i * K + K - 1]! * b[(K - 1) * N + j]!),
      },
      'b-by-columns': {
        say:
          'b was read as if its columns lay one after the other. It lies row ' +
          'after row, and a row is N long: row k, column j is b[k * N + j].',
        looksLike: product((i, j) => sum((k) => a[i * K + k]! * b[j * K + k]!)),
      },
      'row-length-of-b': {
        say: 'The rows of b were taken to be K long. b is [K, N]: it has K rows, each N long, so row k starts at k * N.',
        looksLike: product((i, j) => sum((k) => a[i * K + k]! * b[k * K + j]!)),
      },
      'row-length-of-a': {
        say: 'The rows of a were taken to be M long. a is [M, K]: it has M rows, each K long, so row i starts at i * K.',
        looksLike: product((i, j) => sum((k) => a[i * M + k]! * b[k * N + j]!)),
      },
      'result-by-columns': {
        say:
          'The numbers are right but lie in the wrong places: the result is ' +
          '[M, N], row after row, so row i, column j goes to i * N + j.',
        looksLike: Float32Array.from({ length: M * N }, (_, at) => expected[(at % M) * N + Math.floor(at / M)]!),
      },
    };
    await expectClose(matmul(a, b, M, K, N), expected, { hints, tolerance: 1e-5, what: 'the product' });
  });
});
