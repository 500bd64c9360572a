/**
 * @file Chapter 10, parameter-efficient fine-tuning: what each answer must do, and what the usual mistakes look like.
 * Expected values come from the formulas, in plain loops in double precision. Where a matrix could be taken for its transpose
 * by mistake, it is square.
 */
import { afterEach, beforeAll, beforeEach, describe, it } from 'vitest';
import { Diagnosis, expectClose, Random, startBackend, tf, type Hints } from 'lab';
import {
  adapterForward,
  countTrained,
  doraWeight,
  ia3Forward,
  ia3Merge,
  loraForward,
  merge,
  prefixMask,
  prependPrefix,
  prependPrompt,
  rowLengths,
  selectBiases,
  startAdapter,
  startLoRA,
  unmerge,
} from '../solutions/10-peft.ts';

beforeAll(async () => {
  await startBackend();
});
beforeEach(() => tf.engine().startScope());
afterEach(() => tf.engine().endScope());

type Matrix = number[][];

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const transposed = (a: Matrix): Matrix => a[0]!.map((_, j) => a.map((row) => row[j]!));
const product = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => transposed(b).map((column) => sum(row.map((x, k) => x * column[k]!))));
/** x Wᵀ */
const through = (x: Matrix, weight: Matrix): Matrix => product(x, transposed(weight));
const plus = (a: Matrix, b: Matrix, factor = 1): Matrix => a.map((row, i) => row.map((x, j) => x + factor * b[i]![j]!));
const plusRow = (a: Matrix, row: readonly number[]): Matrix => a.map((own) => own.map((x, j) => x + row[j]!));
const mapped = (a: Matrix, f: (x: number, i: number, j: number) => number): Matrix =>
  a.map((row, i) => row.map((x, j) => f(x, i, j)));
const normals = (seed: number, rows: number, columns: number): Matrix => {
  const random = new Random(seed);
  return range(rows).map(() => Array.from(random.normals(columns)));
};
const vector = (seed: number, n: number): number[] => normals(seed, 1, n)[0]!;

/** @throws Diagnosis when it does not hold. */
function expectThat(holds: boolean, hint: string, say: string): void {
  if (!holds) throw new Diagnosis(hint, say);
}

describe('10.1 what is trained', () => {
  const [L, D, r, n] = [3, 16, 5, 7] as const;
  const both = 2 * D * r;
  const cases: readonly (readonly [name: keyof ReturnType<typeof countTrained>, truth: number, hints: Hints])[] = [
    [
      'lora',
      L * 2 * both,
      {
        'one-thin-matrix': {
          say: 'lora is half of what it should be: each matrix that is adapted gets two thin ones, A [r, D] and B [D, r].',
          looksLike: L * both,
        },
        'lora-as-large-as-the-matrix': {
          say: 'lora counts the change B A as if it were trained as a whole, D · D numbers. Trained are its factors.',
          looksLike: L * 2 * D * D,
        },
      },
    ],
    [
      'adapters',
      L * 2 * (both + r + D),
      {
        'adapter-without-biases': {
          say: 'adapters leaves out the biases: r numbers behind the way down, D behind the way up.',
          looksLike: L * 2 * both,
        },
        'one-adapter-in-a-block': {
          say: 'adapters is half of what it should be: there are two in each block, behind attention and behind the MLP.',
          looksLike: L * (both + r + D),
        },
      },
    ],
    [
      'bitfit',
      L * 11 * D + D,
      {
        'norms-have-biases-too': {
          say: 'bitfit leaves out the biases of the norms: two in each block, and one behind the last.',
          looksLike: L * 9 * D,
        },
        'final-norm-forgotten': { say: 'bitfit leaves out the norm behind the last block: D more.', looksLike: L * 11 * D },
        'up-is-four-times-as-wide': {
          say: 'bitfit counts D for each layer. The first layer of the MLP has 4 D outputs, so 4 D biases.',
          looksLike: L * 8 * D + D,
        },
      },
    ],
    [
      'prompt',
      n * D,
      {
        'prompt-in-every-layer': {
          say: 'prompt is L times too large: it is put in once, before the first block.',
          looksLike: L * n * D,
        },
      },
    ],
    [
      'prefix',
      n * L * 2 * D,
      {
        'prefix-keys-alone': {
          say: 'prefix is half of what it should be: keys and values, each D numbers.',
          looksLike: n * L * D,
        },
        'prefix-in-one-layer': { say: 'prefix counts one layer. It stands in every one.', looksLike: n * 2 * D },
      },
    ],
  ];
  it.each(cases)('%s', async (name, truth, hints) => {
    await expectClose(countTrained(L, D, r, n)[name], truth, { what: name, hints, tolerance: 1e-9 });
  });
});

