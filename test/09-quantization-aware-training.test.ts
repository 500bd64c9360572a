/**
 * @file Chapter 09, quantization-aware training: what each answer must do, and what the usual mistakes look like.
 * Expected values come from plain loops in float64; what a mistake would have given comes from the same loops with a part
 * exchanged. All sizes differ (B 2, T 5, I 7, O 3, V 6; K 3, S 4), so that no two axes can be confused unnoticed.
 */
import { afterEach, beforeAll, beforeEach, describe, it } from 'vitest';
import { expectClose, Random, startBackend, tf, type Hints } from 'lab';
import {
  appendQuantized,
  distillationLoss,
  fakeQuantize,
  fakeQuantLinear,
  integerProduct,
  quantizeRows,
  writeSequence,
} from '../solutions/09-quantization-aware-training.ts';

beforeAll(async () => {
  await startBackend();
});
beforeEach(() => tf.engine().startScope());
afterEach(() => tf.engine().endScope());

type Row = number[];
type Rows = number[][];

function random<T extends tf.Tensor>(seed: number, ...shape: number[]): T {
  const size = shape.reduce((all, axis) => all * axis, 1);
  return tf.tensor(new Random(seed).normals(size), shape) as T;
}

const rowsOf = async (x: tf.Tensor): Promise<Rows> => (await x.reshape([-1, x.shape.at(-1)!]).array()) as Rows;
const largest = (row: Row): number => Math.max(...row.map(Math.abs));
const transposed = (rows: Rows): Rows => rows[0]!.map((_, column) => rows.map((row) => row[column]!));

