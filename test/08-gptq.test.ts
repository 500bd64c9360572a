/**
 * @file Chapter 08, GPTQ: what each answer must do, and what the usual mistakes look like.
 * Expected values come from the definitions, in plain loops in double precision: a step of OBS is held against the minimum of
 * the error with that weight fixed, an elimination against the inverse of the smaller matrix. No two sizes are equal.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Diagnosis, expectClose, gptq, Random, startBackend, tf, type Hints } from 'lab';
import {
  actOrder,
  addInputs,
  damage,
  eliminate,
  gptqStep,
  quantizeRow,
  surgery,
  undoOrder,
  upperFactor,
} from '../solutions/08-gptq.ts';

beforeAll(async () => {
  await startBackend();
});
beforeEach(() => tf.engine().startScope());
afterEach(() => tf.engine().endScope());

type Matrix = number[][];

const TOLERANCE = 1e-8;
const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const copyOf = (matrix: Matrix): Matrix => matrix.map((row) => [...row]);
const transposed = (matrix: Matrix): Matrix => matrix[0]!.map((_, j) => matrix.map((row) => row[j]!));
const product = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => transposed(b).map((column) => sum(row.map((x, k) => x * column[k]!))));

/** By Gauss and Jordan, with the largest pivot. */
function inverted(matrix: Matrix): Matrix {
  const n = matrix.length;
  const rows = matrix.map((row, i) => [...row, ...row.map((_, j) => (i === j ? 1 : 0))]);
  for (let c = 0; c < n; c++) {
    const pivot = rows.slice(c).reduce((best, row, i) => (Math.abs(row[c]!) > Math.abs(rows[best]![c]!) ? c + i : best), c);
    [rows[c], rows[pivot]] = [rows[pivot]!, rows[c]!];
    rows[c] = rows[c]!.map((x) => x / rows[c]![c]!);
    for (let r = 0; r < n; r++) {
      const factor = rows[r]![c]!;
      if (r !== c) rows[r] = rows[r]!.map((x, j) => x - factor * rows[c]![j]!);
    }
  }
  return rows.map((row) => row.slice(n));
}

/** 2 X Xᵀ / tokens of inputs that differ in strength and have a share in common. */
function hessianOf(n: number, seed: number, shared = 0.7): Matrix {
  const random = new Random(seed);
  const tokens = 3 * n;
  const X = Array.from({ length: tokens }, () => {
    const common = random.normal();
    return Array.from({ length: n }, (_, i) => (1 + i / n) * (random.normal() + shared * common));
  });
  return product(transposed(X), X).map((row) => row.map((x) => (2 * x) / tokens));
}

const normals = (n: number, seed: number): number[] => Array.from(new Random(seed).normals(n));
/** ½ δᵀ H δ */
const lossOf = (change: readonly number[], H: Matrix): number =>
  0.5 * sum(change.map((x, i) => x * sum(change.map((y, j) => y * H[i]![j]!))));

/** @throws Diagnosis when it does not hold. */
function expectThat(holds: boolean, hint: string, say: string): void {
  if (!holds) throw new Diagnosis(hint, say);
}

/** @throws Diagnosis when what was given to the answer has changed. */
function expectUnchanged(what: string, now: unknown, before: unknown): void {
  const same = JSON.stringify(now) === JSON.stringify(before);
  expectThat(same, 'changes-its-inputs', `The ${what} that your function was given have changed. Work on a copy.`);
}