describe('10.2 an adapter', () => {
  const [N, D, r] = [4, 6, 3] as const;
  const h = normals(1051, N, D);
  const [down, up] = [normals(1052, r, D), normals(1053, D, r)];
  const [downBias, upBias] = [vector(1054, r), vector(1055, D)];
  /** The approximation with tanh, as GPT-2 has it. */
  const gelu = (a: Matrix): Matrix =>
    mapped(a, (y) => 0.5 * y * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (y + 0.044715 * y ** 3))));
  const start = (): ReturnType<typeof startAdapter> => {
    const random = new Random(1056);
    return startAdapter(64, 32, () => random.normal());
  };

  it('begins as the identity, and can leave it', async () => {
    const made = start();
    const input = tf.tensor2d(normals(1057, 3, 64));
    const size = (await made.down.abs().max().data())[0]!;
    const [outside] = await made.up.abs().max().data();
    expectThat(
      size > 0 || outside! > 0,
      'both-ways-zero',
      'Both matrices are zero: the gradient of each is multiplied by the other, so none of them will ever move.',
    );
    expectThat(
      outside === 0,
      'up-is-not-zero',
      'The way up is random, so the adapter disturbs a model that was fine. Make it zero: then h goes through unchanged.',
    );
    await expectClose(
      await made.up.array(),
      mapped(normals(1, 64, 32), () => 0),
      { what: 'up' },
    );
    await expectClose([...made.down.shape], [32, 64], { what: 'the shape of down' });
    const values = Array.from(await made.down.data());
    const deviation = Math.sqrt(sum(values.map((x) => x * x)) / values.length);
    expectThat(
      deviation > 0.115 && deviation < 0.135,
      'down-is-not-one-over-the-root-of-the-width',
      `The numbers of the way down spread by ${deviation.toFixed(3)}; for a width of 64 it should be 1/√64 = 0.125.`,
    );
    await expectClose(adapterForward(input, made), await input.array(), {
      what: 'what a fresh adapter makes of h',
      hints: {
        'h-is-lost': {
          say: 'A fresh adapter gives zeros: the residual, h + …, is missing.',
          looksLike: () => tf.zeros([3, 64]),
        },
      },
    });
  });

  it('is h + up(gelu(down(h)))', async () => {
    const inside = plusRow(through(h, down), downBias);
    const way = (middle: Matrix): Matrix => plusRow(through(middle, up), upBias);
    const parts = {
      down: tf.tensor2d(down),
      downBias: tf.tensor1d(downBias),
      up: tf.tensor2d(up),
      upBias: tf.tensor1d(upBias),
    };
    await expectClose(adapterForward(tf.tensor2d(h), parts), plus(h, way(gelu(inside))), {
      what: 'the output',
      hints: {
        'no-bend': {
          say: 'There is no gelu between the two: two linear layers are one of rank r.',
          looksLike: plus(h, way(inside)),
        },
        'h-is-lost': { say: 'The residual is missing: h itself should go through, too.', looksLike: way(gelu(inside)) },
        'bend-at-the-end': {
          say:
            'The gelu stands behind the way up. There the adapter can hardly take anything away, and inside it is linear; ' +
            'it belongs between.',
          looksLike: plus(h, gelu(way(inside))),
        },
      },
    });
  });
});