/** To the nearest whole number, halves to the even one. */
function halfToEven(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

interface Grid {
  most?: (bits: number) => number;
  round?: (x: number) => number;
  least?: number;
}

const stepOf = (row: Row, bits: number, { most = (b) => 2 ** (b - 1) - 1, least = 1e-6 }: Grid = {}): number =>
  (largest(row) + least) / most(bits);

function onGrid(row: Row, bits: number, grid: Grid = {}): Row {
  const { round = halfToEven } = grid;
  const step = stepOf(row, bits, grid);
  return row.map((x) => step * round(x / step));
}

/** x Wᵀ + b in float64. */
function product(x: Rows, weight: Rows, bias: Row = weight.map(() => 0)): Rows {
  return x.map((row) => weight.map((w, o) => row.reduce((sum, value, i) => sum + value * w[i]!, bias[o]!)));
}

const shapeOf = (x: unknown): string => (x instanceof tf.Tensor ? x.shape.join() : '');

/** Σ f(x) · upstream, differentiated; or the message of what went wrong. */
function gradientOf(f: (x: tf.Tensor) => tf.Tensor, x: tf.Tensor, upstream: tf.Tensor): tf.Tensor | string {
  try {
    return tf.grad((values: tf.Tensor) => f(values).mul(upstream).sum())(x);
  } catch (error) {
    for (const node of tf.engine().state.activeTape ?? []) tf.dispose(node.saved ?? []);
    if (!(error instanceof Error) || error.name === 'NotWrittenYet') throw error;
    return error.message;
  }
}

/** Stands in for the gradient where there is none. */
const NONE = 'none';

describe('9.1 straight-through', () => {
  it.each([3, 4, 8])('puts each row on its own grid of %i bits', async (bits) => {
    const x = random(1, 2, 5, 7);
    const rows = await rowsOf(x);
    const as = (values: Rows): tf.Tensor => tf.tensor2d(values).reshape([2, 5, 7]);
    const steps = rows.map((row) => stepOf(row, bits));
    await expectClose(fakeQuantize(x, bits), as(rows.map((row) => onGrid(row, bits))), {
      what: `fakeQuantize(x, ${bits})`,
      hints: {
        'codes-not-values': {
          say: 'These are the codes: whole numbers. Multiply them by the scale again, so that what follows sees values.',
          looksLike: () => as(rows.map((row, i) => onGrid(row, bits).map((value) => value / steps[i]!))),
        },
        'one-grid-for-all': {
          say:
            'One scale for the whole tensor. Every row (the last axis) has its own: max over the last axis, with keepDims, ' +
            'so ' +
            'that it can be divided by.',
          looksLike: () => {
            const all = stepOf(rows.flat(), bits);
            return as(rows.map((row) => row.map((value) => all * halfToEven(value / all))));
          },
        },
        'one-step-too-many': {
          say:
            'The largest number of a row should become 2^(bits - 1) - 1, so that -x has a code when x has one. Is the - 1 ' +
            'there?',
          looksLike: () => as(rows.map((row) => onGrid(row, bits, { most: (b) => 2 ** (b - 1) }))),
        },
        'all-codes-on-one-side': {
          say: 'The grid has 2^bits - 1 steps on each side: it takes one bit more than allowed. One bit is the sign.',
          looksLike: () => as(rows.map((row) => onGrid(row, bits, { most: (b) => 2 ** b - 1 }))),
        },
        'rounds-down': {
          say: 'Everything is rounded down. round goes to the nearest whole number; with floor the values shrink on average.',
          looksLike: () => as(rows.map((row) => onGrid(row, bits, { round: Math.floor }))),
        },
      },
    });
  });

  it('a row of zeros stays zeros', async () => {
    const out = fakeQuantize(
      tf.tensor2d([
        [0, 0, 0],
        [1, -2, 0],
      ]),
      4,
    );
    const values = out instanceof tf.Tensor ? await out.data() : [];
    await expectClose(out, [[0, 0, 0], onGrid([1, -2, 0], 4)], {
      hints: {
        'divides-by-zero': {
          say: 'A row of zeros has max|x| = 0, and 0 / 0 is NaN. That is what the 1e-6 is for.',
          when: Array.from(values).some(Number.isNaN),
        },
      },
    });
  });

  it('passes the gradient straight through', async () => {
    const x = random(2, 4, 7).mul(2);
    const upstream = random(3, 4, 7);
    const gradient = gradientOf((values) => fakeQuantize(values, 3), x, upstream);
    const [rows, dy] = [await rowsOf(x), await rowsOf(upstream)];
    const found = typeof gradient === 'string' ? [] : (await rowsOf(gradient)).flat();
    const atLargest = rows.flatMap((row) => row.map((value) => Math.abs(value) === largest(row)));
    const zeroElsewhere = found.length > 0 && found.every((value, i) => atLargest[i] || value === 0);
    // q = s round(x / s) with the rounding straight through: dq/ds = round(x / s) - x / s reaches the largest of the row.
    const throughScale = rows.map((row, r) => {
      const step = stepOf(row, 3);
      const atScale = row.reduce((sum, value, i) => sum + dy[r]![i]! * (halfToEven(value / step) - value / step), 0) / 3;
      return row.map((value, i) => dy[r]![i]! + (Math.abs(value) === largest(row) ? Math.sign(value) * atScale : 0));
    });
    await expectClose(typeof gradient === 'string' ? NONE : gradient, dy, {
      what: 'the gradient',
      hints: {
        'no-way-through': {
          say:
            'Almost every gradient is 0: rounding is flat between its steps, and that is what TensorFlow.js was told. ' +
            'tf.customGrad lets you say what the gradient should be instead.',
          when: zeroElsewhere,
        },
        'through-the-scale': {
          say:
            'The gradient is right but for the largest number of each row: there the way through the scale was added. The ' +
            'estimator takes the grid as given; compute the scale inside of tf.customGrad, too.',
          looksLike: throughScale,
        },
        'ignores-what-comes-in': {
          say:
            'The gradient is 1 everywhere. What comes in from above must be passed on: gradFunc is given dy, the gradient of ' +
            'the loss for the output.',
          looksLike: dy.map((row) => row.map(() => 1)),
        },
        'multiplied-by-the-scale': {
          say: 'The gradient was multiplied by the scale. Dividing and multiplying by it cancel: dy itself is passed on.',
          looksLike: () => dy.map((row, r) => row.map((value) => value * stepOf(rows[r]!, 3))),
        },
        'stopped-at-a-limit': {
          say:
            'The gradient stops at large numbers. Nothing is clipped here (the grid reaches as far as the row), so all of ' +
            'it passes.',
          when: found.length > 0 && found.every((value, i) => value === 0 || Math.abs(value - dy.flat()[i]!) < 1e-5),
        },
      },
    });
  });
});

describe('9.2 fake-quantized linear', () => {
  const inputs = (): { x: tf.Tensor3D; weight: tf.Tensor2D; bias: tf.Tensor1D } => ({
    x: random(11, 2, 5, 7),
    weight: random(12, 3, 7),
    bias: random(13, 3),
  });

  it.each([
    { weights: 3, activations: 4 },
    { weights: 2, activations: 8 },
    { weights: 4, activations: null },
    { weights: null, activations: 3 },
    { weights: null, activations: null },
  ])('computes on both grids: %o', async (bits) => {
    const { x, weight, bias } = inputs();
    const [rows, W, b] = [await rowsOf(x), await rowsOf(weight), Array.from(await bias.data())];
    const put = (given: Rows, by: number | null): Rows => (by === null ? given : given.map((row) => onGrid(row, by)));
    const as = (values: Rows): tf.Tensor => tf.tensor2d(values).reshape([2, 5, 3]);
    const { weights, activations } = bits;
    const right = product(put(rows, activations), put(W, weights), b);
    const both = weights !== null && activations !== null;
    const hints: Hints = {
      'null-is-no-number': {
        say: 'Where the bits are null, nothing is put on a grid: these are floats. Ask for null before you quantize.',
        // 2^(null - 1) - 1 is -0.5: every code becomes 0, and only the bias is left.
        ...(!both && {
          looksLike: () =>
            as(
              product(
                rows,
                W.map((row) => row.map(() => 0)),
                b,
              ),
            ),
        }),
      },
      'weights-stay-floats': {
        say: 'The weights are multiplied as the floats they are. They go onto the grid first.',
        ...(weights !== null && { looksLike: () => as(product(put(rows, activations), W, b)) }),
      },
      'inputs-stay-floats': {
        say: 'The inputs are multiplied as the floats they are. In use, activations have few bits, too.',
        ...(activations !== null && { looksLike: () => as(product(rows, put(W, weights), b)) }),
      },
      'bits-swapped': {
        say: "The two numbers of bits are swapped: the inputs have the weights' bits.",
        ...(both && { looksLike: () => as(product(put(rows, weights), put(W, activations), b)) }),
      },
      'a-grid-per-input': {
        say:
          'The weights of an *input* share a grid. They must be those of an output, a row of W: only then can the scale be ' +
          'taken out of the sum over the inputs.',
        ...(weights !== null && {
          looksLike: () => as(product(put(rows, activations), transposed(put(transposed(W), weights)), b)),
        }),
      },
      'output-quantized': {
        say: "The output was put on a grid, too. That is the next layer's business: it quantizes its own inputs.",
        ...(both && { looksLike: () => as(right.map((row) => onGrid(row, activations))) }),
      },
      'no-bias': {
        say: 'The bias is missing.',
        looksLike: () => as(product(put(rows, activations), put(W, weights))),
      },
    };
    await expectClose(fakeQuantLinear(x, weight, bias, bits), as(right), {
      what: `fakeQuantLinear with ${JSON.stringify(bits)}`,
      hints,
    });
  });

  it('gives gradients to the float weights, the inputs and the bias', async () => {
    const { x, weight, bias } = inputs();
    const upstream = random(14, 2, 5, 3);
    const bits = { weights: 3, activations: 4 };
    const [rows, W, dy] = [await rowsOf(x), await rowsOf(weight), await rowsOf(upstream)];
    const [Q, QW] = [rows.map((row) => onGrid(row, 4)), W.map((row) => onGrid(row, 3))];
    const expected = {
      x: tf.tensor2d(product(dy, transposed(QW))).reshape([2, 5, 7]),
      weight: product(transposed(dy), transposed(Q)),
      bias: transposed(dy).map((column) => column.reduce((a, b) => a + b, 0)),
    };
    const of = {
      x: gradientOf((given) => fakeQuantLinear(given, weight, bias, bits), x, upstream),
      weight: gradientOf((given) => fakeQuantLinear(x, given, bias, bits), weight, upstream),
      bias: gradientOf((given) => fakeQuantLinear(x, weight, given, bits), bias, upstream),
    };
    for (const name of ['bias', 'weight', 'x'] as const) {
      const gradient = of[name];
      await expectClose(typeof gradient === 'string' ? NONE : gradient, expected[name], {
        what: `the gradient of ${name}`,
        hints: {
          'gradient-lost': {
            say:
              `No gradient comes through to ${name}. Rounding must go through fakeQuantize, whose gradient you wrote, and ` +
              `nothing ` +
              'may be read into JavaScript on the way.',
            when: async () =>
              name !== 'bias' && (typeof gradient === 'string' || Number(await gradient.abs().max().array()) === 0),
          },
        },
      });
    }
  });
});

describe('9.3 self-generated data', () => {
  const V = 6;
  /** Logits that depend on the whole text: nothing can be left out unnoticed. */
  const logitsOf = (tokens: readonly number[]): Float32Array => {
    const seed = tokens.reduce((sum, token, i) => (sum * 31 + (token + 1) * (i + 3)) % 9973, 7);
    return new Random(seed).normals(V);
  };
  interface Variant {
    greedyLength?: number;
    length?: number;
    /** What the model is shown. */
    shown?: (tokens: number[]) => number[];
    weigh?: (logits: Float32Array) => Float32Array;
    keepFirst?: boolean;
  }
  const softmax = (logits: Float32Array): Float32Array => {
    const most = Math.max(...logits);
    const weights = logits.map((x) => Math.exp(x - most));
    const total = weights.reduce((a, b) => a + b, 0);
    return weights.map((x) => x / total);
  };
  function write(
    first: number,
    variant: Required<Pick<Variant, 'greedyLength' | 'length'>> & Variant,
    draws: readonly number[],
  ): number[] {
    const { greedyLength, length, shown = (tokens) => tokens, weigh = softmax, keepFirst = true } = variant;
    const tokens = [first];
    let drawn = 0;
    while (tokens.length < length) {
      const logits = logitsOf(shown(tokens));
      if (tokens.length < greedyLength) tokens.push(logits.indexOf(Math.max(...logits)));
      else {
        const weights = weigh(logits);
        const total = weights.reduce((a, b) => a + b, 0);
        let left = draws[drawn++ % draws.length]! * total;
        const at = weights.findIndex((weight) => (left -= weight) < 0);
        tokens.push(at < 0 ? V - 1 : at);
      }
    }
    return keepFirst ? tokens : tokens.slice(1);
  }

  it.each([
    [2, 16, 4],
    [0, 15, 3],
    [5, 17, 5],
    [1, 14, 1],
    [3, 6, 9],
  ])('begins with token %i, and has %i tokens, %i of them certain', async (first, length, greedyLength) => {
    const numbers = Array.from({ length: 16 }, (_, i) => new Random(100 * first + i).uniform());
    let drawn = 0;
    const shown: number[][] = [];
    const nextLogits = (tokens: ArrayLike<number>): Promise<Float32Array> => {
      shown.push(Array.from(tokens));
      return Promise.resolve(logitsOf(Array.from(tokens)));
    };
    const uniform = (): number => numbers[drawn++ % numbers.length]!;
    const written = await writeSequence(nextLogits, first, length, greedyLength, uniform);
    const given = { greedyLength, length };
    const like = (variant: Variant): number[] => write(first, { ...given, ...variant }, numbers);
    const expected = like({});
    await expectClose(written, expected, {
      what: 'the sequence',
      hints: {
        'first-is-missing': {
          say: 'The first token is missing in what is returned: the sequence begins with it.',
          looksLike: like({ keepFirst: false }),
        },
        'one-token-too-many': {
          say: 'One token too many: `length` counts the first token, too.',
          when: Array.isArray(written) && written.length === length + 1,
        },
        'one-more-greedy': {
          say: 'One greedy token too many: the first token counts among the `greedyLength` tokens.',
          looksLike: like({ greedyLength: greedyLength + 1 }),
        },
        'always-greedy': {
          say: 'Every token is the most likely one. After the greedy beginning they are drawn, or all texts will be alike.',
          looksLike: like({ greedyLength: length }),
        },
        'never-greedy': {
          say: 'Every token is drawn, the first ones, too. Until there are `greedyLength` tokens, take the most likely one.',
          looksLike: like({ greedyLength: 1 }),
        },
        'sees-the-last-token-only': {
          say: 'The model is shown the last token alone. What comes next depends on the whole text so far.',
          when: shown.some((tokens, i) => i > 0 && tokens.length === 1) && length > 2,
        },
        'any-token-alike': {
          say: "Every token is drawn as often as any other. Draw from the model's distribution: the softmax of its logits.",
          looksLike: like({ weigh: (logits) => logits.map(() => 1) }),
        },
        'logits-are-no-probabilities': {
          say: 'The logits themselves are added up. Only their softmax is a distribution: positive, with a sum of 1.',
          looksLike: like({ weigh: (logits) => logits.map((x) => Math.max(0, x)) }),
        },
      },
    });
    await expectClose(drawn, Math.max(0, length - Math.max(1, greedyLength)), {
      what: 'how often uniform() was called',
      hints: {
        'draws-without-need': {
          say:
            'The sequence is right, but uniform() was called for greedy tokens, too. One number for each token that is ' +
            'drawn.',
          when: drawn === length - 1,
        },
      },
    });
  });
});

describe('9.4 distillation', () => {
  const logSoftmax = (row: Row): Row => {
    const most = Math.max(...row);
    const logTotal = most + Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0));
    return row.map((x) => x - logTotal);
  };
  const sum = (values: Row): number => values.reduce((a, b) => a + b, 0);
  /** What one token adds, of log p and log q. */
  type OfToken = (logP: Row, logQ: Row) => number;
  const forward: OfToken = (logP, logQ) => sum(logP.map((lp, i) => Math.exp(lp) * (lp - logQ[i]!)));
  const meanOf = (teacher: Rows, student: Rows, ofToken: OfToken): number =>
    sum(teacher.map((row, i) => ofToken(logSoftmax(row), logSoftmax(student[i]!)))) / teacher.length;
  const logits = () => ({
    student: random<tf.Tensor3D>(21, 2, 5, 6).mul<tf.Tensor3D>(2),
    teacher: random<tf.Tensor3D>(22, 2, 5, 6).mul<tf.Tensor3D>(2),
  });

  it('is the mean of Σ p (log p − log q) over the tokens', async () => {
    const { student, teacher } = logits();
    const [q, p] = [await rowsOf(student), await rowsOf(teacher)];
    const like = (ofToken: OfToken, factor = 1): number => factor * meanOf(p, q, ofToken);
    await expectClose(distillationLoss(student, teacher), meanOf(p, q, forward), {
      what: 'the loss',
      hints: {
        'the-other-way-round': {
          say:
            "This is Σ q (log q − log p), the divergence the other way round. The teacher's p weighs, so that the student " +
            'must ' +
            'cover everything that the teacher thinks possible.',
          looksLike: like((logP, logQ) => forward(logQ, logP)),
        },
        'no-entropy': {
          say:
            'This is the cross-entropy −Σ p log q. Its gradient is right, but it is not 0 when the student equals the ' +
            'teacher: ' +
            "the teacher's own entropy, Σ p log p, is missing.",
          looksLike: like((logP, logQ) => -sum(logP.map((lp, i) => Math.exp(lp) * logQ[i]!))),
        },
        'only-the-likeliest': {
          say:
            "Only the teacher's most likely token counts here. That is what a text gives; the point of distillation is the " +
            'whole ' +
            'distribution.',
          looksLike: like((logP, logQ) => -logQ[logP.indexOf(Math.max(...logP))]!),
        },
        'mean-over-the-vocabulary': {
          say: 'The mean was taken over the vocabulary, too: V times too small. Sum over the last axis, mean over the tokens.',
          looksLike: like(forward, 1 / 6),
        },
        'sum-over-the-tokens': {
          say: 'A sum over the tokens, so it grows with the batch. Take the mean over all B · T of them.',
          looksLike: like(forward, p.length),
        },
        'distance-of-logits': {
          say:
            'Squared differences of logits. Logits that are all shifted by the same number mean the same; compare ' +
            'distributions.',
          looksLike: sum(p.flatMap((row, i) => row.map((x, j) => (x - q[i]![j]!) ** 2))) / p.flat().length,
        },
      },
    });
  });

  it('stays finite for logits of some hundreds', async () => {
    const student = tf.tensor3d([[[300, -200, 0, 10, 20, 30]]]);
    const teacher = tf.tensor3d([[[250, 251, -300, 0, 0, 0]]]);
    const received = distillationLoss(student, teacher);
    const [value = NaN] = received instanceof tf.Tensor ? await received.data() : [];
    const [p, q] = [await rowsOf(teacher), await rowsOf(student)];
    await expectClose(received, meanOf(p, q, forward), {
      what: 'the loss of large logits',
      hints: {
        overflows: {
          say:
            'For large logits the loss is not a number: an exponential overflows, or the logarithm of a probability that ' +
            'is 0 is ' +
            'taken. tf.logSoftmax gives logarithms that stay finite.',
          when: !Number.isFinite(value),
        },
      },
    });
  });

  it('has the gradient (q − p) / tokens for the student', async () => {
    const { student, teacher } = logits();
    const gradient = gradientOf((given) => distillationLoss(given, teacher), student, tf.scalar(1));
    const [p, q] = [tf.softmax(teacher), tf.softmax(student)];
    await expectClose(typeof gradient === 'string' ? NONE : gradient, q.sub(p).div(10), {
      what: "the gradient of the student's logits",
      hints: {
        'gradient-lost-4': {
          say: 'No gradient comes through to the student. Stay in tensor operations from the logits to the loss.',
          when: typeof gradient === 'string',
        },
      },
    });
  });
});