describe('8.1 the Hessian of a layer', () => {
  const n = 4;
  const batches = [3, 7, 2].map((tokens, i) => tf.tensor2d(new Random(851 + i).normals(tokens * n), [tokens, n]).arraySync());
  interface State {
    hessian: tf.Tensor2D;
    tokens: number;
  }
  type Add = (state: State, x: tf.Tensor2D) => State;
  const EMPTY = (): State => ({ hessian: tf.zeros([n, n]), tokens: 0 });
  const through = (add: Add): State => batches.reduce((state, x) => add(state, tf.tensor2d(x)), EMPTY());
  const gram = (x: tf.Tensor2D): tf.Tensor2D => tf.matMul(x, x, true, false);
  const all = batches.flat();
  const truth = product(transposed(all), all).map((row) => row.map((x) => (2 * x) / all.length));
  const hessianBy = (change: (before: tf.Tensor2D, x: tf.Tensor2D, seen: number, count: number) => tf.Tensor2D) => () =>
    through(({ hessian, tokens }, x) => ({
      hessian: change(hessian, x, tokens, x.shape[0]),
      tokens: tokens + x.shape[0],
    })).hessian;
  const hints: Hints = {
    'two-missing': {
      say: 'All values are half of what they should be: the error is ‖(w − q) X‖², and its second derivative is 2 X Xᵀ.',
      looksLike: truth.map((row) => row.map((x) => x / 2)),
    },
    'sum-instead-of-average': {
      say: 'The products are added up and never divided by the number of tokens: the more you look at, the larger it gets.',
      looksLike: hessianBy((before, x) => before.add(gram(x).mul(2))),
    },
    'every-batch-counts-the-same': {
      say:
        'A batch of 2 tokens counts as much as one of 7. Every token should: weigh with the numbers of tokens, ' +
        'before and now.',
      looksLike: () => {
        let count = 0;
        return through(({ hessian, tokens }, x) => {
          const own = gram(x).mul(2 / x.shape[0] / (count + 1));
          const mean = hessian.mul<tf.Tensor2D>(count / (count + 1)).add<tf.Tensor2D>(own);
          count++;
          return { hessian: mean, tokens: tokens + x.shape[0] };
        }).hessian;
      },
    },
    'newest-batch-alone': {
      say: 'The result knows nothing of the batches before: it is the Hessian of the newest one.',
      looksLike: hessianBy((_, x, __, count) => gram(x).mul(2 / count)),
    },
    'old-average-not-shrunk': {
      say:
        'The old average is taken over whole. It was an average over fewer tokens: multiply it by tokens ' +
        'before / tokens now.',
      looksLike: hessianBy((before, x, seen, count) => before.add(gram(x).mul(2 / (seen + count)))),
    },
  };

  it('of a single batch is 2 xᵀ x / tokens', async () => {
    // As many tokens as inputs, so that either product has the right shape.
    const x = all.slice(0, n);
    const scaled = (matrix: Matrix, factor: number): Matrix => matrix.map((row) => row.map((value) => value * factor));
    await expectClose(addInputs(EMPTY(), tf.tensor2d(x)).hessian, scaled(product(transposed(x), x), 2 / n), {
      tolerance: 1e-5,
      what: 'the Hessian',
      hints: {
        'two-missing': { say: hints['two-missing']!.say, looksLike: scaled(product(transposed(x), x), 1 / n) },
        'tokens-by-tokens': {
          say: 'Your matrix has a row for each token. H has a row for each input: the first factor is the transposed one.',
          looksLike: scaled(product(x, transposed(x)), 2 / n),
        },
      },
    });
  });

  it('over batches of different sizes is that of all tokens at once', async () => {
    await expectClose(through(addInputs).hessian, truth, { tolerance: 1e-5, what: 'the Hessian', hints });
  });

  it('counts the tokens', async () => {
    await expectClose(through(addInputs).tokens, 12, {
      what: 'tokens',
      hints: {
        'counts-batches': { say: 'tokens went up by one with each batch; it counts tokens, not batches.', looksLike: 3 },
        'tokens-not-counted': { say: 'tokens does not grow: return the old number and those of x.', looksLike: 0 },
      },
    });
  });

  it('leaves the state that it was given', async () => {
    const state = EMPTY();
    addInputs(state, tf.tensor2d(batches[0]!));
    const same = state.tokens === 0 && !state.hessian.isDisposed;
    expectThat(same, 'changes-its-inputs', 'The state that your function was given has changed. Return a new one.');
    await expectClose(state.hessian, tf.zeros([n, n]), { what: 'the old Hessian' });
  });
});

describe('8.2 brain damage', () => {
  const weights = normals(6, 811);
  const H = hessianOf(6, 812);
  const by = (saliency: (w: number, q: number) => number): number[] => weights.map(saliency);
  const hints: Hints = {
    'half-missing': {
      say: 'All values are twice what they should be: the second term of the Taylor series is ½ h w².',
      looksLike: by((w, q) => H[q]![q]! * w ** 2),
    },
    'not-squared': {
      say:
        'A saliency grows with the square of the weight: the error has its minimum here, so the first term of ' +
        'the series is zero.',
      looksLike: () => by((w, q) => 0.5 * H[q]![q]! * Math.abs(w)),
    },
    'keeps-the-sign': {
      say: 'Some saliencies are negative. The weight enters with its square, so its sign cannot matter.',
      looksLike: by((w, q) => 0.5 * H[q]![q]! * w),
    },
    'size-alone': {
      say:
        'Only the size of the weight is in your result, so the Hessian is not used: a large weight on a weak ' +
        'input does little.',
      looksLike: by((w) => 0.5 * w ** 2),
    },
    'sum-of-the-row': {
      say: 'You add up a row of the Hessian. When nobody else moves, only the element on the diagonal, h_qq, matters.',
      looksLike: by((w, q) => 0.5 * sum(H[q]!) * w ** 2),
    },
    'divided-by-the-curvature': {
      say: 'The weight is divided by the curvature. A strong input makes its weight more important, not less.',
      looksLike: by((w, q) => (0.5 * w ** 2) / H[q]![q]!),
    },
  };

  it('is the error that the layer makes when the weight alone becomes zero', async () => {
    const truth = weights.map((w, q) =>
      lossOf(
        weights.map((_, i) => (i === q ? -w : 0)),
        H,
      ),
    );
    await expectClose(damage([...weights], copyOf(H)), truth, { tolerance: TOLERANCE, what: 'the saliencies', hints });
  });

  it('is zero where a weight or its input is zero', async () => {
    const dead = H.map((row, i) => row.map((x, j) => (i === 2 || j === 2 ? 0 : x)));
    const result = damage([0, 1, 3, -1, 1, 1], dead);
    await expectClose([result[0], result[2]], [0, 0], { tolerance: TOLERANCE, what: 'saliencies 0 and 2', hints: {} });
  });
});