describe('10.3 a soft prompt', () => {
  const [B, T, n, D] = [2, 4, 3, 5] as const;
  const prompt = normals(1061, n, D);
  const embedded = range(B).map((row) => normals(1062 + row, T, D));
  const targets = range(B).map((row) => range(T).map((t) => 10 * row + t + 1));
  const run = (): ReturnType<typeof prependPrompt> =>
    prependPrompt(
      tf.tensor2d(prompt),
      tf.tensor3d(embedded),
      targets.map((row) => [...row]),
    );

  it('stands in front of every text', async () => {
    await expectClose(
      run().input,
      embedded.map((text) => [...prompt, ...text]),
      {
        what: 'the input',
        hints: {
          'prompt-behind-the-text': {
            say: 'The prompt stands behind the text, where no token can see it.',
            looksLike: embedded.map((text) => [...text, ...prompt]),
          },
        },
      },
    );
  });

  it('takes positions of its own', async () => {
    await expectClose(run().positions, range(n + T), {
      what: 'the positions',
      hints: {
        'text-begins-at-zero-again': {
          say: 'The first token of the text has the position of the first virtual token: two of them stand in one place.',
          looksLike: [...range(n), ...range(T)],
        },
        'positions-of-the-text-alone': {
          say: 'The virtual tokens have no positions; there are n + T of them.',
          looksLike: range(T),
        },
        'positions-shifted': {
          say: 'All virtual tokens have the position 0. To the model they are tokens like any others: 0, 1, 2, …',
          looksLike: [...range(n).map(() => 0), ...range(T)],
        },
      },
    });
  });

  it('is not asked what comes next', async () => {
    const filled = (value: number): Matrix => targets.map((row) => [...range(n).map(() => value), ...row]);
    await expectClose(run().targets, filled(-100), {
      what: 'the targets',
      hints: {
        'target-zero': {
          say: 'The targets of the virtual tokens are 0. That is a token, which the prompt would learn; −100 is ignored.',
          looksLike: filled(0),
        },
        'targets-not-moved': {
          say: 'The targets have not moved with the text: each token would be asked for what comes somewhere else.',
          looksLike: targets.map((row) => [...row, ...range(n).map(() => -100)]),
        },
        'last-virtual-token-asked': {
          say: 'The last virtual token is asked for a target. The first one known is what follows the first token of the text.',
          looksLike: targets.map((row) => [...range(n - 1).map(() => -100), row[0]!, ...row]),
        },
      },
    });
  });
});

describe('10.4 a prefix', () => {
  const [B, H, T, S, n, L] = [2, 3, 4, 3, 5, 3] as const;
  const prefix = normals(1071, n, L * 2 * H * S);
  const texts = (seed: number): number[][][][] => range(B).map((b) => range(H).map((h) => normals(seed + 10 * b + h, T, S)));
  const [k, v] = [texts(1072), texts(1172)];
  const layer = 1;
  type Place = (which: number, head: number, s: number) => number;
  const usual: Place = (which, head, s) => (layer * 2 + which) * H * S + head * S + s;
  const rows = (which: number, head: number, place: Place): Matrix =>
    prefix.map((row) => range(S).map((s) => row[place(which, head, s)]!));
  const expected = (text: number[][][][], which: number, place = usual): number[][][][] =>
    text.map((heads) => heads.map((own, head) => [...rows(which, head, place), ...own]));
  const run = (): ReturnType<typeof prependPrefix> => prependPrefix(tf.tensor2d(prefix), layer, tf.tensor4d(k), tf.tensor4d(v));
  const hintsFor = (text: number[][][][], which: number): Hints => ({
    'behind-the-text': {
      say: 'The prefix stands behind the text: what is generated next would not fit there, and the mask hides it.',
      looksLike: text.map((heads) => heads.map((own, head) => [...own, ...rows(which, head, usual)])),
    },
    'keys-and-values-exchanged': {
      say: 'Keys and values are exchanged: of each layer the keys come first.',
      looksLike: expected(text, 1 - which),
    },
    'layers-inside-keys': {
      say: 'The matrix was read as all keys of all layers, then all values. It holds those of each layer together.',
      looksLike: expected(text, which, (w, head, s) => (w * L + layer) * H * S + head * S + s),
    },
    'heads-inside-sizes': {
      say: 'The heads are mixed: the H · S numbers are S of the first head, then S of the second; not the other way round.',
      looksLike: expected(text, which, (w, head, s) => (layer * 2 + w) * H * S + s * H + head),
    },
    'always-the-first-layer': {
      say: "Every layer gets the first one's prefix: `layer` is not used.",
      looksLike: expected(text, which, (w, head, s) => w * H * S + head * S + s),
    },
  });

  it('puts keys in front', async () => {
    await expectClose(run().k, expected(k, 0), { what: 'the keys', hints: hintsFor(k, 0) });
  });
  it('puts values in front', async () => {
    await expectClose(run().v, expected(v, 1), { what: 'the values', hints: hintsFor(v, 1) });
  });
  it('is seen by every token', async () => {
    const [m, length] = [3, 5];
    const mask = (sees: (t: number, u: number) => boolean): Matrix =>
      range(length).map((t) => range(m + length).map((u) => Number(sees(t, u))));
    await expectClose(
      prefixMask(m, length),
      mask((t, u) => u <= t + m),
      {
        what: 'the mask',
        hints: {
          'prefix-hidden': {
            say: 'Row 0 sees key 0 alone. The prefix is n keys long, and all of it lies in the past.',
            looksLike: mask((t, u) => u <= t),
          },
          'own-token-hidden': { say: 'No token sees itself.', looksLike: mask((t, u) => u < t + m) },
          'future-visible': {
            say: 'Tokens see what comes after them. Only the prefix is seen by all.',
            looksLike: mask(() => true),
          },
          'prefix-alone': { say: 'Tokens see the prefix alone, and not one another.', looksLike: mask((_, u) => u < m) },
        },
      },
    );
  });
});

