/**
 * @file Chapter 07, rounding: what each answer must do, and what the usual mistakes look like.
 * Expected values come from plain loops in float64; what a mistake would have given comes from the same loops with one part
 * exchanged. No weight lies halfway between two values of its grid, except where that is the question.
 */
import { describe, it } from 'vitest';
import { expectClose, Random, type Hints } from 'lab';
import {
  absmax,
  decodeWeights,
  encodeWeights,
  fitGrid,
  pack,
  packedLinear,
  predictedSignalToNoise,
  quantizeGroups,
  roundHalfToEven,
  searchClip,
  signalToNoise,
  unpack,
} from '../solutions/07-rounding.ts';

const normals = (seed: number, count: number, size = 1): Float32Array =>
  Float32Array.from(new Random(seed).normals(count), (x) => size * x);
const sum = (numbers: ArrayLike<number>): number => Array.from(numbers).reduce((a, b) => a + b, 0);
const clamp = (x: number, low: number, high: number): number => Math.min(high, Math.max(low, x));
const numbersOf = (values: unknown): number[] =>
  ArrayBuffer.isView(values) || Array.isArray(values) ? Array.from(values as number[]) : [];
const even = (x: number): number => {
  const nearest = Math.round(x);
  return Math.abs(x - Math.trunc(x)) === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
};

/** `looksLike` for what one exchanged part computes. */
const lookalikes = (wrong: Record<string, [say: string, looksLike: () => ArrayLike<number>]>): Hints =>
  Object.fromEntries(Object.entries(wrong).map(([id, [say, looksLike]]) => [id, { say, looksLike }]));

const TRUNCATES =
  'Fractions are cut off instead of rounded: 1.9 becomes 1. The error then reaches a whole step instead of half of one.';

describe('7.1 absmax', () => {
  const halves = [0.5, 1.5, 2.5, 7.5, -0.5, -1.5, -2.5, -7.5, 3.49, 3.51, -3.2, -3.8, 0, 6, -6];

  it('rounds to nearest, halves to the even number', async () => {
    const away = (x: number) => Math.sign(x) * Math.round(Math.abs(x));
    await expectClose(
      halves.map((x) => roundHalfToEven(x)),
      halves.map(even),
      {
        what: `the roundings of ${halves.join(', ')}`,
        hints: lookalikes({
          'halves-up': [
            'Halves always go up, as in Math.round: 0.5, 1.5, 2.5 become 1, 2, 3. That shifts all of them upwards. To even ' +
              'numbers: 0, 2, 2.',
            () => halves.map(Math.round),
          ],
          'halves-away': [
            'Halves always go away from zero. To the even neighbour: 2.5 becomes 2, 3.5 becomes 4.',
            () => halves.map(away),
          ],
          truncates: [TRUNCATES, () => halves.map(Math.trunc)],
          'rounds-down': [
            'Everything is rounded down. 3.51 is nearer to 4, and -3.2 nearer to -3 than to -4.',
            () => halves.map(Math.floor),
          ],
        }),
      },
    );
  });

  // The largest by size is negative in each of them.
  const cases: [string, Float32Array, number][] = [
    ['8 bits', Float32Array.from([...normals(711, 30), -4.1]), 8],
    ['4 bits', Float32Array.from([-0.9, ...normals(712, 30, 0.2)]), 4],
    ['3 bits', Float32Array.from([...normals(713, 20, 50), -211]), 3],
    ['2 bits', Float32Array.from([...normals(714, 20), -3.3]), 2],
  ];

  it.each(cases)('finds scale and codes: %s', async (_, weights, bits) => {
    const { scale, codes } = absmax(weights, bits);
    const most = 2 ** (bits - 1) - 1;
    const largest = Math.max(...weights.map(Math.abs));
    await expectClose([scale], [largest / most], {
      what: 'the scale',
      hints: lookalikes({
        'largest-without-size': [
          'The scale follows the largest weight, but here the largest by size is negative. Take the maximum of |weight|.',
          () => [Math.max(...weights) / most],
        ],
        'one-code-too-many': [
          'The scale divides by 2^(bits - 1). The largest weight would then need that very code, and the largest one there ' +
            'is is one less: 127 at 8 bits, 7 at 4.',
          () => [largest / 2 ** (bits - 1)],
        ],
        'all-codes-on-one-side': [
          'The scale divides by 2^bits - 1, as if all codes were positive. Half of them are for negative weights.',
          () => [largest / (2 ** bits - 1)],
        ],
        'upside-down': [
          'This is 1 / scale: codes for each unit. The scale is the distance between neighbouring values of the grid.',
          () => [most / largest],
        ],
      }),
    });
    const exact = largest / most;
    await expectClose(
      codes,
      Array.from(weights, (w) => even(w / exact)),
      {
        what: 'the codes',
        hints: lookalikes({
          truncates: [TRUNCATES, () => Array.from(weights, (w) => Math.trunc(w / exact))],
          'sign-lost': [
            'Negative codes have become positive. Use an Int8Array (a Uint8Array has no sign) and round the weight itself, ' +
              'not its size.',
            () => Array.from(weights, (w) => Math.abs(even(w / exact))),
          ],
          'sign-wrapped': [
            'Negative codes come out as 256 - their size: a Uint8Array has no sign. Use an Int8Array.',
            () => Array.from(weights, (w) => even(w / exact) & 255),
          ],
          'multiplied-by-the-scale': [
            'The weights are multiplied by the scale. Divided by it, they are counted in steps of the grid.',
            () => Array.from(weights, (w) => even(w * exact)),
          ],
          values: [
            'These are the values of the grid, not their codes: scale · code. What is stored are the whole numbers.',
            () => Array.from(weights, (w) => even(w / exact) * exact),
          ],
        }),
      },
    );
  });

  it('has a grid for weights that are all 0', async () => {
    const { scale, codes } = absmax(new Float32Array(5), 4);
    const usable = Number.isFinite(scale) && scale > 0;
    await expectClose([...numbersOf(codes), usable ? 1 : 0], [0, 0, 0, 0, 0, 1], {
      what: 'the codes, and whether the scale is a positive number',
      hints: {
        'zeros-are-nan': {
          say: 'Weights that are all 0 give a scale of 0, and 0 / 0 is NaN. Any positive scale will do for them.',
          when: !usable || numbersOf(codes).some(Number.isNaN),
        },
      },
    });
  });
});