describe('8.3 the surgeon’s cut', () => {
  const n = 5;
  const H = hessianOf(n, 821);
  const inverse = inverted(H);
  const weights = normals(n, 822);

  /** The minimum of ½ δᵀHδ with δ_q = −w_q, by solving for the others. */
  function minimum(q: number): { weights: number[]; loss: number } {
    const others = [...weights.keys()].filter((i) => i !== q);
    const solved = inverted(others.map((i) => others.map((j) => H[i]![j]!)));
    const right = others.map((i) => H[i]![q]! * weights[q]!);
    const change = weights.map((w, i) => (i === q ? -w : sum(solved[others.indexOf(i)]!.map((x, j) => x * right[j]!))));
    return { weights: weights.map((w, i) => w + change[i]!), loss: lossOf(change, H) };
  }
  const moved = (q: number, factor: (d: number) => number, column = (i: number) => inverse[i]![q]!): number[] =>
    weights.map((w, i) => (i === q ? 0 : w - factor(inverse[q]![q]!) * column(i)));
  const weightHints = (q: number): Hints => ({
    'nobody-reacts': {
      say: 'Weight q is zero, and all others are as they were. That is brain damage; the surgeon lets them make up for it.',
      looksLike: moved(q, () => 0),
    },
    'wrong-direction': {
      say:
        'The others move in the wrong direction, and make the error larger. The change is −(w_q / [H⁻¹]_qq) ' +
        'times column q of H⁻¹.',
      looksLike: moved(q, (d) => -weights[q]! / d),
    },
    'not-divided': {
      say: 'The change of the others is not divided by [H⁻¹]_qq.',
      looksLike: moved(q, () => weights[q]!),
    },
    'weight-forgotten': {
      say: 'The others move by column q of H⁻¹ / [H⁻¹]_qq, however large the weight was. The change is in proportion to w_q.',
      looksLike: moved(q, (d) => 1 / d),
    },
    'cut-moves-all': {
      say:
        'The diagonal of H⁻¹ is in your change, where its column q should be: each weight moves by what ties ' +
        'it to weight q.',
      looksLike: moved(
        q,
        (d) => weights[q]! / d,
        (i) => inverse[i]![i]!,
      ),
    },
  });
  const lossHints = (q: number): Hints => {
    const [w, d] = [weights[q]!, inverse[q]![q]!];
    return {
      'loss-half-missing': { say: 'The loss is twice what it should be: w_q² / (2 [H⁻¹]_qq).', looksLike: w ** 2 / d },
      'loss-of-brain-damage': {
        say:
          'That is the loss without the repair, ½ h_qq w_q². With it, H_qq gives way to 1 / [H⁻¹]_qq, which is ' +
          'never larger.',
        looksLike: 0.5 * H[q]![q]! * w ** 2,
      },
      'loss-multiplied': {
        say: 'The loss is multiplied by [H⁻¹]_qq. It is divided by it: where H⁻¹ is large, the others can replace this weight.',
        looksLike: 0.5 * w ** 2 * d,
      },
    };
  };

  it.each([0, 2, 4])('moves the others to the minimum of the error: weight %i', async (q) => {
    const result = surgery([...weights], copyOf(inverse), q);
    await expectClose(result.weights, minimum(q).weights, { tolerance: TOLERANCE, what: 'weights', hints: weightHints(q) });
  });

  it.each([1, 3])('says by how much the error grew: weight %i', async (q) => {
    const result = surgery([...weights], copyOf(inverse), q);
    await expectClose(result.loss, minimum(q).loss, { tolerance: TOLERANCE, what: 'loss', hints: lossHints(q) });
  });

  it('leaves exactly zero in place q', () => {
    const left = Array.from({ length: n }, (_, q) => surgery([...weights], copyOf(inverse), q).weights[q]!);
    expectThat(
      !left.some((w) => w !== 0 && Math.abs(w) < 1e-9),
      'nearly-zero',
      'Weight q is not zero, but what rounding left of it. Write the zero: a weight that is nearly zero still takes its place.',
    );
  });

  it('leaves what it was given as it was', () => {
    const [given, matrix] = [[...weights], copyOf(inverse)];
    surgery(given, matrix, 1);
    expectUnchanged('weights or the inverse', [given, matrix], [weights, inverse]);
  });
});