describe('10.5 (IA)³', () => {
  const [N, D] = [4, 5] as const;
  const [x, W] = [normals(1081, N, D), normals(1082, D, D)];
  const [b, l] = [vector(1083, D), vector(1084, D)];
  const columns = (a: Matrix, factors: readonly number[]): Matrix => mapped(a, (y, _, j) => y * factors[j]!);
  const rows = (a: Matrix, factors: readonly number[]): Matrix => mapped(a, (y, i) => y * factors[i]!);
  const forward = (scalesInput: boolean): tf.Tensor2D =>
    ia3Forward(tf.tensor2d(x), tf.tensor2d(W), tf.tensor1d(b), tf.tensor1d(l), scalesInput);
  const merged = (scalesInput: boolean): ReturnType<typeof ia3Merge> =>
    ia3Merge(tf.tensor2d(W), tf.tensor1d(b), tf.tensor1d(l), scalesInput);
  const ofInput = plusRow(through(columns(x, l), W), b);
  const ofOutput = columns(plusRow(through(x, W), b), l);

  it('scales inputs', async () => {
    await expectClose(forward(true), ofInput, {
      what: 'the output',
      hints: {
        'inputs-and-outputs-exchanged': { say: 'scalesInput is true, and the outputs are scaled.', looksLike: ofOutput },
        'bias-scaled-with-the-inputs': {
          say: 'The bias is scaled, although only the inputs are: it is added when they are gone.',
          looksLike: plusRow(
            through(columns(x, l), W),
            b.map((y, j) => y * l[j]!),
          ),
        },
      },
    });
  });
  it('scales outputs, with their bias', async () => {
    await expectClose(forward(false), ofOutput, {
      what: 'the output',
      hints: {
        'inputs-and-outputs-exchanged': { say: 'scalesInput is false, and the inputs are scaled.', looksLike: ofInput },
        'output-bias-not-scaled': {
          say: 'The bias is added after the scaling. The output is W x + b, and all of it is scaled.',
          looksLike: plusRow(columns(through(x, W), l), b),
        },
      },
    });
  });
  it('merges what scales inputs', async () => {
    const { weight, bias } = merged(true);
    await expectClose(weight, columns(W, l), {
      what: 'the merged weights',
      hints: {
        'merged-along-the-other-axis': {
          say: 'The factors of inputs belong to the columns of W [O, I].',
          looksLike: rows(W, l),
        },
      },
    });
    await expectClose(bias, b, {
      what: 'the merged bias',
      hints: {
        'input-factors-on-the-bias': {
          say: 'The bias has changed, although only inputs are scaled.',
          looksLike: b.map((y, j) => y * l[j]!),
        },
      },
    });
  });
  it('merges what scales outputs', async () => {
    const { weight, bias } = merged(false);
    await expectClose(weight, rows(W, l), {
      what: 'the merged weights',
      hints: {
        'merged-along-the-other-axis': {
          say: 'The factors of outputs belong to the rows of W [O, I].',
          looksLike: columns(W, l),
        },
      },
    });
    await expectClose(
      bias,
      b.map((y, j) => y * l[j]!),
      {
        what: 'the merged bias',
        hints: {
          'merged-bias-forgotten': { say: 'The bias is as it was. Where outputs are scaled, it is scaled, too.', looksLike: b },
        },
      },
    );
  });
});