interface Grid {
  bits: number;
  scale: number;
  zero: number;
}

/** The grid of some weights, with parts exchanged. */
function gridOf(
  weights: ArrayLike<number>,
  bits: number,
  {
    low = (all: number[]) => Math.min(0, ...all),
    high = (all: number[]) => Math.max(0, ...all),
    steps = 2 ** bits - 1,
    zero = (least: number, scale: number) => even(-least / scale),
  } = {},
): Grid {
  const all = Array.from(weights);
  const scale = (high(all) - low(all)) / steps;
  return { bits, scale, zero: zero(low(all), scale) };
}

describe('7.2 zero point', () => {
  const OFF_BY_ONE =
    'The zero point is off by one: every weight comes out one step too large or too small. (Some checkpoint formats store ' +
    'zero - 1. Here it is the code of 0 itself.)';
  const cases: [string, Float32Array, number][] = [
    ['weights on both sides of 0, 4 bits', normals(721, 30).map((x) => x + 0.4), 4],
    ['positive weights only, 4 bits', normals(722, 30).map((x) => Math.abs(x) + 1.7), 4],
    ['negative weights only, 3 bits', normals(723, 30).map((x) => -Math.abs(x) - 0.6), 3],
    ['8 bits', normals(724, 50, 0.02).map((x) => x - 0.01), 8],
    ['2 bits', normals(725, 20, 7).map((x) => x + 3), 2],
  ];

  it.each(cases)('lays the grid from the smallest to the largest weight: %s', async (_, weights, bits) => {
    const { scale, zero } = fitGrid(weights, bits);
    const pair = (parts: Parameters<typeof gridOf>[2]) => () => {
      const grid = gridOf(weights, bits, parts);
      return [grid.scale, grid.zero];
    };
    await expectClose([scale, zero], pair({})(), {
      what: '[scale, zero]',
      hints: {
        ...lookalikes({
          'range-without-zero': [
            '0 is not in the range: these weights all have the same sign, and the grid covers them alone. 0 must be on ' +
              'every grid (padding and absent inputs are 0), so the range runs from min(0, smallest) to max(0, largest).',
            pair({ low: (all) => Math.min(...all), high: (all) => Math.max(...all) }),
          ],
          'levels-not-steps': [
            'The range is divided by 2^bits, the number of values. Between them lie 2^bits - 1 steps.',
            pair({ steps: 2 ** bits }),
          ],
          'zero-off-by-one': [OFF_BY_ONE, pair({ zero: (least, step) => even(-least / step) - 1 })],
          'zero-with-the-wrong-sign': [
            'The zero point is round(smallest / scale): never positive. The smallest weight has code 0, so 0 lies ' +
              '-smallest / scale codes above it.',
            pair({ zero: (least, step) => even(least / step) }),
          ],
          'zero-in-the-middle': [
            'The zero point is always the middle code. Here the range is not symmetric: 0 lies -smallest / scale codes ' +
              'above the smallest weight.',
            pair({ zero: () => 2 ** (bits - 1) }),
          ],
          'zero-not-whole': [
            'The zero point is not a whole number, so no code stands for 0 exactly. Round it.',
            pair({ zero: (least, step) => -least / step }),
          ],
          'zero-as-weight': [
            'The zero point is given as a weight, the smallest one. It is a code: how many steps 0 lies above the smallest ' +
              'weight.',
            pair({ zero: (least) => least }),
          ],
        }),
      },
    });
  });

  it('has a grid for weights that are all 0', async () => {
    const { scale, zero } = fitGrid(new Float32Array(4), 4);
    const usable = scale > 0 && Number.isFinite(scale) && Number.isInteger(zero) && zero >= 0 && zero <= 15;
    await expectClose(usable ? 1 : 0, 1, {
      what: 'whether scale is positive and zero is a code',
      hints: {
        'zeros-are-nan': {
          say: 'Weights that are all 0 have a range of 0, and 0 / 0 is NaN. Any positive scale will do for them.',
          when: !(scale > 0) || Number.isNaN(zero),
        },
      },
    });
  });

  // Some of the weights lie beyond the ends of these grids.
  const grids: Grid[] = [
    { bits: 4, scale: 0.21, zero: 6 },
    { bits: 3, scale: 0.4, zero: 1 },
    { bits: 8, scale: 0.011, zero: 131 },
  ];
  const weights = normals(726, 40);

  it.each(grids)('encodes on a grid of $bits bits, scale $scale, zero $zero', async (grid) => {
    const { bits, scale, zero } = grid;
    const most = 2 ** bits - 1;
    const codesBy = (code: (w: number) => number) => () => Array.from(weights, code);
    await expectClose(encodeWeights(weights, grid), codesBy((w) => clamp(even(w / scale) + zero, 0, most))(), {
      what: 'the codes',
      hints: lookalikes({
        'not-clamped': [
          'Weights beyond the ends of the grid get codes that there are not. The nearest one is the first or the last: ' +
            'clamp to 0 … 2^bits - 1.',
          codesBy((w) => even(w / scale) + zero),
        ],
        'wrapped-around': [
          'Weights beyond the ends of the grid come out at the other end: a Uint8Array keeps the lowest 8 bits of a ' +
            'number. Clamp to 0 … 2^bits - 1 first.',
          codesBy((w) => (even(w / scale) + zero) & 255),
        ],
        'clamped-before-the-zero': [
          'The codes are clamped before the zero point is added, so all negative weights become 0. Add first.',
          codesBy((w) => clamp(even(w / scale), 0, most) + zero),
        ],
        'zero-left-out': [
          'The zero point is left out: the codes count steps from 0, not from the lower end of the grid.',
          codesBy((w) => clamp(even(w / scale), 0, most)),
        ],
        truncates: [TRUNCATES, codesBy((w) => clamp(Math.trunc(w / scale) + zero, 0, most))],
        'rounds-down': [
          'Everything is rounded down: the codes are up to a whole step too low.',
          codesBy((w) => clamp(Math.floor(w / scale) + zero, 0, most)),
        ],
      }),
    });
  });

  it.each(grids)('decodes from a grid of $bits bits, scale $scale, zero $zero', async (grid) => {
    const { bits, scale, zero } = grid;
    const codes = Uint8Array.from({ length: 2 ** bits }, (_, code) => code);
    const valuesBy = (value: (code: number) => number) => () => Array.from(codes, value);
    await expectClose(decodeWeights(codes, grid), valuesBy((code) => scale * (code - zero))(), {
      what: 'the values of all codes',
      tolerance: 1e-5,
      hints: lookalikes({
        'zero-off-by-one': [OFF_BY_ONE, valuesBy((code) => scale * (code - zero - 1))],
        'zero-added': [
          'The zero point is added. It is subtracted before the scale: code = zero must give 0.',
          valuesBy((code) => scale * (code + zero)),
        ],
        'zero-after-the-scale': [
          'The zero point is subtracted after the multiplication by the scale. It is a code: scale · (code - zero).',
          valuesBy((code) => scale * code - zero),
        ],
        'zero-left-out': ['The zero point is left out: code = zero must give 0.', valuesBy((code) => scale * code)],
      }),
    });
  });
});