describe('9.5 per-token activations', () => {
  it.each([4, 8])('whole numbers of %i bits, and the step of each row', async (bits) => {
    const x = random(31, 5, 7).mul<tf.Tensor2D>(3);
    const rows = await rowsOf(x);
    const { codes, scales } = quantizeRows(x, bits);
    const steps = rows.map((row) => [stepOf(row, bits)]);
    const most = 2 ** (bits - 1) - 1;
    const columns = transposed(rows).map((column) => stepOf(column, bits));
    await expectClose(scales, steps, {
      what: 'scales',
      hints: {
        'per-channel': {
          say:
            'These are the scales of columns: one for each input, over all tokens. A token must not wait for others, and a ' +
            'scale ' +
            'per input cannot be taken out of the sum. Take the maximum over the last axis.',
          when: ['1,7', '7', '7,1'].includes(shapeOf(scales)),
          looksLike: columns,
        },
        'upside-down': {
          say: 'These are 1 / scale: what x is multiplied by. `scales` says what one step is worth, x ≈ codes · scales.',
          looksLike: steps.map(([step]) => [1 / step!]),
        },
        'one-for-all': {
          say: 'One scale for all rows. Then a single large number anywhere takes the resolution of every token.',
          when: scales instanceof tf.Tensor && scales.size === 1,
          looksLike: () => steps.map(() => [stepOf(rows.flat(), bits)]),
        },
        'no-kept-axis': {
          say: 'The scales have shape [N]. Keep the axis (keepDims), [N, 1], so that they can be multiplied with the codes.',
          when: shapeOf(scales) === '5',
        },
      },
    });
    const whole = rows.map((row, r) => row.map((value) => halfToEven(value / steps[r]![0]!)));
    await expectClose(codes, whole, {
      what: 'codes',
      hints: {
        'values-not-codes': {
          say: 'These are the values on the grid. The codes are the whole numbers, before they are multiplied by the scale.',
          looksLike: whole.map((row, r) => row.map((code) => code * steps[r]![0]!)),
        },
        'not-whole': {
          say: 'The codes are not whole numbers. x / scale still has to be rounded.',
          looksLike: rows.map((row, r) => row.map((value) => value / steps[r]![0]!)),
        },
        'unsigned-codes': {
          say: `The codes were shifted to be positive. Here they are signed, from -${most} to ${most}, so that 0 is 0.`,
          when: async () => codes instanceof tf.Tensor && Number(await codes.min().array()) >= 0,
        },
      },
    });
  });

  it('the product of codes, scaled at the end', async () => {
    const x = { codes: tf.round(random(32, 5, 7).mul(40)), scales: random(33, 5, 1).abs() };
    const weight = { codes: tf.round(random(34, 3, 7).mul(3)), scales: random(35, 3, 1).abs() };
    const [X, W] = [await rowsOf(x.codes), await rowsOf(weight.codes)];
    const [sx, sw] = [await x.scales.data(), await weight.scales.data()];
    const sums = product(X, W);
    const scaled = (by: (t: number, o: number) => number): Rows =>
      sums.map((row, t) => row.map((value, o) => value * by(t, o)));
    await expectClose(
      integerProduct(x, weight),
      scaled((t, o) => sx[t]! * sw[o]!),
      {
        what: 'the product',
        hints: {
          'no-scales': {
            say:
              'This is the product of the codes alone. Multiply output o of token t by the scale of the token and that of ' +
              'the output.',
            looksLike: sums,
          },
          'weights-scale-missing': {
            say: 'The scales of the weights are missing: output o is still in steps of row o of the weights.',
            looksLike: scaled((t) => sx[t]!),
          },
          'tokens-scale-missing': {
            say: 'The scales of the tokens are missing: row t is still in steps of token t.',
            looksLike: scaled((_, o) => sw[o]!),
          },
          'scales-added': {
            say: 'The two scales were added. (s c) · (s′ c′) = s s′ · c c′: they are multiplied.',
            looksLike: scaled((t, o) => sx[t]! + sw[o]!),
          },
        },
      },
    );
  });
});