describe('8.4 one weight less', () => {
  const n = 6;
  const H = hessianOf(n, 831);
  const inverse = inverted(H);
  const zeroed = (matrix: Matrix, gone: readonly number[]): Matrix =>
    matrix.map((row, i) => row.map((x, j) => (gone.includes(i) || gone.includes(j) ? 0 : x)));
  /** The inverse of what is left of H, at the places where it was. */
  function rest(gone: readonly number[]): Matrix {
    const left = [...H.keys()].filter((i) => !gone.includes(i));
    const small = inverted(left.map((i) => left.map((j) => H[i]![j]!)));
    return H.map((row, i) =>
      row.map((_, j) => (gone.includes(i) || gone.includes(j) ? 0 : small[left.indexOf(i)]![left.indexOf(j)]!)),
    );
  }
  const step = (matrix: Matrix, change: (i: number, j: number) => number): Matrix =>
    matrix.map((row, i) => row.map((x, j) => x - change(i, j)));
  const hintsFor = (from: Matrix, gone: readonly number[]): Hints => {
    const q = gone.at(-1)!;
    const d = from[q]![q]!;
    return {
      'only-struck-out': {
        say:
          'Row and column q of the inverse are gone, but the rest is as it was: the inverse of a part is not a ' +
          'part of the inverse.',
        looksLike: zeroed(from, gone),
      },
      'not-divided': {
        say: 'Column times row is taken away without dividing by [H⁻¹]_qq.',
        looksLike: zeroed(
          step(from, (i, j) => from[i]![q]! * from[q]![j]!),
          gone,
        ),
      },
      'added': {
        say: 'Column times row is added where it must be taken away: with one weight less, the others can do less.',
        looksLike: zeroed(
          step(from, (i, j) => (-from[i]![q]! * from[q]![j]!) / d),
          gone,
        ),
      },
      'divided-by-the-root': {
        say: 'The product is divided by the square root of [H⁻¹]_qq; it is divided by [H⁻¹]_qq itself.',
        looksLike: zeroed(
          step(from, (i, j) => (from[i]![q]! * from[q]![j]!) / Math.sqrt(d)),
          gone,
        ),
      },
      'row-changed-while-it-was-read': {
        say:
          'Row q itself becomes zero on the way, and the rows below are then given nothing to take away. Keep a copy of ' +
          'row q, or write into a new matrix.',
        looksLike: zeroed(
          step(from, (i, j) => (i <= q ? (from[i]![q]! * from[q]![j]!) / d : 0)),
          gone,
        ),
      },
    };
  };

  it.each([2, 4])('is the inverse of what is left of H: weight %i', async (q) => {
    const result = eliminate(copyOf(inverse), q);
    await expectClose(result, rest([q]), { tolerance: TOLERANCE, what: 'the inverse', hints: hintsFor(inverse, [q]) });
  });

  it('goes on: a second and a third weight', async () => {
    const second = eliminate(rest([4]), 1);
    await expectClose(second, rest([4, 1]), { tolerance: TOLERANCE, what: 'the inverse', hints: hintsFor(rest([4]), [4, 1]) });
    const third = eliminate(rest([4, 1]), 3);
    const hints = hintsFor(rest([4, 1]), [4, 1, 3]);
    await expectClose(third, rest([4, 1, 3]), { tolerance: TOLERANCE, what: 'the inverse', hints });
  });

  it('leaves exact zeros in row and column q', () => {
    const result = eliminate(copyOf(inverse), 3);
    const cross = result.flatMap((row, i) => row.filter((_, j) => i === 3 || j === 3));
    expectThat(
      !cross.some((x) => x !== 0 && Math.abs(x) < 1e-9),
      'nearly-zero',
      'Row and column q are not zero, but what rounding left. Later it would be divided by: write the zeros.',
    );
    expect(cross.every((x) => x === 0)).toBe(true);
  });

  it('leaves what it was given as it was', () => {
    const matrix = copyOf(inverse);
    eliminate(matrix, 1);
    expectUnchanged('numbers of the inverse', matrix, inverse);
  });
});