interface Shape {
  outputs: number;
  inputs: number;
}

describe('7.3 groups', () => {
  /** Rounded with one grid for each group that `groupOf` names. */
  function grouped(weights: Float32Array, { outputs, inputs }: Shape, bits: number, groupOf: (o: number, i: number) => number) {
    const members = new Map<number, number[]>();
    const groups = Array.from(weights, (weight, at) => {
      const group = groupOf(Math.floor(at / inputs), at % inputs);
      members.set(group, [...(members.get(group) ?? []), weight]);
      return group;
    });
    const grids = Array.from({ length: members.size }, (_, group) => gridOf(members.get(group) ?? [0], bits));
    const codes = Array.from(weights, (w, at) => {
      const { scale, zero } = grids[groups[at]!]!;
      return clamp(even(w / scale) + zero, 0, 2 ** bits - 1);
    });
    return { codes, scales: grids.map(({ scale }) => scale), zeros: grids.map(({ zero }) => zero), count: outputs * inputs };
  }
  /** Every stretch of 3 weights has a size of its own. */
  const weightsFor = (seed: number, { outputs, inputs }: Shape) =>
    normals(seed, outputs * inputs).map((x, i) => (x + 0.3) * (1 + (Math.floor(i / 3) % 7)));
  const cases: [string, Shape, number, number][] = [
    ['6 × 24, groups of 6', { outputs: 6, inputs: 24 }, 4, 6],
    ['5 × 16, groups of 4', { outputs: 5, inputs: 16 }, 3, 4],
    ['4 × 12, a row is a group', { outputs: 4, inputs: 12 }, 4, 12],
    ['3 × 10, groups of 2, 8 bits', { outputs: 3, inputs: 10 }, 8, 2],
  ];

  it.each(cases)('gives every run of neighbours its own grid: %s', async (_, shape, bits, groupSize) => {
    const { outputs, inputs } = shape;
    const weights = weightsFor(731, shape);
    const G = inputs / groupSize;
    const wanted = grouped(weights, shape, bits, (o, i) => o * G + Math.floor(i / groupSize));
    const { codes, scales, zeros } = quantizeGroups(weights, shape, bits, groupSize);
    const found = numbersOf(scales);
    const by = (groupOf: (o: number, i: number) => number) => grouped(weights, shape, bits, groupOf).scales;
    const repeated = (all: number[], times: number) => all.flatMap((x) => Array<number>(times).fill(x));
    const whole = by(() => 0);
    const rows = by((o) => o);
    const columns = outputs % groupSize === 0 ? by((o, i) => Math.floor(o / groupSize) * inputs + i) : [];
    const near = (a: ArrayLike<number>) =>
      a.length === found.length && found.every((x, i) => Math.abs(x - a[i]!) < 1e-4 * (1 + a[i]!));
    await expectClose(scales, wanted.scales, {
      what: 'the scales',
      hints: {
        'one-grid-for-all': {
          say: 'There is one grid for the whole matrix. Every run of groupSize neighbours in a row has its own.',
          when: () => near(whole) || near(repeated(whole, outputs * G)),
        },
        'one-grid-for-a-row': {
          say: 'There is one grid for each row. A row is divided into runs of groupSize neighbours, each with its own.',
          when: () => near(rows) || near(repeated(rows, G)),
        },
        'down-the-columns': {
          say: 'The groups run down the columns: weights of different outputs share a grid. Neighbours in a row do.',
          when: () => columns.length > 0 && near(columns),
        },
        'size-taken-for-number': {
          say: 'groupSize is taken for the number of groups in a row. It is the number of weights in a group.',
          when: () => inputs % groupSize === 0 && near(by((o, i) => o * groupSize + Math.floor(i / (inputs / groupSize)))),
        },
        'groups-before-outputs': {
          say: 'The scales stand group by group, [groups, outputs]. Those of a row belong together: [outputs, groups].',
          when: () => near(by((o, i) => Math.floor(i / groupSize) * outputs + o)),
        },
        'grids-of-the-first-row': {
          say: 'Every row has the grids of the first row. Does the place of the row count when a group is cut out?',
          when: () => near(Array.from({ length: outputs * G }, (__, at) => wanted.scales[at % G]!)),
        },
      },
    });
    await expectClose(zeros, wanted.zeros, { what: 'the zeros' });
    const onFirst = Array.from(weights, (w, at) => {
      const group = Math.floor(at / inputs) * G;
      return clamp(even(w / wanted.scales[group]!) + wanted.zeros[group]!, 0, 2 ** bits - 1);
    });
    await expectClose(codes, wanted.codes, {
      what: 'the codes',
      hints: lookalikes({
        'codes-on-the-first-grid': [
          'The grids are right, but all codes of a row are on the grid of its first group.',
          () => onFirst,
        ],
      }),
    });
  });
});