describe('10.6 BitFit', () => {
  const shapes: Readonly<Record<string, readonly number[]>> = {
    'tokenEmbedding.weight': [50, 8],
    'positionEmbedding.weight': [16, 8],
    'blocks.0.attentionNorm.weight': [8],
    'blocks.0.attentionNorm.bias': [8],
    'blocks.0.attention.query.weight': [8, 8],
    'blocks.0.attention.query.bias': [8],
    'blocks.0.attention.biasTable.weight': [4, 32],
    'blocks.0.mlp.up.weight': [32, 8],
    'blocks.0.mlp.up.bias': [32],
    'finalNorm.weight': [8],
    'finalNorm.bias': [8],
    'head.bias': [50],
  };
  const parameters = Object.entries(shapes).map(([path, shape]) => ({ path, shape }));
  const truth = Object.keys(shapes).filter((path) => path.endsWith('.bias'));

  it('chooses the biases, all of them and nothing else', () => {
    const chosen = selectBiases(parameters);
    const has = (path: string): boolean => chosen.includes(path);
    expectThat(
      !has('finalNorm.weight'),
      'gains-are-no-biases',
      "'finalNorm.weight' is among them. It is a vector, but it multiplies: a gain, no bias. Go by the name, not by the shape.",
    );
    expectThat(
      !has('blocks.0.attention.biasTable.weight'),
      'bias-somewhere-in-the-path',
      "'blocks.0.attention.biasTable.weight' is among them. The last step of the path must be 'bias', not a part of some step.",
    );
    expectThat(
      has('finalNorm.bias'),
      'norms-left-out',
      "'finalNorm.bias' is not among them. A norm has a bias, too, and BitFit trains it.",
    );
    expectThat(has('head.bias'), 'blocks-alone', "'head.bias' is not among them: biases outside the blocks count, too.");
    expectThat(
      JSON.stringify(chosen) === JSON.stringify(truth),
      'other-paths',
      `Expected ${truth.join(', ')}, got ${chosen.join(', ')}.`,
    );
  });
});

describe('10.7 LoRA', () => {
  const [N, O, I, r] = [4, 6, 5, 3] as const;
  const [x, W, A, B] = [normals(1021, N, I), normals(1022, O, I), normals(1023, r, I), normals(1024, O, r)];
  const b = vector(1025, O);
  const alpha = 7;
  const given = (up = B) => ({ down: tf.tensor2d(A), up: tf.tensor2d(up) });
  const forward = (up?: Matrix): tf.Tensor2D => loraForward(tf.tensor2d(x), tf.tensor2d(W), tf.tensor1d(b), given(up), alpha);
  const start = (): { down: tf.Tensor2D; up: tf.Tensor2D } => {
    const random = new Random(1026);
    return startLoRA(40, 64, 8, () => random.uniform());
  };

  it('starts with B = 0, so that nothing has changed yet', async () => {
    const { down, up } = start();
    const [largest, change] = [await down.abs().max().data(), await up.abs().max().data()];
    expectThat(
      !(largest[0] === 0 && change[0] === 0),
      'both-zero',
      'Both matrices are zero. Then the gradient of each, which is multiplied by the other, is zero, and stays zero for ever.',
    );
    expectThat(
      change[0] === 0,
      'does-not-begin-as-the-model-was',
      'B is not zero: the model says something else before it has learned anything. A is random, B is zero.',
    );
    await expectClose(
      up,
      mapped(normals(1, 40, 8), () => 0),
      { what: 'up' },
    );
  });

  it('starts with A uniform in ±1/√I', async () => {
    const { down } = start();
    await expectClose([...down.shape], [8, 64], { what: 'the shape of down' });
    const values = Array.from(await down.data());
    const [low, high, bound] = [Math.min(...values), Math.max(...values), 1 / 8];
    if (Math.max(-low, high) === 0) return;
    expectThat(
      low < 0,
      'only-positive-numbers',
      'No number of A is below zero. `random()` is from 0 to 1; stretch it to −1 … 1.',
    );
    expectThat(
      Math.max(-low, high) < 1.2 * bound && Math.max(-low, high) > 0.8 * bound,
      'bound-is-not-one-over-the-root-of-the-inputs',
      `The numbers of A reach to ${Math.max(-low, high).toFixed(3)}. With 64 inputs they should reach to 1/√64 = 0.125.`,
    );
  });

  it('adds (alpha / r) B A x to W x + b', async () => {
    const plain = plusRow(through(x, W), b);
    const change = through(through(x, A), B);
    await expectClose(forward(), plus(plain, change, alpha / r), {
      what: 'the output',
      hints: {
        'scale-is-missing': { say: 'B A x is added once. It should count alpha / r times.', looksLike: plus(plain, change) },
        'alpha-not-divided-by-the-rank': {
          say: 'B A x counts alpha times. Divide by r: then a larger rank needs no other learning rate.',
          looksLike: plus(plain, change, alpha),
        },
        'everything-scaled': {
          say: 'W x + b is scaled, too. alpha / r belongs to the change alone.',
          looksLike: mapped(plus(plain, change), (y) => (y * alpha) / r),
        },
        'bias-forgotten': { say: 'The bias b is missing.', looksLike: plus(through(x, W), change, alpha / r) },
      },
    });
    await expectClose(forward(mapped(B, () => 0)), plain, { what: 'the output with B = 0' });
  });
});