describe('9.6 a quantized cache', () => {
  const [B, K, S] = [2, 3, 4];
  const steps = [4, 1, 2].map((tokens, i) => ({
    k: () => random<tf.Tensor4D>(41 + i, B, K, tokens, S).mul<tf.Tensor4D>(1 + i),
    v: () => random<tf.Tensor4D>(51 + i, B, K, tokens, S),
  }));
  type Part = 'k' | 'v';

  /** [B, K, T, S] → a row for each token, [B, T, K·S]. */
  const byToken = (x: tf.Tensor): tf.Tensor => x.transpose([0, 2, 1, 3]).reshape([B, x.shape[2]!, K * S]);
  const byHead = (rows: tf.Tensor): tf.Tensor => rows.reshape([B, -1, K, S]).transpose([0, 2, 1, 3]);
  const gridOf = async (x: tf.Tensor, bits: number): Promise<tf.Tensor> => {
    const rows = await rowsOf(x);
    return tf.tensor2d(rows.map((row) => onGrid(row, bits))).reshape(x.shape);
  };
  const all = (part: Part, count: number): tf.Tensor[] => steps.slice(0, count).map((step) => step[part]());

  it.each([4, 8])('gives back the tokens on their grids of %i bits', async (bits) => {
    type Output = ReturnType<typeof appendQuantized>;
    const outputs: Output[] = [];
    for (const { k, v } of steps) outputs.push(appendQuantized(outputs.at(-1)?.cache ?? null, k(), v(), bits));
    // The last first: with a single step, old and new tokens cannot be told apart.
    for (const [i, out] of [...outputs.entries()].toReversed()) {
      for (const part of ['k', 'v'] as const) {
        const given = all(part, i + 1);
        const joined = tf.concat(given, 2);
        const expected = byHead(await gridOf(byToken(joined), bits));
        const other = all(part === 'k' ? 'v' : 'k', i + 1);
        const largestOf = tf.maximum(byToken(joined).abs().max(-1, true), byToken(tf.concat(other, 2)).abs().max(-1, true));
        const sharedStep = largestOf.add(1e-6).div(2 ** (bits - 1) - 1);
        const hints: Hints = {
          'nothing-quantized': {
            say: 'These are the floats that were put in: nothing was rounded. What is given back must come from the codes.',
            looksLike: joined,
          },
          'new-tokens-exact': {
            say:
              'Earlier tokens come from the codes, the new ones are the exact floats. Then a token changes in the moment ' +
              'it becomes ' +
              'old; give all of them from the codes.',
            looksLike: async () => {
              const old = i === 0 ? [] : [byHead(await gridOf(byToken(tf.concat(given.slice(0, -1), 2)), bits))];
              return tf.concat([...old, given.at(-1)!], 2);
            },
          },
          'a-scale-per-head': {
            say:
              'Every head has a scale of its own: K times as many scales as asked for. Here the whole width of a token, K ' +
              '· S ' +
              'numbers, shares one.',
            looksLike: async () => gridOf(joined, bits),
          },
          'one-scale-for-all-tokens': {
            say:
              'All tokens of this step share one scale. Each has its own, or the codes of old tokens would have to be ' +
              'computed ' +
              'again whenever a larger one comes.',
            looksLike: async () => {
              const parts: tf.Tensor[] = [];
              for (const x of given) {
                const rows = byToken(x).reshape([B, -1]);
                parts.push(byHead((await gridOf(rows, bits)).reshape([B, x.shape[2]!, K * S])));
              }
              return tf.concat(parts, 2);
            },
          },
          'keys-and-values-share': {
            say: 'Keys and values share a scale. They are of different sizes: each of the two has one for every token.',
            looksLike: () => byHead(byToken(joined).div(sharedStep).round().mul(sharedStep)),
          },
          'newest-first': {
            say: 'The new tokens stand before the old ones. The order of the cache is that of the text.',
            looksLike: async () => byHead(await gridOf(byToken(tf.concat(given.toReversed(), 2)), bits)),
          },
          'old-tokens-lost': {
            say: 'Only the new tokens come back. The new queries look at all tokens, so give the whole cache.',
            looksLike: async () => byHead(await gridOf(byToken(given.at(-1)!), bits)),
          },
          'heads-mixed-up': {
            say:
              'The numbers are there, but not in their places: reshape alone cannot turn [B, K, T, S] into rows of tokens. ' +
              'Transpose first, to [B, T, K, S], and the same on the way back.',
            when: async () => {
              const got = out[part];
              if (!(got instanceof tf.Tensor) || got.size !== expected.size) return false;
              const [a, b] = [Array.from(await got.data()), Array.from(await joined.data())];
              const far = a.filter((value, at) => Math.abs(value - b[at]!) > 1).length;
              return far > a.length / 4;
            },
          },
        };
        await expectClose(out[part], expected, { what: `${part} after ${joined.shape[2]} tokens`, hints });
      }
    }
  });

  it('keeps whole numbers, and one scale for each token', async () => {
    const { k, v } = steps[0]!;
    const { cache } = appendQuantized(null, k(), v(), 4);
    for (const part of ['k', 'v'] as const) {
      const rows = byToken(steps[0]![part]());
      const scales = (await rowsOf(rows)).map((row) => stepOf(row, 4));
      const expected = (await rowsOf(rows)).map((row, r) => row.map((value) => halfToEven(value / scales[r]!)));
      await expectClose(cache[part].codes, tf.tensor2d(expected).reshape([B, 4, K * S]), {
        what: `the codes of ${part}`,
        hints: {
          'floats-are-kept': {
            say: 'What is kept are values, not codes: floats, which take as much memory as before. Keep the whole numbers.',
            looksLike: async () => gridOf(rows, 4),
          },
        },
      });
      await expectClose(cache[part].scales, tf.tensor1d(scales).reshape([B, 4, 1]), { what: `the scales of ${part}` });
    }
  });
});