describe('7.4 signal and noise', () => {
  const weights = normals(741, 60, 0.3);
  const cases: [string, Float32Array, Float32Array][] = [
    ['a fine grid', weights, weights.map((w) => Math.round(w * 100) / 100)],
    ['a coarse grid', weights, weights.map((w) => Math.round(w * 4) / 4)],
    ['more noise than signal', weights, normals(742, 60)],
  ];

  it.each(cases)('measures in decibels: %s', async (_, original, rounded) => {
    const errors = original.map((w, i) => w - rounded[i]!);
    const squares = (values: Float32Array) => sum(values.map((x) => x * x));
    const ratio = squares(original) / squares(errors);
    await expectClose(signalToNoise(original, rounded), 10 * Math.log10(ratio), {
      what: 'signalToNoise',
      hints: {
        'twice-the-decibels': {
          say: '20 log10 is for a ratio of sizes. This is one of squares (powers): 10 log10.',
          looksLike: 20 * Math.log10(ratio),
        },
        'noise-over-signal': {
          say: 'The ratio is upside down: the weights above, the errors below. More decibels are less error.',
          looksLike: -10 * Math.log10(ratio),
        },
        'not-in-decibels': { say: 'This is the ratio itself. In decibels: 10 log10(ratio).', looksLike: ratio },
        'natural-logarithm': {
          say: 'The logarithm is the natural one (Math.log). Decibels use log10.',
          looksLike: 10 * Math.log(ratio),
        },
        'sizes-not-squares': {
          say: 'Sizes are added up instead of squares.',
          looksLike: () => 10 * Math.log10(sum(original.map(Math.abs)) / sum(errors.map(Math.abs))),
        },
        'rounded-for-the-signal': {
          say: 'The signal is that of the rounded weights. It is that of the original ones.',
          looksLike: () => 10 * Math.log10(squares(rounded) / squares(errors)),
        },
      },
    });
  });

  it.each([0.02, 0.3])('predicts them for a step of %d', async (scale) => {
    const power = sum(weights.map((x) => x * x)) / weights.length;
    const from = (noise: number, signal = power) => 10 * Math.log10(signal / noise);
    await expectClose(predictedSignalToNoise(weights, scale), from(scale ** 2 / 12), {
      what: 'predictedSignalToNoise',
      hints: {
        'the-whole-step': {
          say:
            'The noise is taken to be the step squared. The error is only as large as half a step, and mostly smaller: ' +
            'step² / 12.',
          looksLike: from(scale ** 2),
        },
        'half-a-step': {
          say: 'The noise is (step / 2)²: that is the largest error. The mean square over a step is step² / 12.',
          looksLike: from(scale ** 2 / 4),
        },
        'a-step-to-both-sides': {
          say: 'The noise is step² / 3: that of errors up to a whole step. To nearest, they go up to half of one: step² / 12.',
          looksLike: from(scale ** 2 / 3),
        },
        'step-not-squared': { say: 'step / 12 is not a square. The noise is step² / 12.', looksLike: from(scale / 12) },
        'signal-not-mean': {
          say: 'The squares of all weights are added up, but step² / 12 is the noise of one weight. Take the mean.',
          looksLike: from(scale ** 2 / 12, power * weights.length),
        },
      },
    });
  });
});