describe('8.5 OBQ', () => {
  const n = 7;
  const H = hessianOf(n, 841, 3);
  const inverse = inverted(H);
  /** Several, as a grid hides small moves from a single one. */
  const ROWS = Array.from({ length: 6 }, (_, row) => normals(n, 842 + row));
  type Quantize = (value: number, q: number) => number;

  interface Parts {
    /** Which H⁻¹ the next step sees. */
    next?: (matrix: Matrix, q: number) => Matrix;
    cost?: (error: number, diagonal: number) => number;
    choose?: (costs: readonly (readonly [number, number])[]) => number;
    /** What the others move by, from the error. */
    factor?: (error: number, diagonal: number) => number;
  }
  const strike = (matrix: Matrix, q: number): Matrix =>
    matrix.map((row, i) =>
      row.map((x, j) => (i === q || j === q ? 0 : x - (matrix[i]![q]! * matrix[q]![j]!) / matrix[q]![q]!)),
    );
  const grid: Quantize = (value, q) => (0.21 + 0.013 * q) * Math.round(value / (0.21 + 0.013 * q));

  /** The algorithm with one part exchanged. */
  function obq(weights: readonly number[], parts: Parts, order?: readonly number[]): { weights: number[]; order: number[] } {
    const { next = strike, cost = (e, d) => e ** 2 / d, factor = (e, d) => e / d } = parts;
    const { choose = (costs) => costs.reduce((best, other) => (other[1] < best[1] ? other : best))[0] } = parts;
    const row = [...weights];
    const taken: number[] = [];
    let left = [...row.keys()];
    let matrix = inverse;
    const error = (q: number): number => row[q]! - grid(row[q]!, q);
    while (left.length > 0) {
      const q = order?.[taken.length] ?? choose(left.map((i) => [i, cost(error(i), matrix[i]![i]!)] as const));
      const change = factor(error(q), matrix[q]![q]!);
      const rounded = grid(row[q]!, q);
      for (const i of left) row[i]! -= change * matrix[i]![q]!;
      row[q] = rounded;
      left = left.filter((i) => i !== q);
      matrix = next(matrix, q);
      taken.push(q);
    }
    return { weights: row, order: taken };
  }
  const GIVEN = [3, 0, 6, 1, 5, 2, 4];
  const quantizeAll = (order?: readonly number[]): { weights: number[]; order: number[] }[] =>
    ROWS.map((row) => quantizeRow([...row], copyOf(inverse), grid, order && [...order]));
  const weightsBy = (parts: Parts, order?: readonly number[]): Matrix => ROWS.map((row) => obq(row, parts, order).weights);
  const hintsFor = (order?: readonly number[]): Hints => ({
    'nobody-reacts': {
      say: 'Every weight is rounded by itself, as in rounding to nearest. After each rounding, those that are left must move.',
      looksLike: () => weightsBy({ factor: () => 0 }, order),
    },
    'wrong-direction': {
      say:
        'The weights that are left move in the wrong direction: each becomes w_i − e [H⁻¹]_iq / [H⁻¹]_qq, for ' +
        'e = w_q − quant(w_q).',
      looksLike: () => weightsBy({ factor: (e, d) => -e / d }, order),
    },
    'not-divided': {
      say: 'What the others move by is not divided by [H⁻¹]_qq.',
      looksLike: () => weightsBy({ factor: (e) => e }, order),
    },
    'inverse-stays': {
      say:
        'The inverse stays what it was. After each step it must become that of the weights that are left, by an ' +
        'elimination (8.4); to cross out row and column q is not enough.',
      looksLike: () => weightsBy({ next: (matrix) => matrix }, order),
    },
  });

  it('takes the weights in the order that is given, and lets those that are left react', async () => {
    await expectClose(
      quantizeAll(GIVEN).map(({ weights }) => weights),
      weightsBy({}, GIVEN),
      {
        tolerance: TOLERANCE,
        what: 'the weights of some rows',
        hints: { ...settledHint(quantizeAll(GIVEN)), ...hintsFor(GIVEN) },
      },
    );
  });
  /** Seen first: who moves what is settled gets everything else wrong, too. */
  function settledHint(results: readonly { weights: number[] }[]): Hints {
    const say =
      'Weights that have been rounded move again, so they are not on their grids in the end. Once settled, a weight ' +
      'stays.';
    const isOff = (w: number, q: number): boolean => Math.abs(grid(w, q) - w) > 1e-9;
    return {
      'settled-weights-move': { say, when: results.some(({ weights }) => weights.some(isOff)) },
    };
  }

  it('without an order takes what costs least at that moment', async () => {
    const received = quantizeAll();
    const orderBy = (parts: Parts): Matrix => ROWS.map((row) => obq(row, parts).order);
    await expectClose(
      received.map(({ order }) => order),
      orderBy({}),
      {
        what: 'the order in which some rows were taken',
        hints: {
          'first-to-last': {
            say:
              'Without an order, the weights are taken from the first to the last. Next is the one whose ' +
              'rounding costs least.',
            looksLike: ROWS.map((row) => row.map((_, q) => q)),
          },
          'most-expensive-first': {
            say: 'You take the weight whose rounding costs most. Next is the one that costs least.',
            looksLike: () =>
              orderBy({ choose: (costs) => costs.reduce((best, other) => (other[1] > best[1] ? other : best))[0] }),
          },
          'cost-without-the-inverse': {
            say: 'The order goes by the rounding error alone. Its cost is the error squared, divided by 2 [H⁻¹]_qq.',
            looksLike: () => orderBy({ cost: (e) => e ** 2 }),
          },
          'cost-times-the-inverse': {
            say: 'The cost is the error squared times [H⁻¹]_qq; it is divided by it.',
            looksLike: () => orderBy({ cost: (e, d) => e ** 2 * d }),
          },
          'order-decided-at-the-start': {
            say:
              'The whole order is decided before the first step. Costs change with each step: the weights ' +
              'move, and so does H⁻¹.',
            looksLike: ROWS.map((row) => {
              const costs = row.map((w, q) => (w - grid(w, q)) ** 2 / inverse[q]![q]!);
              return [...row.keys()].sort((a, b) => costs[a]! - costs[b]!);
            }),
          },
        },
      },
    );
    await expectClose(
      received.map(({ weights }) => weights),
      weightsBy({}),
      { tolerance: TOLERANCE, what: 'the weights of some rows', hints: hintsFor() },
    );
  });

  it('says in which order it was done, when that was given, too', async () => {
    const orders = quantizeAll(GIVEN).map(({ order }) => order);
    await expectClose(
      orders,
      ROWS.map(() => GIVEN),
      { what: 'the order' },
    );
  });

  it('does nothing to weights that lie on the grid', async () => {
    const on = [2, -1, 3, 0, 1, -2, -3].map((code, q) => grid(0.21 * code, q));
    await expectClose(quantizeRow([...on], copyOf(inverse), grid).weights, on, { what: 'the weights' });
  });

  it('leaves what it was given as it was', () => {
    const [given, matrix, order] = [[...ROWS[0]!], copyOf(inverse), [...GIVEN]];
    quantizeRow(given, matrix, grid, order);
    expectUnchanged('weights, the inverse or the order', [given, matrix, order], [ROWS[0], inverse, GIVEN]);
  });
});