describe('10.8 merging', () => {
  const [D, r] = [5, 2] as const;
  const [W, A, B] = [normals(1031, D, D), normals(1032, r, D), normals(1033, D, r)];
  const alpha = 6;
  const given = () => ({ down: tf.tensor2d(A), up: tf.tensor2d(B) });
  const change = product(B, A);
  const hints: Hints = {
    'scale-forgotten': { say: 'B A counts once. Beside the model it counted alpha / r times.', looksLike: plus(W, change) },
    'the-change-alone': { say: 'This is the change. Where is W?', looksLike: mapped(change, (y) => (y * alpha) / r) },
    'transposed-change': {
      say: 'The change is added transposed: W is [O, I], and so is B A.',
      looksLike: plus(W, transposed(change), alpha / r),
    },
  };
  const truth = plus(W, change, alpha / r);

  it('merge: W + (alpha / r) B A', async () => {
    await expectClose(merge(tf.tensor2d(W), given(), alpha), truth, { what: 'the merged weights', hints });
  });
  it('unmerge: W again', async () => {
    await expectClose(unmerge(tf.tensor2d(truth), given(), alpha), W, {
      what: 'the weights',
      hints: {
        'unmerge-adds-again': {
          say: 'unmerge adds the change a second time. Take it away.',
          looksLike: plus(truth, change, alpha / r),
        },
      },
    });
  });
});

describe('10.9 DoRA', () => {
  const [D, r] = [5, 2] as const;
  const [W, A, B] = [normals(1091, D, D), normals(1092, r, D), normals(1093, D, r)];
  const m = vector(1094, D).map((y) => 1 + Math.abs(y));
  const alpha = 3;
  const lengths = (a: Matrix): number[] => a.map((row) => Math.hypot(...row));
  const turned = plus(W, product(B, A), alpha / r);
  const scaledBy = (a: Matrix, factors: readonly number[]): Matrix => mapped(a, (y, i) => y * factors[i]!);
  const run = (): tf.Tensor2D =>
    doraWeight(tf.tensor2d(W), { down: tf.tensor2d(A), up: tf.tensor2d(B) }, alpha, tf.tensor1d(m));

  it('begins with the lengths of the rows', async () => {
    await expectClose(rowLengths(tf.tensor2d(W)), lengths(W), {
      what: 'the lengths',
      hints: {
        'lengths-of-columns': {
          say: 'These are the lengths of the columns. A row of W [O, I] is what one output does.',
          looksLike: lengths(transposed(W)),
        },
        'root-forgotten': { say: 'These are the squares of the lengths.', looksLike: lengths(W).map((y) => y * y) },
        'sums-of-absolute-values': {
          say: 'These are sums of absolute values. The length is the root of the sum of squares.',
          looksLike: W.map((row) => sum(row.map(Math.abs))),
        },
      },
    });
  });
  it('gives every row its direction and its length', async () => {
    await expectClose(
      run(),
      scaledBy(
        turned,
        m.map((y, i) => y / lengths(turned)[i]!),
      ),
      {
        what: 'the weights',
        hints: {
          'divided-by-the-old-lengths': {
            say: 'The rows are divided by the lengths of W. They have changed: divide by those of W + (alpha / r) B A.',
            looksLike: scaledBy(
              turned,
              m.map((y, i) => y / lengths(W)[i]!),
            ),
          },
          'not-divided': {
            say: 'The rows are multiplied by m, but keep their own length, too.',
            looksLike: scaledBy(turned, m),
          },
          'length-of-the-whole-matrix': {
            say: 'All rows are divided by one number, the length of the whole matrix. Each has its own.',
            looksLike: scaledBy(
              turned,
              m.map((y) => y / Math.hypot(...turned.flat())),
            ),
          },
          'dora-scale-forgotten': {
            say: 'B A counts once in place of alpha / r times.',
            looksLike: () => {
              const other = plus(W, product(B, A));
              return scaledBy(
                other,
                m.map((y, i) => y / lengths(other)[i]!),
              );
            },
          },
          'dora-length-of-columns': {
            say: 'The columns have been given their lengths, not the rows.',
            looksLike: mapped(turned, (y, _, j) => (y * m[j]!) / lengths(transposed(turned))[j]!),
          },
        },
      },
    );
  });
});