describe('7.5 clipping', () => {
  interface Parts {
    most?: (code: number, most: number) => number;
    counts?: (w: number, reach: number) => boolean;
    target?: (w: number, reach: number) => number;
    size?: (error: number) => number;
    finish?: (total: number, count: number) => number;
    better?: (error: number, best: number) => boolean;
  }
  function search(weights: Float32Array, bits: number, shares: number[], parts: Parts = {}): [share: number, error: number] {
    const { most: limit = (code, most) => clamp(code, -most, most), counts = () => true, target = (w) => w } = parts;
    const { size = (e) => e * e, finish = (total, count) => total / count, better = (error, best) => error < best } = parts;
    const most = 2 ** (bits - 1) - 1;
    const largest = Math.max(...weights.map(Math.abs));
    const errors = shares.map((share): [number, number] => {
      const scale = (share * largest) / most;
      const kept = Array.from(weights).filter((w) => counts(w, share * largest));
      const total = sum(kept.map((w) => size(target(w, share * largest) - scale * limit(even(w / scale), most))));
      return [share, finish(total, kept.length)];
    });
    return errors.reduce((best, one) => (better(one[1], best[1]) ? one : best));
  }
  // Neither the first nor the last is ever the best or the worst.
  const shares = Array.from({ length: 17 }, (_, i) => 1 - ((i + 5) % 17) / 20);
  const cases: [string, Float32Array, number][] = [
    ['heavy tails, 4 bits', normals(751, 300).map((x) => x ** 3), 4],
    ['normal weights, 3 bits', normals(752, 300, 7), 3],
    ['normal weights, 2 bits', normals(753, 300, 5), 2],
    [
      'evenly spread weights, 4 bits',
      Float32Array.from({ length: 201 }, (_, i) => Math.sin(i) + (i - 100) / 3),
      4,
    ],
  ];

  it.each(cases)('finds the best share: %s', async (_, weights, bits) => {
    const { share, error } = searchClip(weights, bits, [...shares]);
    const looks = (say: string, parts: Parts): [string, () => number[]] => [say, () => search(weights, bits, shares, parts)];
    await expectClose([share, error], search(weights, bits, shares), {
      what: '[share, error]',
      hints: {
        ...lookalikes({
          'not-clamped': looks(
            'Weights beyond the ends of the grid are not cut off: they get codes that there are not, and a finer grid ' +
              'always looks better. Clamp the codes to ±(2^(bits - 1) - 1).',
            { most: (code) => code },
          ),
          'ignores-what-is-cut': looks(
            'The errors of the weights that are cut off are left out. They are the price of clipping.',
            { counts: (w, reach) => Math.abs(w) <= reach },
          ),
          'compares-with-the-clipped': looks(
            'The rounded weights are compared with the clipped ones. The error is the distance to the original weight.',
            { target: (w, reach) => clamp(w, -reach, reach) },
          ),
          'sizes-not-squares': looks('The sizes of the errors are added up. Square them first.', { size: Math.abs }),
          'sum-not-mean': looks('The error is the sum of the squares. It is to be their mean.', { finish: (total) => total }),
          'root-of-the-mean': looks('The error is the root of the mean square. It is to be the mean square itself.', {
            finish: (total, count) => Math.sqrt(total / count),
          }),
          'the-worst': looks('This is the share with the largest error. The least is wanted.', {
            better: (one, best) => one > best,
          }),
          'the-last': looks('This is the last share that was tried, not the best one.', { better: () => true }),
          'the-first': looks('This is the first share that was tried, not the best one.', { better: () => false }),
        }),
      },
    });
  });
});