describe('8.6 all inverses at once', () => {
  const n = 6;
  const H = hessianOf(n, 861);
  const inverse = inverted(H);
  /** L with L Lᵀ = A, by its definition. */
  function lowerFactor(A: Matrix): Matrix {
    const L = A.map((row) => row.map(() => 0));
    for (let i = 0; i < A.length; i++) {
      for (let j = 0; j <= i; j++) {
        const rest = A[i]![j]! - sum(L[i]!.slice(0, j).map((x, k) => x * L[j]![k]!));
        L[i]![j] = i === j ? Math.sqrt(rest) : rest / L[j]![j]!;
      }
    }
    return L;
  }
  const backwards = (matrix: Matrix): Matrix => matrix.map((row) => [...row].reverse()).reverse();
  const truth = transposed(lowerFactor(inverse));
  const upper = (value: (i: number, j: number) => number): Matrix =>
    inverse.map((row, i) => row.map((_, j) => (j < i ? 0 : value(i, j))));
  const hints: Hints = {
    'lower': {
      say: 'That is the lower factor, L with L Lᵀ = H⁻¹. Asked for is U = Lᵀ: row q holds what the columns behind q are owed.',
      looksLike: transposed(truth),
    },
    'factor-the-other-way-round': {
      say: 'U Uᵀ gives H⁻¹ here, and not Uᵀ U: the elimination went from the last weight to the first.',
      looksLike: backwards(lowerFactor(backwards(inverse))),
    },
    'factor-of-h': {
      say: 'Uᵀ U is the inverse of what was given: you invert the argument, which is H⁻¹ already.',
      looksLike: () => transposed(lowerFactor(H)),
    },
    'not-eliminated': {
      say:
        'Every row is taken from the first H⁻¹. Between the rows there is a step of elimination: row q comes ' +
        'from what is left then.',
      looksLike: upper((i, j) => inverse[i]![j]! / Math.sqrt(inverse[i]![i]!)),
    },
    'divided-by-the-diagonal': {
      say: 'The diagonal of your U is 1: the rows are divided by [H⁻¹]_qq. Uᵀ U needs the square root of it.',
      looksLike: upper((i, j) => truth[i]![j]! / truth[i]![i]!),
    },
    'not-divided': {
      say: 'The rows are those of the inverses, not divided by the root of [H⁻¹]_qq.',
      looksLike: upper((i, j) => truth[i]![j]! * truth[i]![i]!),
    },
  };

  it('gives H⁻¹ as Uᵀ U, with zeros below the diagonal', async () => {
    await expectClose(upperFactor(copyOf(inverse)), truth, { tolerance: TOLERANCE, what: 'U', hints });
  });

  it('holds in row q what OBQ would divide by and subtract at step q', async () => {
    const U = upperFactor(copyOf(inverse));
    for (const q of [0, 2, 5]) {
      const left = H.slice(q).map((row) => row.slice(q));
      const [first] = inverted(left);
      const expected = first!.map((x) => x / first![0]!);
      await expectClose(
        U[q]!.slice(q).map((x) => x / U[q]![q]!),
        expected,
        { tolerance: TOLERANCE, what: `row ${q}, divided by its first number,`, hints: {} },
      );
    }
  });

  it('throws where a square would have to be negative', () => {
    const wrong = copyOf(inverse);
    wrong[3]![3] = -1;
    let result: Matrix | null = null;
    try {
      result = upperFactor(wrong);
    } catch {
      // That is asked for.
    }
    expectThat(
      result === null,
      'no-error',
      `The matrix is not positive definite, and you return ${result?.flat().some(Number.isNaN) ? 'NaN' : 'numbers'}. ` +
        'Throw an error: whoever called can then add some damping and try again.',
    );
  });

  it('leaves what it was given as it was', () => {
    const matrix = copyOf(inverse);
    upperFactor(matrix);
    expectUnchanged('numbers of the inverse', matrix, inverse);
  });
});