describe('7.6 packing', () => {
  /** The bits of all codes one after the other, the lowest of a code first. */
  const bitsOf = (codes: ArrayLike<number>, width: number): number[] =>
    Array.from(codes).flatMap((code) => Array.from({ length: width }, (_, bit) => (code >> bit) & 1));
  const wordsOf = (row: readonly number[]): number[] =>
    Array.from({ length: Math.ceil(row.length / 32) }, (_, word) =>
      sum(row.slice(32 * word, 32 * word + 32).map((bit, i) => bit * 2 ** i)),
    );
  /** Bytes, because words are too large to be compared with a tolerance. */
  const bytesOf = (words: ArrayLike<number>): number[] =>
    Array.from(words).flatMap((word) => [0, 8, 16, 24].map((shift) => (word >>> shift) & 255));
  const truth = (codes: ArrayLike<number>, bits: number) => wordsOf(bitsOf(codes, bits));
  const codesFor = (seed: number, count: number, bits: number): Uint8Array => {
    const random = new Random(seed);
    return Uint8Array.from({ length: count }, () => random.integer(2 ** bits));
  };
  const places = (codes: ArrayLike<number>, bits: number) =>
    Array.from(codes, (code, i) => ({ code, word: Math.floor((i * bits) / 32), shift: (i * bits) % 32 }));
  const cases: [bits: number, count: number][] = [
    [4, 24],
    [4, 13],
    [3, 32],
    [3, 77],
    [2, 35],
    [8, 11],
  ];

  it.each(cases)('packs %d bits, %d codes', async (bits, count) => {
    const codes = codesFor(760 + bits, count, bits);
    const words = pack(codes, bits);
    const wanted = truth(codes, bits);
    const wrong = (change: (out: Uint32Array, place: { code: number; word: number; shift: number }) => void) => () => {
      const out = new Uint32Array(wanted.length);
      for (const place of places(codes, bits)) change(out, place);
      return bytesOf(out);
    };
    const add = (out: Uint32Array, word: number, value: number) => {
      if (word < out.length) out[word]! |= value;
    };
    const perWord = Math.floor(32 / bits);
    await expectClose(bytesOf(numbersOf(words)), bytesOf(wanted), {
      what: 'the bytes of the words',
      hints: {
        ...lookalikes({
          'highest-bits-first': [
            'The first code stands in the highest bits of a word. Begin with the lowest.',
            () => bytesOf(truthFromTheTop(codes, bits, wanted.length)),
          ],
          'straddling-lost': [
            'A code that begins in one word and ends in the next has lost its upper bits: they belong into the lowest bits ' +
              'of the next word.',
            wrong((out, { code, word, shift }) => add(out, word, code << shift)),
          ],
          'gaps-at-the-end-of-words': [
            'Codes that do not fit into the rest of a word begin in the next one, and some bits of each word stay empty. ' +
              'Let them straddle: 32 codes of 3 bits are exactly 3 words.',
            () =>
              bytesOf(
                Array.from(
                  { length: Math.ceil(count / perWord) },
                  (_, w) => truth(codes.slice(w * perWord, (w + 1) * perWord), bits)[0]!,
                ),
              ),
          ],
          overwritten: [
            'Of the codes of a word only the last is left: each overwrites the one before. Put it in with |=.',
            wrong((out, { code, word, shift }) => {
              out[word] = code << shift;
              if (shift + bits > 32 && word + 1 < out.length) out[word + 1] = code >>> (32 - shift);
            }),
          ],
          'shift-by-32': [
            'Words hold bits that are not theirs. A shift by 32 does nothing in JavaScript (x >>> 32 is x): write into the ' +
              'next word only when a code really reaches into it.',
            wrong((out, { code, word, shift }) => {
              add(out, word, code << shift);
              add(out, word + 1, code >>> (32 - shift));
            }),
          ],
          'a-word-for-each': ['Every code has a word of its own. Several share one.', () => bytesOf(codes)],
        }),
      },
    });
  });

  /** Code 0 in the highest bits of word 0, and so on. */
  function truthFromTheTop(codes: ArrayLike<number>, bits: number, length: number): number[] {
    const row = Array.from(codes).flatMap((code) => Array.from({ length: bits }, (_, bit) => (code >> (bits - 1 - bit)) & 1));
    return Array.from({ length }, (_, word) => sum(row.slice(32 * word, 32 * word + 32).map((bit, i) => bit * 2 ** (31 - i))));
  }

  it.each(cases)('unpacks %d bits, %d codes, exactly', async (bits, count) => {
    const codes = codesFor(770 + bits, count, bits);
    const words = Uint32Array.from(truth(codes, bits));
    const mask = 2 ** bits - 1;
    const wrong = (read: (low: number, next: number, shift: number) => number) => () =>
      places(codes, bits).map(({ word, shift }) => read(words[word]!, words[word + 1] ?? 0, shift));
    const high = (next: number, shift: number) => (shift + bits > 32 ? next << (32 - shift) : 0);
    await expectClose(unpack(words, bits, count), codes, {
      what: 'the codes',
      hints: lookalikes({
        'highest-bits-first': [
          'The first code is read from the highest bits of a word. It stands in the lowest.',
          () => {
            const row = Array.from(words).flatMap((word) => Array.from({ length: 32 }, (_, bit) => (word >>> (31 - bit)) & 1));
            return Array.from(codes, (_, i) =>
              sum(row.slice(i * bits, (i + 1) * bits).map((bit, k) => bit * 2 ** (bits - 1 - k))),
            );
          },
        ],
        'straddling-lost': [
          'A code that ends in the next word comes out without its upper bits.',
          wrong((low, _, shift) => (low >>> shift) & mask),
        ],
        'not-masked': [
          'The bits of the codes above come along. Keep the lowest ones only: & (2^bits - 1).',
          wrong((low, next, shift) => ((low >>> shift) | high(next, shift)) & 255),
        ],
        'shift-by-32': [
          'Codes at the beginning of a word are mixed with the next word. A shift by 32 does nothing in JavaScript (x << ' +
            '32 is x): take bits from the next word only when the code reaches into it.',
          wrong((low, next, shift) => ((low >>> shift) | (next << (32 - shift))) & mask),
        ],
        'sign-smeared': [
          'Where the highest bit of a word is set, codes that straddle come out with too many ones: >> copies the sign ' +
            'downwards. Shift with >>>.',
          wrong((low, next, shift) => ((low >> shift) | high(next, shift)) & mask),
        ],
        signed: [
          'Codes from the middle on come out negative. They are numbers from 0 to 2^bits - 1.',
          () => Array.from(codes, (code) => (code >= 2 ** (bits - 1) ? code - 2 ** bits : code)),
        ],
      }),
    });
  });
});