describe('8.7 GPTQ’s step', () => {
  const [C, R] = [6, 4];
  const H = hessianOf(C, 871);
  const inverse = inverted(H);
  interface Block {
    columns: number;
    rows: number;
    weights: Float64Array;
    quantized: Float64Array;
    errors: Float64Array;
    factor: Float64Array;
    quantize: (value: number, column: number, row: number) => number;
  }
  type Step = (block: Block, column: number) => void;
  /** Every row has a grid of its own, and so has every column. */
  const onGrid = (value: number, column: number, row: number): number => {
    const scale = 0.2 + 0.03 * row + 0.01 * column;
    return scale * Math.round(value / scale);
  };
  const lower = (A: Matrix): Matrix => {
    const L = A.map((row) => row.map(() => 0));
    for (let i = 0; i < A.length; i++) {
      for (let j = 0; j <= i; j++) {
        const rest = A[i]![j]! - sum(L[i]!.slice(0, j).map((x, k) => x * L[j]![k]!));
        L[i]![j] = i === j ? Math.sqrt(rest) : rest / L[j]![j]!;
      }
    }
    return L;
  };
  const U = transposed(lower(inverse));
  /** Below the diagonal, where zeros belong, stands something else, so that whoever reads it is seen. */
  const FACTOR = U.flatMap((row, i) => row.map((x, j) => (j < i ? 0.25 : x)));
  const start = new Random(872).normals(C * R);
  const block = (): Block => ({
    columns: C,
    rows: R,
    weights: Float64Array.from(start),
    quantized: new Float64Array(C * R),
    errors: new Float64Array(C * R),
    factor: Float64Array.from(FACTOR),
    quantize: onGrid,
  });

  interface Parts {
    error?: (difference: number, diagonal: number) => number;
    share?: (U: Float64Array, column: number, later: number) => number;
    sign?: number;
  }
  const stepWith =
    ({ error = (e, d) => e / d, share = (u, c, j) => u[c * C + j]!, sign = -1 }: Parts): Step =>
    ({ weights, quantized, errors, factor, quantize }, column) => {
      for (let row = 0; row < R; row++) {
        const at = column * R + row;
        quantized[at] = quantize(weights[at]!, column, row);
        errors[at] = error(weights[at]! - quantized[at]!, factor[column * C + column]!);
        for (let j = column + 1; j < C; j++) weights[j * R + row]! += sign * errors[at]! * share(factor, column, j);
      }
    };
  const after = (step: Step, columns: number): Block => {
    const given = block();
    for (let column = 0; column < columns; column++) step(given, column);
    return given;
  };
  const behind = ({ weights }: Block): Float64Array => weights.slice(2 * R);
  const mistakes: Record<string, { say: string; step: Step }> = {
    'nobody-reacts': {
      say: 'The columns behind are as they were: every weight is rounded by itself. They must make up for the error.',
      step: stepWith({ share: () => 0 }),
    },
    'error-not-divided': {
      say: 'The error is not divided by U_cc, the diagonal of the factor.',
      step: stepWith({ error: (e) => e }),
    },
    'error-divided-by-the-square': {
      say: 'The error is divided by U_cc². That is for rows of H⁻¹; the rows of U are divided by U_cc already.',
      step: stepWith({ error: (e, d) => e / d ** 2 }),
    },
    'wrong-direction': {
      say: 'The columns behind move in the wrong direction: w_j ← w_j − e U_cj, for e = (w_c − q_c) / U_cc.',
      step: stepWith({ sign: 1 }),
    },
    'reads-a-column-of-u': {
      say: 'You take U_jc, which is below the diagonal, where all is zero. The debts of column c stand in row c: U_cj.',
      step: stepWith({ share: (u, c, j) => u[j * C + c]! }),
    },
    'last-column-forgotten': {
      say: 'The last column of the block never changes: the loop over j ends one too early.',
      step: (given, column) => {
        const last = given.weights.slice((C - 1) * R);
        stepWith({})(given, column);
        if (column < C - 1) given.weights.set(last, (C - 1) * R);
      },
    },
  };
  const hintsAfter = (columns: number, read: (block: Block) => ArrayLike<number>): Hints =>
    Object.fromEntries(
      Object.entries(mistakes).map(([id, { say, step }]) => [id, { say, looksLike: () => read(after(step, columns)) }]),
    );
  const right = stepWith({});

  it('quantizes the column, with the grids of its rows', async () => {
    const received = block();
    gptqStep(received, 2);
    const expected = block();
    right(expected, 2);
    const column = (numbers: Float64Array): Float64Array => numbers.slice(2 * R, 3 * R);
    const by = (read: (row: number) => number): number[] => Array.from({ length: R }, (_, row) => read(row));
    await expectClose(column(received.quantized), column(expected.quantized), {
      tolerance: TOLERANCE,
      what: 'quantized[c · R …]',
      hints: {
        'not-stored': {
          say: 'quantized is still all zero: write the rounded weights there, too.',
          when: received.quantized.every((x) => x === 0),
        },
        'another-layout': {
          say: 'Your numbers are elsewhere: the weight of column c, row r lies at c · R + r, not at r · C + c.',
          when: hasOtherLayout(received, 2),
        },
        'row-and-column-swapped': {
          say: 'quantize is asked with row and column in each other’s place: quantize(value, column, row).',
          looksLike: by((row) => onGrid(start[2 * R + row]!, row, 2)),
        },
        'rounded-without-the-grid': {
          say: 'The weights are rounded to whole numbers. block.quantize knows the grid of each row.',
          looksLike: by((row) => Math.round(start[2 * R + row]!)),
        },
      },
    });
    await expectClose(column(received.errors), column(expected.errors), {
      tolerance: TOLERANCE,
      what: 'errors[c · R …]',
      hints: {
        'errors-not-stored': {
          say: 'errors is still all zero. The blocks behind this one are owed them: write them there.',
          when: received.errors.every((x) => x === 0),
        },
        'error-not-divided': {
          say: mistakes['error-not-divided']!.say,
          looksLike: column(after2(mistakes['error-not-divided']!.step).errors),
        },
        'error-divided-by-the-square': {
          say: mistakes['error-divided-by-the-square']!.say,
          looksLike: column(after2(mistakes['error-divided-by-the-square']!.step).errors),
        },
        'error-inverted': {
          say: 'The error has the wrong sign: it is (weight − quantized) / U_cc.',
          looksLike: column(expected.errors).map((x) => -x),
        },
      },
    });
  });
  /** Whether a column was read and written as if rows lay together. */
  function hasOtherLayout({ quantized }: Block, column: number): boolean {
    const rows = Array.from({ length: R }, (_, row) => row);
    return rows.every((row) => quantized[row * C + column] === onGrid(start[row * C + column]!, column, row));
  }
  /** The third column alone. */
  function after2(step: Step): Block {
    const given = block();
    step(given, 2);
    return given;
  }

  it('lets the columns behind make up for it', async () => {
    await expectClose(behind(after(gptqStep, 2)), behind(after(right, 2)), {
      tolerance: TOLERANCE,
      what: 'the weights behind the first two columns',
      hints: hintsAfter(2, behind),
    });
  });

  it('column by column gives what OBQ gives in that order', async () => {
    const expected = Array.from({ length: R }, (_, row) => {
      const weights = Array.from({ length: C }, (__, column) => start[column * R + row]!);
      for (let q = 0; q < C; q++) {
        const left = H.slice(q).map((line) => line.slice(q));
        const [first] = inverted(left);
        const error = weights[q]! - onGrid(weights[q]!, q, row);
        first!.forEach((x, i) => (weights[q + i]! -= (error * x) / first![0]!));
      }
      return weights;
    });
    const { quantized } = after(gptqStep, C);
    const rows = expected.map((_, row) => Array.from({ length: C }, (__, column) => quantized[column * R + row]!));
    await expectClose(rows, expected, { tolerance: TOLERANCE, what: 'the quantized weights', hints: {} });
  });

  it('leaves the factor and the columns before it alone', () => {
    const received = block();
    gptqStep(received, 3);
    expectThat(
      received.factor.every((x, i) => x === FACTOR[i]),
      'changes-the-factor',
      'The factor has changed. It is the same for every column, and belongs to all of them.',
    );
    expectThat(
      hasOtherLayout(received, 3) || received.weights.slice(0, 3 * R).every((x, i) => x === start[i]),
      'all-columns-move',
      'Columns before this one have changed: they are settled. The loop over the columns begins at column + 1.',
    );
  });

  it('quantizes a layer as the library does, with blocks and groups', async () => {
    const shape = { outputs: 5, inputs: 12 };
    const weights = Float32Array.from(new Random(873).normals(60));
    const hessian = Float64Array.from(hessianOf(12, 874).flat());
    const options = { bits: 3, groupSize: 4, blockSize: 6, symmetric: true } as const;
    const ours = await gptq(weights, shape, hessian, options);
    const theirs = await gptq(weights, shape, hessian, { ...options, columnStep: gptqStep });
    await expectClose(theirs.matrix.codes, ours.matrix.codes, { what: 'the codes' });
    await expectClose(theirs.columnLosses, ours.columnLosses, { tolerance: TOLERANCE, what: 'the losses of the columns' });
  });
});

describe('8.8 act-order', () => {
  const diagonal = [2.5, 9, 0.4, 10, 2.5, 31, 0.05, 7];
  const ORDER = [5, 3, 1, 7, 0, 4, 2, 6];
  const GROUPS = [2, 1, 3, 0, 2, 0, 3, 1]; // of two
  const swapped = (order: readonly number[]): number[] => order.map((_, input) => order.indexOf(input));
  const orderHints: Hints = {
    'weakest-first': {
      say: 'The weakest input comes first. The strongest should, while most others can still make up for it.',
      looksLike: [6, 2, 0, 4, 7, 1, 3, 5],
    },
    'sorted-as-text': {
      say: 'Your order is that of words, where 10 comes before 9: sort() needs a function that compares numbers.',
      looksLike: [...diagonal.keys()].sort((a, b) => (String(diagonal[a]) < String(diagonal[b]) ? 1 : -1)),
    },
    'ranks-instead-of-inputs': {
      say: 'Your list says for each input at which step it comes. Asked for is the other way: for each step, which input.',
      looksLike: swapped(ORDER),
    },
    'values-instead-of-inputs': {
      say: 'You return the sorted values; asked for are the places where they stood.',
      looksLike: [31, 10, 9, 7, 2.5, 2.5, 0.4, 0.05],
    },
    'later-of-equals-first': {
      say: 'Of two inputs that are equally strong, the later one comes first. Keep them in their order.',
      looksLike: [5, 3, 1, 7, 4, 0, 2, 6],
    },
  };

  it('takes the strongest input first', async () => {
    await expectClose(actOrder([...diagonal], 2).order, ORDER, { what: 'order', hints: orderHints });
  });

  it('knows the group of each input: groups are runs of the sweep', async () => {
    await expectClose(actOrder([...diagonal], 2).groupIndex, GROUPS, {
      what: 'groupIndex',
      hints: {
        'groups-of-neighbours': {
          say: 'Your groups are neighbours among the inputs, as without act-order. A group is what is swept together.',
          looksLike: [0, 0, 1, 1, 2, 2, 3, 3],
        },
        'groups-by-step': {
          say:
            'The index is in the order of the sweep: it says floor(step / size) of each step. It must stand ' +
            'where the input stands.',
          looksLike: ORDER.map((input) => Math.floor(input / 2)),
        },
        'step-instead-of-group': {
          say: 'groupIndex holds the step of each input; divide it by the size of a group, rounded down.',
          looksLike: swapped(ORDER),
        },
      },
    });
    expect(actOrder([...diagonal], 4).groupIndex).toEqual([1, 0, 1, 0, 1, 0, 1, 0]);
  });

  it('puts values back to their inputs', async () => {
    const swept = ORDER.map((input) => 100 + input);
    const expected = diagonal.map((_, input) => 100 + input);
    await expectClose(undoOrder([...swept], [...ORDER]), expected, {
      what: 'the values',
      hints: {
        'not-undone': { say: 'The values stand in the order of the sweep still.', looksLike: swept },
        'ordered-twice': {
          say:
            'The order is applied once more instead of being undone: values[input] = swept[step], and not the ' +
            'other way round.',
          looksLike: ORDER.map((input) => swept[input]!),
        },
        'sorted': {
          say: 'You sort the values. Where a value belongs is known from the order alone.',
          looksLike: [...swept].sort((a, b) => b - a),
        },
      },
    });
  });

  it('undoes what the order did, whatever the order', async () => {
    const values = normals(diagonal.length, 881);
    const back = undoOrder(
      ORDER.map((input) => values[input]!),
      [...ORDER],
    );
    await expectClose(back, values, { what: 'the values' });
  });

  it('leaves what it was given as it was', () => {
    const [given, order] = [[...diagonal], [...ORDER]];
    actOrder(given, 2);
    undoOrder([...ORDER], order);
    expectUnchanged('diagonal or the order', [given, order], [diagonal, ORDER]);
  });
});