describe('7.7 multiplying packed weights', () => {
  interface Parts {
    code?: (word: number, k: number) => number;
    wordAt?: (o: number, i: number) => number;
    groupOf?: (o: number, g: number) => number;
    zeroOf?: (o: number, g: number) => number;
    value?: (code: number, scale: number, zero: number) => number;
  }
  const cases: [string, Shape & { groupSize: number }][] = [
    ['5 × 24, groups of 8', { outputs: 5, inputs: 24, groupSize: 8 }],
    ['3 × 64, groups of 16', { outputs: 3, inputs: 64, groupSize: 16 }],
    ['7 × 32, a row is a group', { outputs: 7, inputs: 32, groupSize: 32 }],
  ];

  it.each(cases)('gives x Wᵀ: %s', async (_, shape) => {
    const { outputs, inputs, groupSize } = shape;
    const G = inputs / groupSize;
    const random = new Random(77);
    const words = Uint32Array.from({ length: (outputs * inputs) / 8 }, () => random.integer(2 ** 32));
    const scales = Float32Array.from({ length: outputs * G }, () => 0.1 + random.integer(1000) / 1000);
    const zeros = Float32Array.from({ length: outputs * G }, () => random.integer(16));
    const x = normals(772, inputs);
    const product = (parts: Parts = {}): number[] => {
      const { code = (word, k) => (word >>> (4 * k)) & 15, wordAt = (o, i) => (o * inputs + i) >> 3 } = parts;
      const { groupOf = (o, g) => o * G + g, zeroOf = groupOf, value = (c, s, z) => s * (c - z) } = parts;
      return Array.from({ length: outputs }, (__, o) =>
        sum(
          Array.from(x, (input, i) => {
            const g = Math.floor(i / groupSize);
            return input * value(code(words[wordAt(o, i)]!, i % 8), scales[groupOf(o, g)]!, zeros[zeroOf(o, g)]!);
          }),
        ),
      );
    };
    const looks = (say: string, parts: Parts): [string, () => number[]] => [say, () => product(parts)];
    const given = x.slice();
    const received = packedLinear(x, { ...shape, words, scales, zeros });
    await expectClose(received, product(), {
      what: 'the product',
      hints: lookalikes({
        'zeros-left-out': looks('The zero points are left out: a weight is scale · (code - zero).', { value: (c, s) => s * c }),
        'zero-outside-the-scale': looks('The zero point is not multiplied by the scale: a weight is scale · (code - zero).', {
          value: (c, s, z) => s * c - z,
        }),
        'scales-left-out': looks('The scales are left out: a weight is scale · (code - zero).', { value: (c, _s, z) => c - z }),
        'first-group-only': looks('All groups of a row have the scale and the zero point of the first.', {
          groupOf: (o) => o * G,
        }),
        'grids-of-the-first-row': looks('Every row has the scales and zero points of the first row.', {
          groupOf: (_o, g) => g,
        }),
        'words-of-the-first-row': looks('Every row has the words of the first row. Row o begins at word o · inputs / 8.', {
          wordAt: (_o, i) => i >> 3,
        }),
        'highest-bits-first': looks(
          'The codes of a word are read from the highest bits down. The first stands in the lowest.',
          {
            code: (word, k) => (word >>> (4 * (7 - k))) & 15,
          },
        ),
        'codes-signed': looks('Codes from 8 on are read as negative numbers. They are 0 … 15; the zero point does the rest.', {
          code: (word, k) => (((word >>> (4 * k)) & 15) ^ 8) - 8,
        }),
        'not-masked': looks('The codes above in the word come along: keep four bits of each, & 15.', {
          code: (word, k) => word >>> (4 * k),
        }),
      }),
    });
    await expectClose(x, given, { what: 'x, which is not to be changed' });
  });
});
