/**
 * @file The exercises of chapter 04. Every expectation is computed here in plain float64 loops, on random vectors of odd
 * sizes, so that no two of the foreseen mistakes give the same numbers.
 */
import { afterEach, beforeAll, describe, it } from 'vitest';
import { AdamW, Random, Transformer, expectClose, startBackend, tf, type Hints } from 'lab';
import {
  adamWStep,
  countParameters,
  geluMLP,
  gelu,
  layerNorm,
  residualBlock,
  rmsNorm,
  swigluMLP,
  tokenDistribution,
  warmupCosineAt,
} from '../solutions/04-transformer.ts';

type Vector = number[];
type Matrix = Vector[];
type Cube = Matrix[];
type Nested = number | Nested[];

beforeAll(async () => {
  await startBackend();
});

const given: tf.Tensor[] = [];
afterEach(() => tf.dispose(given.splice(0)));

/** Numbers as a float32 tensor that lives until the end of the test. */
function tensor<T extends tf.Tensor>(values: Nested): T {
  const made = tf.tensor(values as tf.TensorLike);
  given.push(made);
  return made as T;
}

/** What the answer returns; its intermediate tensors are freed at once, the result at the end of the test. */
function run<T extends tf.Tensor | Record<string, tf.Tensor>>(answer: () => T): T {
  const result = tf.tidy(answer);
  given.push(...(result instanceof tf.Tensor ? [result] : Object.values(result ?? {})));
  return result;
}

const random = new Random(4);
const vector = (n: number, std = 1): Vector => Array.from({ length: n }, () => random.normal() * std);
const matrix = (rows: number, columns: number, std = 1): Matrix => Array.from({ length: rows }, () => vector(columns, std));
const cube = (B: number, T: number, D: number, std = 1): Cube => Array.from({ length: B }, () => matrix(T, D, std));

const sum = (v: Vector) => v.reduce((a, b) => a + b, 0);
const mean = (v: Vector) => sum(v) / v.length;
const add = (a: Vector, b: Vector): Vector => a.map((x, i) => x + b[i]!);
const times = (a: Vector, b: Vector): Vector => a.map((x, i) => x * b[i]!);
const apply = (weight: Matrix, v: Vector): Vector => weight.map((row) => sum(times(row, v)));
const rows = (x: Cube, f: (row: Vector) => Vector): Cube => x.map((sequence) => sequence.map(f));
const transpose = (m: Matrix): Matrix => m[0]!.map((_, j) => m.map((row) => row[j]!));
const addCubes = (a: Cube, b: Cube): Cube => a.map((m, i) => m.map((row, j) => add(row, b[i]![j]!)));
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** Central differences of `value` with respect to every number of `inputs`, which are moved and put back. */
function slopes(value: () => number, inputs: Nested[]): Nested[] {
  return inputs.map((x, i) => {
    if (typeof x !== 'number') return slopes(value, x);
    const at = (moved: number) => ((inputs[i] = moved), value());
    const slope = (at(x + 1e-5) - at(x - 1e-5)) / 2e-5;
    inputs[i] = x;
    return slope;
  });
}

/** The gradients of Σ weights ⊙ answer(inputs) for every input, against central differences of the reference. */
async function expectGradients(
  answer: (...inputs: tf.Tensor[]) => tf.Tensor,
  reference: (...inputs: Nested[]) => Cube,
  inputs: Record<string, Nested[]>,
): Promise<void> {
  const values = Object.values(inputs);
  const result = run(() => answer(...values.map((v) => tensor(v))));
  await expectClose(result, reference(...values), { what: 'the result, whose gradients are measured once it is right,' });
  const weights = rows(reference(...values), (row) => vector(row.length));
  const total = () => sum(reference(...values).flatMap((m, i) => m.flatMap((row, j) => times(row, weights[i]![j]!))));
  let gradients: tf.Tensor[] | undefined;
  try {
    gradients = tf.grads((...x: tf.Tensor[]) => answer(...x).mul(tensor(weights)).sum())(values.map((v) => tensor(v)));
    given.push(...gradients);
  } catch (error) {
    if (!/Cannot compute gradient|backprop/.test(String(error))) throw error;
  }
  for (const [i, name] of Object.keys(inputs).entries()) {
    await expectClose(gradients?.[i] ?? null, slopes(total, values[i]!), {
      what: `the gradient of ${name}`,
      tolerance: 1e-3,
      hints: {
        'not-differentiable': {
          say: `No gradient comes back to ${name}. Are the numbers read out of the tensors somewhere (dataSync, arraySync) \
or put into a new tf.tensor? Stay with tensor operations from the inputs to the result: training needs the whole path.`,
          when: gradients === undefined,
        },
      },
    });
  }
}

/** (row − centre) / divisor(mean square of the rest), the common form of both norms. */
function standardise(row: Vector, divisor: (variance: number) => number, { centre = true, ddof = 0 } = {}): Vector {
  const centred = row.map((x) => x - (centre ? mean(row) : 0));
  const scale = divisor(sum(times(centred, centred)) / (row.length - ddof));
  return centred.map((x) => x / scale);
}

/** The rows of each sequence normalised along the tokens, and along everything, instead of along the width. */
const alongTokens = (x: Cube, norm: (v: Vector) => Vector): Cube => x.map((m) => transpose(transpose(m).map(norm)));
function alongEverything(x: Cube, norm: (v: Vector) => Vector): Cube {
  const flat = norm(x.flat(2));
  return rows(x, (row) => flat.splice(0, row.length));
}

describe('4.1 layer norm', () => {
  // Every vector has its own centre and spread; epsilon is so large that its place shows.
  const x = rows(cube(2, 3, 5), (row) => row.map((v) => v * (0.3 + random.uniform()) + 2 * random.normal()));
  const gain = vector(5);
  const bias = vector(5);
  const epsilon = 0.3;
  const inside = (variance: number) => Math.sqrt(variance + epsilon);
  const affine = (row: Vector) => add(times(row, gain), bias);
  const reference = (input: Cube, g = gain, b = bias) => rows(input, (row) => add(times(standardise(row, inside), g), b));
  const hints: Hints = {
    'over-tokens': {
      say: 'The mean and the variance run over the tokens of a sequence. Each token is normalised by itself, over its own \
features: which axis holds those?',
      looksLike: () => rows(alongTokens(x, (v) => standardise(v, inside)), affine),
    },
    'over-everything': {
      say: 'One mean and one variance for the whole tensor: the tokens look into each other. Name the axis of the \
reduction, and keep it so that the shapes still fit.',
      looksLike: () => rows(alongEverything(x, (v) => standardise(v, inside)), affine),
    },
    'epsilon-outside-root': {
      say: 'Epsilon is added after the square root. It belongs to the variance: then the root is never taken of zero, \
where its slope is infinite.',
      looksLike: () => rows(x, (row) => affine(standardise(row, (v) => Math.sqrt(v) + epsilon))),
    },
    'epsilon-missing': {
      say: 'The epsilon that was passed has no effect. A vector of equal numbers has variance 0 and would be divided by it.',
      looksLike: () => rows(x, (row) => affine(standardise(row, Math.sqrt))),
    },
    'sample-variance': {
      say: 'The variance divides by D − 1. That is the estimate for a sample; layer norm takes the plain mean of the squares.',
      looksLike: () => rows(x, (row) => affine(standardise(row, inside, { ddof: 1 }))),
    },
    'root-missing': {
      say: 'The centred values are divided by the variance. Which power of it has the unit of x?',
      looksLike: () => rows(x, (row) => affine(standardise(row, (v) => v + epsilon))),
    },
    'mean-kept': {
      say: 'The result is scaled but not centred: that is nearly RMS norm. What is subtracted before dividing?',
      looksLike: () => rows(x, (row) => affine(row.map((v) => v / inside(mean(times(row, row)) - mean(row) ** 2)))),
    },
    'gain-forgotten': {
      say: 'The result is normalised and shifted, but the gain has no effect.',
      looksLike: () => rows(x, (row) => add(standardise(row, inside), bias)),
    },
    'bias-forgotten': {
      say: 'The result is normalised and scaled, but the bias has no effect.',
      looksLike: () => rows(x, (row) => times(standardise(row, inside), gain)),
    },
    'bias-before-gain': {
      say: 'The bias is added before the gain multiplies, so the gain scales the bias too. Which comes first?',
      looksLike: () => rows(x, (row) => times(add(standardise(row, inside), bias), gain)),
    },
  };
  const answer = (input: Nested, ...epsilons: number[]) =>
    run(() => layerNorm(tensor(input), tensor<tf.Tensor1D>(gain), tensor<tf.Tensor1D>(bias), ...epsilons));

  it('gives every vector mean 0 and variance 1, then gain and bias', async () => {
    await expectClose(answer(x, epsilon), reference(x), { hints });
  });

  it('survives a vector of equal numbers: only the bias is left', async () => {
    const say = hints['epsilon-missing']!.say;
    const received = answer([[[2, 2, 2, 2, 2]]]);
    const isFinite = Number.isFinite((await received.data())[0]);
    await expectClose(received, [[bias]], { hints: { 'epsilon-missing': { say, when: !isFinite } } });
  });

  it('takes any number of leading axes', async () => {
    await expectClose(answer(x[1]!, epsilon), reference(x)[1], { what: 'layerNorm of a matrix [T, D]' });
  });

  it('passes gradients back to x, gain and bias', async () => {
    await expectGradients(
      (input, g, b) => layerNorm(input!, g as tf.Tensor1D, b as tf.Tensor1D, epsilon),
      (input, g, b) => reference(input as Cube, g as Vector, b as Vector),
      { x, gain, bias },
    );
  });
});

describe('4.2 RMS norm', () => {
  const x = rows(cube(3, 2, 7), (row) => row.map((v) => v * (0.3 + random.uniform()) + random.normal()));
  const gain = vector(7);
  const epsilon = 0.2;
  const inside = (square: number) => Math.sqrt(square + epsilon);
  const plain = { centre: false };
  const scaled = (row: Vector) => times(row, gain);
  const reference = (input: Cube, g = gain) => rows(input, (row) => times(standardise(row, inside, plain), g));
  const hints: Hints = {
    'mean-subtracted': {
      say: 'The mean is subtracted: that is layer norm without its bias. RMS norm saves exactly this step.',
      looksLike: () => rows(x, (row) => scaled(standardise(row, inside))),
    },
    'variance-of-centred': {
      say: 'The vector is divided by its standard deviation, which is measured from the mean. The root mean square is \
measured from zero.',
      looksLike: () => rows(x, (row) => scaled(row.map((v) => v / inside(mean(times(row, row)) - mean(row) ** 2)))),
    },
    'sum-instead-of-mean': {
      say: 'The squares are summed, not averaged: the vector gets length 1, and its entries shrink as the width grows.',
      looksLike: () => rows(x, (row) => scaled(standardise(row, (v) => Math.sqrt(v * row.length + epsilon), plain))),
    },
    'epsilon-outside-root': {
      say: 'Epsilon is added after the square root. It belongs to the mean square, under the root.',
      looksLike: () => rows(x, (row) => scaled(standardise(row, (v) => Math.sqrt(v) + epsilon, plain))),
    },
    'epsilon-missing': {
      say: 'The epsilon that was passed has no effect. A vector of zeros would be divided by zero.',
      looksLike: () => rows(x, (row) => scaled(standardise(row, Math.sqrt, plain))),
    },
    'root-missing': {
      say: 'The vector is divided by its mean square. Which power of that has the unit of x?',
      looksLike: () => rows(x, (row) => scaled(standardise(row, (v) => v + epsilon, plain))),
    },
    'gain-forgotten': {
      say: 'The vectors are normalised, but the gain has no effect.',
      looksLike: () => rows(x, (row) => standardise(row, inside, plain)),
    },
    'over-tokens': {
      say: 'The mean square runs over the tokens of a sequence. Each token is normalised by itself, over its own features.',
      looksLike: () => rows(alongTokens(x, (v) => standardise(v, inside, plain)), scaled),
    },
    'over-everything': {
      say: 'One mean square for the whole tensor: the tokens look into each other. Name the axis of the reduction.',
      looksLike: () => rows(alongEverything(x, (v) => standardise(v, inside, plain)), scaled),
    },
  };
  const answer = (input: Nested, ...epsilons: number[]) =>
    run(() => rmsNorm(tensor(input), tensor<tf.Tensor1D>(gain), ...epsilons));

  it('gives every vector a root mean square of 1, then the gain', async () => {
    await expectClose(answer(x, epsilon), reference(x), { hints });
  });

  it('survives a vector of zeros', async () => {
    const say = hints['epsilon-missing']!.say;
    const received = answer([[vector(7, 0)]]);
    const isFinite = Number.isFinite((await received.data())[0]);
    await expectClose(received, [[vector(7, 0)]], { hints: { 'epsilon-missing': { say, when: !isFinite } } });
  });

  it('takes any number of leading axes', async () => {
    await expectClose(answer(x[1]!, epsilon), reference(x)[1], { what: 'rmsNorm of a matrix [T, D]' });
  });

  it('passes gradients back to x and gain', async () => {
    await expectGradients(
      (input, g) => rmsNorm(input!, g as tf.Tensor1D, epsilon),
      (input, g) => reference(input as Cube, g as Vector),
      { x, gain },
    );
  });
});

describe('4.3 GELU MLP', () => {
  const tanhGelu = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  const bent = {
    exact: (x: number) => x * normalCumulative(x),
    sigmoid: (x: number) => x * sigmoid(1.702 * x),
    uncubed: (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * 1.044715 * x)),
    relu: (x: number) => Math.max(x, 0),
    straight: (x: number) => x,
  };
  const x = cube(2, 3, 5);
  const up = { weight: matrix(7, 5), bias: vector(7) };
  const down = { weight: matrix(5, 7), bias: vector(5) };
  const bend = (f: (x: number) => number) => (v: Vector) => v.map(f);
  const widen = (row: Vector) => add(apply(up.weight, row), up.bias);
  const narrow = (row: Vector) => add(apply(down.weight, row), down.bias);
  const mlp = (activation: (v: Vector) => Vector) => rows(x, (row) => narrow(activation(widen(row))));

  /** What another activation than the asked one looks like, for anything computed with it. */
  const activationHints = (looks: (f: (x: number) => number) => Nested): Hints => ({
    'exact-gelu': {
      say: 'This is the exact GELU, with the error function. It trains as well, but GPT-2 was trained with the tanh form \
and its weights expect that: they differ in the fourth digit.',
      looksLike: () => looks(bent.exact),
    },
    'sigmoid-gelu': {
      say: 'This is x σ(1.702 x), the rough approximation of the same paper. The tanh form is asked for.',
      looksLike: () => looks(bent.sigmoid),
    },
    'cube-missing': {
      say: 'Inside the tanh, 0.044715 multiplies x itself. Which power of x stands there?',
      looksLike: () => looks(bent.uncubed),
    },
    'relu': {
      say: 'This is ReLU, with its corner at zero. GELU is the smooth one, slightly negative left of zero.',
      looksLike: () => looks(bent.relu),
    },
  });
  const mlpHints: Hints = {
    'activation-missing': {
      say: 'Nothing bends between the two matrices: two linear maps in a row are one linear map.',
      looksLike: () => mlp((v) => v),
    },
    'activation-last': {
      say: 'GELU comes after the second matrix. It belongs between the two, on the wide vector.',
      looksLike: () => rows(x, (row) => bend(tanhGelu)(narrow(widen(row)))),
    },
    'up-bias-forgotten': {
      say: 'The bias of the first matrix has no effect.',
      looksLike: () => rows(x, (row) => narrow(bend(tanhGelu)(apply(up.weight, row)))),
    },
    'down-bias-forgotten': {
      say: 'The bias of the second matrix has no effect.',
      looksLike: () => rows(x, (row) => apply(down.weight, bend(tanhGelu)(widen(row)))),
    },
    'residual-inside': {
      say: 'The input is added to the result. The residual connection belongs to the block around the MLP (4.5).',
      looksLike: () => addCubes(x, mlp(bend(tanhGelu))),
    },
    ...activationHints((f) => mlp(bend(f))),
  };
  const tensors = (part: { weight: Matrix; bias: Vector }) => ({
    weight: tensor<tf.Tensor2D>(part.weight),
    bias: tensor<tf.Tensor1D>(part.bias),
  });

  it('gelu follows the tanh form', async () => {
    const inputs = [-3.1, -2.2, -1.3, -0.4, 0, 0.6, 1.7, 2.3, 2.9];
    const received = run(() => gelu(tensor(inputs)));
    const hints: Hints = {
      'activation-missing': { say: 'gelu returns its input.', looksLike: inputs },
      ...activationHints((f) => inputs.map(f)),
    };
    await expectClose(received, inputs.map(tanhGelu), { what: 'gelu', tolerance: 2e-5, hints });
  });

  it('gelu stays finite far from zero', async () => {
    await expectClose(run(() => gelu(tensor([-60, 60]))), [0, 60], { what: 'gelu of -60 and 60' });
  });

  it('geluMLP widens, bends and narrows every token by itself', async () => {
    const received = run(() => geluMLP(tensor(x), tensors(up), tensors(down)));
    await expectClose(received, mlp(bend(tanhGelu)), { what: 'geluMLP', tolerance: 2e-5, hints: mlpHints });
  });

  it('passes gradients back to x and to every weight', async () => {
    await expectGradients(
      (input, upWeight, upBias, downWeight, downBias) =>
        geluMLP(
          input as tf.Tensor3D,
          { weight: upWeight as tf.Tensor2D, bias: upBias as tf.Tensor1D },
          { weight: downWeight as tf.Tensor2D, bias: downBias as tf.Tensor1D },
        ),
      () => mlp(bend(tanhGelu)),
      { x, 'up.weight': up.weight, 'up.bias': up.bias, 'down.weight': down.weight, 'down.bias': down.bias },
    );
  });
});

/** The share of a standard normal below x, by Simpson's rule (error below 1e-9). */
function normalCumulative(x: number): number {
  const steps = 200;
  const width = x / steps;
  const density = (t: number) => Math.exp((-t * t) / 2) / Math.sqrt(2 * Math.PI);
  let area = 0;
  for (let i = 0; i < steps; i += 2) {
    area += ((density(i * width) + 4 * density((i + 1) * width) + density((i + 2) * width)) * width) / 3;
  }
  return 0.5 + area;
}

describe('4.4 SwiGLU', () => {
  const x = cube(3, 2, 5);
  const gate = matrix(7, 5);
  const up = matrix(7, 5);
  const down = matrix(5, 7);
  const silu = (v: Vector): Vector => v.map((z) => z * sigmoid(z));
  const mlp = (hidden: (gated: Vector, passed: Vector) => Vector) =>
    rows(x, (row) => apply(down, hidden(apply(gate, row), apply(up, row))));
  const reference = () => mlp((g, u) => times(silu(g), u));
  const hints: Hints = {
    'gate-and-up-swapped': {
      say: 'The SiLU bends the wrong one: here `up` opens the gate and `gate` passes through.',
      looksLike: () => mlp((g, u) => times(g, silu(u))),
    },
    'sigmoid-instead-of-silu': {
      say: 'The gate is a bare sigmoid: that is the original GLU. SiLU of z is z itself times its sigmoid.',
      looksLike: () => mlp((g, u) => times(g.map(sigmoid), u)),
    },
    'relu-instead-of-silu': {
      say: 'The gate is a ReLU: that is ReGLU, another member of the same paper.',
      looksLike: () => mlp((g, u) => times(g.map((z) => Math.max(z, 0)), u)),
    },
    'gelu-instead-of-silu': {
      say: 'The gate is a GELU: that is GEGLU, another member of the same paper.',
      looksLike: () =>
        mlp((g, u) => times(g.map((z) => 0.5 * z * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (z + 0.044715 * z ** 3)))), u)),
    },
    'activation-missing': {
      say: 'The two projections are multiplied, but neither is bent: where is the SiLU?',
      looksLike: () => mlp(times),
    },
    'both-bent': {
      say: 'Both projections go through SiLU. Only the gate does; the other one passes as it is.',
      looksLike: () => mlp((g, u) => times(silu(g), silu(u))),
    },
    'product-bent': {
      say: 'SiLU bends the product of the two projections. It belongs to the gate alone, before the product.',
      looksLike: () => mlp((g, u) => silu(times(g, u))),
    },
    'added-not-multiplied': {
      say: 'The gate is added. To open and close, it has to multiply.',
      looksLike: () => mlp((g, u) => add(silu(g), u)),
    },
    'up-forgotten': {
      say: 'Only the gate comes through: `up` has no effect.',
      looksLike: () => mlp((g) => silu(g)),
    },
  };

  it('lets the SiLU of the gate decide how much of the other projection passes', async () => {
    const received = run(() =>
      swigluMLP(tensor(x), tensor<tf.Tensor2D>(gate), tensor<tf.Tensor2D>(up), tensor<tf.Tensor2D>(down)),
    );
    await expectClose(received, reference(), { what: 'swigluMLP', hints });
  });

  it('passes gradients back to x and to every weight', async () => {
    await expectGradients(
      (input, g, u, d) => swigluMLP(input as tf.Tensor3D, g as tf.Tensor2D, u as tf.Tensor2D, d as tf.Tensor2D),
      reference,
      { x, gate, up, down },
    );
  });
});

describe('4.5 residual block', () => {
  // Four different maps that are not linear: no two orders of them agree.
  const x = cube(2, 3, 5);
  const mixing = matrix(5, 5, 0.7);
  const shift = vector(5);
  const maps = {
    attentionNorm: (row: Vector) => row.map((v, i) => Math.tanh(0.8 * v + shift[i]!)),
    attention: (row: Vector) => apply(mixing, row),
    mlpNorm: (row: Vector) => row.map((v, i) => 1.3 * Math.tanh(0.6 * v - shift[i]!)),
    mlp: (row: Vector) => row.map((v) => v * v),
  };
  type Parts = Parameters<typeof residualBlock>[1];
  const parts = (mix: tf.Tensor, move: tf.Tensor): Parts => ({
    attentionNorm: (h) => h.mul(0.8).add(move).tanh() as tf.Tensor3D,
    attention: (h) => tf.matMul(h.reshape([-1, 5]) as tf.Tensor2D, mix as tf.Tensor2D, false, true).reshape(h.shape),
    mlpNorm: (h) => h.mul(0.6).sub(move).tanh().mul(1.3) as tf.Tensor3D,
    mlp: (h) => h.square() as tf.Tensor3D,
  });
  const { attentionNorm, attention, mlpNorm, mlp } = maps;
  const middle = (row: Vector) => add(row, attention(attentionNorm(row)));
  const whole = (row: Vector) => add(middle(row), mlp(mlpNorm(middle(row))));
  const looks = (f: (row: Vector) => Vector) => () => rows(x, f);
  const postNorm = (row: Vector) => attentionNorm(add(row, attention(row)));
  const onNormed = (h: Vector, norm: (v: Vector) => Vector, part: (v: Vector) => Vector) => add(norm(h), part(norm(h)));
  const hints: Hints = {
    'post-norm': {
      say: 'The norm comes after the addition, on the stream itself: the post-norm block of 2017. In a pre-norm block only \
the copy that goes into a part is normalised, and the stream runs through untouched.',
      looksLike: looks((row) => mlpNorm(add(postNorm(row), mlp(postNorm(row))))),
    },
    'both-residuals-dropped': {
      say: 'Nothing of x itself arrives: both parts replace the stream instead of adding to it.',
      looksLike: looks((row) => mlp(mlpNorm(attention(attentionNorm(row))))),
    },
    'first-residual-dropped': {
      say: 'What attention says replaces the stream. It should be added to x.',
      looksLike: looks((row) => {
        const h = attention(attentionNorm(row));
        return add(h, mlp(mlpNorm(h)));
      }),
    },
    'second-residual-dropped': {
      say: 'What the MLP says replaces the stream. It should be added to it.',
      looksLike: looks((row) => mlp(mlpNorm(middle(row)))),
    },
    'second-residual-from-input': {
      say: 'The MLP is added to x as it was at the entrance: what attention said is lost from the stream.',
      looksLike: looks((row) => add(row, mlp(mlpNorm(middle(row))))),
    },
    'parallel': {
      say: 'Attention and MLP both read x: a parallel block, as in GPT-J. Here the MLP reads what attention has written.',
      looksLike: looks((row) => add(middle(row), mlp(mlpNorm(row)))),
    },
    'normalised-stream': {
      say: 'The normalised copy goes on as the stream. Add to what came in, not to its normalised copy.',
      looksLike: looks((row) => onNormed(onNormed(row, attentionNorm, attention), mlpNorm, mlp)),
    },
    'norms-missing': {
      say: 'Both parts read the stream as it is: neither norm has an effect.',
      looksLike: looks((row) => {
        const h = add(row, attention(row));
        return add(h, mlp(h));
      }),
    },
    'one-norm-twice': {
      say: 'The MLP reads through the attention\'s norm. Each part has a norm of its own.',
      looksLike: looks((row) => add(middle(row), mlp(attentionNorm(middle(row))))),
    },
    'mlp-first': {
      say: 'The MLP comes before attention. First the tokens talk, then each one thinks.',
      looksLike: looks((row) => {
        const h = add(row, mlp(mlpNorm(row)));
        return add(h, attention(attentionNorm(h)));
      }),
    },
  };

  it('adds what each part says about a normalised copy of the stream', async () => {
    const received = run(() => residualBlock(tensor(x), parts(tensor(mixing), tensor(shift))));
    await expectClose(received, rows(x, whole), { what: 'residualBlock', hints });
  });

  it('passes gradients back to the stream and into the parts', async () => {
    await expectGradients(
      (input, mix, move) => residualBlock(input as tf.Tensor3D, parts(mix!, move!)),
      () => rows(x, whole),
      { x, 'a weight of attention': mixing, 'a weight of the norms': shift },
    );
  });
});

describe('4.6 schedule', () => {
  const options = { learningRate: 0.3, warmupSteps: 4, steps: 13, minimum: 0.04 };
  const { learningRate, warmupSteps, steps, minimum } = options;
  const all = Array.from({ length: steps + 5 }, (_, step) => step);
  const cosine = (share: number, low = minimum) => low + 0.5 * (1 + Math.cos(Math.PI * share)) * (learningRate - low);
  const share = (step: number) => (step - warmupSteps) / (steps - warmupSteps);
  const line = (step: number) => (learningRate * (step + 1)) / (warmupSteps + 1);

  /** The rates of every step when one of the three pieces is another one. */
  const rates = ({
    up = line,
    down = (step: number) => cosine(share(step)),
    after = () => minimum,
  }: Partial<Record<'up' | 'down' | 'after', (step: number) => number>> = {}): Vector =>
    all.map((step) => (step < warmupSteps ? up(step) : step < steps ? down(step) : after(step)));
  const hints: Hints = {
    'warm-up-from-zero': {
      say: 'The rate of step 0 is zero: a whole step is computed and nothing is learned from it. Steps are counted from 0; the \
line is at zero one step before the first.',
      looksLike: rates({ up: (step) => (learningRate * step) / warmupSteps }),
    },
    'warm-up-too-short': {
      say: 'The last step of the warm-up already has the full rate, and so has the first of the cosine. The line arrives at \
the peak exactly where the cosine begins, at step warmupSteps.',
      looksLike: rates({ up: (step) => (learningRate * (step + 1)) / warmupSteps }),
    },
    'no-warm-up': {
      say: 'The first steps already have the full rate. AdamW\'s averages know nothing yet there: climb in a straight line.',
      looksLike: rates({ up: () => learningRate }),
    },
    'cosine-from-the-start': {
      say: 'There is no climb at all: the cosine begins at step 0. First comes the straight line up.',
      looksLike: rates({ up: (step) => cosine(step / steps), down: (step) => cosine(step / steps) }),
    },
    'warm-up-counted-twice': {
      say: 'The cosine counts the steps of the warm-up too, so the rate jumps down where the line ends. Its share runs from \
0 at step warmupSteps to 1 at step `steps`.',
      looksLike: rates({ down: (step) => cosine(step / steps) }),
    },
    'cosine-too-long': {
      say: 'The cosine is stretched over `steps` steps after the warm-up, so it is cut off before it reaches the minimum.',
      looksLike: rates({ down: (step) => cosine((step - warmupSteps) / steps) }),
    },
    'falls-to-zero': {
      say: 'The cosine falls to zero and not to the minimum.',
      looksLike: rates({ down: (step) => cosine(share(step), 0) }),
    },
    'ends-at-zero': {
      say: 'The rate falls to zero and stays there: the minimum has no effect.',
      looksLike: rates({ down: (step) => cosine(share(step), 0), after: () => 0 }),
    },
    'minimum-added': {
      say: 'The minimum is added on top of the whole cosine, so the rate starts above its peak. The cosine\'s height is what \
lies between the two.',
      looksLike: rates({ down: (step) => minimum + cosine(share(step), 0) }),
    },
    'straight-down': {
      say: 'The rate falls in a straight line. Half a cosine is flat at both ends.',
      looksLike: rates({ down: (step) => learningRate + (minimum - learningRate) * share(step) }),
    },
    'quarter-cosine': {
      say: 'Only a quarter of the cosine is used: it hits the minimum at full slope. Half a turn is π.',
      looksLike: rates({ down: (step) => minimum + Math.cos((Math.PI / 2) * share(step)) * (learningRate - minimum) }),
    },
    'rises-again': {
      say: 'After the last step the cosine goes on and the rate rises again. From step `steps` on it stays at the minimum.',
      looksLike: rates({ after: (step) => cosine(share(step)) }),
    },
  };

  it('climbs in a line, falls in half a cosine, and stays at the minimum', async () => {
    const received = all.map((step) => warmupCosineAt(step, options));
    await expectClose(received, rates(), { what: 'the rates of steps 0 to 17', tolerance: 1e-9, hints });
  });

  it('starts at the peak when there is no warm-up', async () => {
    const received = [0, steps].map((step) => warmupCosineAt(step, { ...options, warmupSteps: 0 }));
    await expectClose(received, [learningRate, minimum], { what: 'the rates of steps 0 and 13 with warmupSteps 0' });
  });
});

describe('4.7 AdamW step', () => {
  // A large epsilon and a large decay, so that their places show.
  const options = { step: 3, learningRate: 0.2, beta1: 0.8, beta2: 0.9, epsilon: 0.05, weightDecay: 0.6 };
  const { step, learningRate, beta1, beta2, epsilon, weightDecay } = options;
  const parameter = vector(7);
  const gradient = vector(7);
  const oldMean = vector(7, 0.4);
  const oldSquare = vector(7).map((v) => v * v);
  const blend = (beta: number, old: Vector, now: Vector) => old.map((v, i) => beta * v + (1 - beta) * now[i]!);

  type Numbers = { parameter: Vector; mean: Vector; square: Vector };
  interface Variant {
    l2?: number;
    update?: (m: number, v: number, w: number, t: number) => number;
    decay?: (w: number, moved: number) => number;
  }
  const adam = (m: number, v: number, _w: number, t: number) =>
    m / (1 - beta1 ** t) / (Math.sqrt(v / (1 - beta2 ** t)) + epsilon);
  const decoupled = (w: number, moved: number) => moved - learningRate * weightDecay * w;
  function advance(state: Numbers, slope: Vector, t: number, variant: Variant = {}): Numbers {
    const { l2 = 0, update = adam, decay = decoupled } = variant;
    const g = slope.map((v, i) => v + l2 * state.parameter[i]!);
    const m = blend(beta1, state.mean, g);
    const v = blend(beta2, state.square, times(g, g));
    const moved = state.parameter.map((w, i) => decay(w, w - learningRate * update(m[i]!, v[i]!, w, t)));
    return { parameter: moved, mean: m, square: v };
  }
  const start: Numbers = { parameter, mean: oldMean, square: oldSquare };
  const looks = (variant: Variant, t = step) => () => advance(start, gradient, t, variant).parameter;
  const undecayed = (_w: number, moved: number) => moved;
  const hints: Hints = {
    'l2-decay': {
      say: 'The decay is added to the gradient: that is L2 regularisation. Adam then divides it by the root of `square`, so \
that weights with large gradients decay least. Decoupled decay shrinks the parameter itself.',
      looksLike: looks({ l2: weightDecay, decay: undecayed }),
    },
    'no-decay': { say: 'The weight decay has no effect.', looksLike: looks({ decay: undecayed }) },
    'decay-not-scaled': {
      say: 'The parameter shrinks by weightDecay. In AdamW the decay is multiplied by the learning rate too, so that it \
follows the schedule.',
      looksLike: looks({ decay: (w, moved) => moved - weightDecay * w }),
    },
    'decay-after-update': {
      say: 'The decay shrinks the parameter after it has moved, the fresh update with it. Both are computed from the \
parameter as it was.',
      looksLike: looks({ decay: (_w, moved) => moved * (1 - learningRate * weightDecay) }),
    },
    'decay-grows': {
      say: 'The decay makes the parameter larger: look at its sign.',
      looksLike: looks({ decay: (w, moved) => moved + learningRate * weightDecay * w }),
    },
    'no-bias-correction': {
      say: 'The averages start from zero and are used as they are, so the first steps have the wrong size. Divide each by \
the share of it that is filled by now: 1 − beta to the power of the step.',
      looksLike: looks({ update: (m, v) => m / (Math.sqrt(v) + epsilon) }),
    },
    'only-mean-corrected': {
      say: 'Only `mean` is corrected for its start at zero; `square` started there too.',
      looksLike: looks({ update: (m, v, _w, t) => m / (1 - beta1 ** t) / (Math.sqrt(v) + epsilon) }),
    },
    'only-square-corrected': {
      say: 'Only `square` is corrected for its start at zero; `mean` started there too.',
      looksLike: looks({ update: (m, v, _w, t) => m / (Math.sqrt(v / (1 - beta2 ** t)) + epsilon) }),
    },
    'step-too-early': {
      say: 'The bias correction uses the step before. `step` counts from 1: at the very first the exponent is 1.',
      looksLike: looks({}, step - 1),
    },
    'step-too-late': {
      say: 'The bias correction uses the step after. `step` counts from 1: at the very first the exponent is 1.',
      looksLike: looks({}, step + 1),
    },
    'epsilon-inside-root': {
      say: 'Epsilon is added under the root. In Adam it comes after the root (other than in the norms).',
      looksLike: looks({ update: (m, v, _w, t) => m / (1 - beta1 ** t) / Math.sqrt(v / (1 - beta2 ** t) + epsilon) }),
    },
    'epsilon-before-correction': {
      say: 'Epsilon is added to the root before the bias correction, so in the first steps it weighs less than it should.',
      looksLike: looks({
        update: (m, v, _w, t) => (m / (1 - beta1 ** t)) * (Math.sqrt(1 - beta2 ** t) / (Math.sqrt(v) + epsilon)),
      }),
    },
    'root-missing': {
      say: 'The mean is divided by `square` itself. Which power of it has the unit of the gradient?',
      looksLike: looks({ update: (m, v, _w, t) => m / (1 - beta1 ** t) / (v / (1 - beta2 ** t) + epsilon) }),
    },
    'uphill': {
      say: 'The parameter moves with the gradient, uphill.',
      looksLike: looks({ update: (m, v, w, t) => -adam(m, v, w, t) }),
    },
  };

  const corrected = (v: Vector, beta: number) => v.map((z) => z / (1 - beta ** step));
  const decayed = () => advance(start, gradient, step, { l2: weightDecay });
  const truth = () => advance(start, gradient, step);
  const averageHints = (name: 'mean' | 'square', beta: number, wrongBeta: number, old: Vector, now: Vector): Hints => ({
    'l2-decay': { ...hints['l2-decay']!, looksLike: () => decayed()[name] },
    'correction-kept': {
      say: `The returned \`${name}\` is already corrected for its start at zero. The next step would correct it again: keep \
the plain running average, and correct a copy.`,
      looksLike: () => corrected(truth()[name], beta),
    },
    'average-not-kept': {
      say: `The old \`${name}\` comes back unchanged: the next step would know nothing of this gradient.`,
      looksLike: old,
    },
    'betas-swapped': {
      say: 'The two betas have changed places: beta1 belongs to the mean, beta2 to the squares.',
      looksLike: () => blend(wrongBeta, old, now),
    },
    'beta-on-the-new': {
      say: `In \`${name}\` beta multiplies the new gradient and 1 − beta the old average. It should be slow: mostly the old.`,
      looksLike: () => blend(1 - beta, old, now),
    },
    'sum-instead-of-average': {
      say: `In \`${name}\` the new value is added whole. In an average the two weights sum to one.`,
      looksLike: () => old.map((z, i) => beta * z + now[i]!),
    },
    'gradient-not-squared': {
      say: 'The average of the squares takes in the gradient as it is.',
      looksLike: () => (name === 'square' ? blend(beta, old, gradient) : NaN),
    },
  });
  const firstStep = (state: Numbers, g: Vector, t: number): Partial<Record<string, tf.Tensor>> =>
    run(() =>
      adamWStep(tensor(state.parameter), tensor(g), tensor(state.mean), tensor(state.square), { ...options, step: t }),
    ) ?? {};

  it('keeps running averages of the gradient and of its square', async () => {
    const { mean: m, square: v } = firstStep(start, gradient, step);
    const squares = times(gradient, gradient);
    const expected = truth();
    await expectClose(m, expected.mean, { what: '`mean`', hints: averageHints('mean', beta1, beta2, oldMean, gradient) });
    const squareHints = averageHints('square', beta2, beta1, oldSquare, squares);
    await expectClose(v, expected.square, { what: '`square`', hints: squareHints });
  });

  it('moves the parameter', async () => {
    const { parameter: moved } = firstStep(start, gradient, step);
    await expectClose(moved, truth().parameter, { what: '`parameter`', hints });
  });

  it('walks with the library: three steps of a matrix, from zeros', async () => {
    const first = [vector(4), vector(4)];
    const variable = tf.variable(tensor(first), true);
    given.push(variable);
    const library = new AdamW(new Map([['weight', variable]]), { beta1, beta2, epsilon, weightDecay });
    const zeros = tensor([vector(4, 0), vector(4, 0)]);
    let mine = { parameter: tensor(first), mean: zeros, square: zeros };
    for (let t = 1; t <= 3; t++) {
      const slope = tensor([vector(4), vector(4)]);
      library.step(new Map([['weight', slope]]), learningRate);
      mine = run(() => adamWStep(mine.parameter, slope, mine.mean, mine.square, { ...options, step: t }));
    }
    library.dispose();
    await expectClose(mine.parameter, variable, { what: '`parameter` after three steps' });
  });
});

describe('4.8 sampling', () => {
  // Flat enough that the nucleus differs before and after topK, and at both temperatures.
  const logits = [-0.4, -1.3, -1.2, -1.4, 0.9, 0.8, 1.2, 0.2, 1.4, 0.7, 0.6, -0.6, 1];
  const distribution = (options?: Options) => tokenDistribution(Float32Array.from(logits), options);
  type Options = NonNullable<Parameters<typeof tokenDistribution>[1]>;
  const softmax = (scores: Vector): Vector => {
    const weights = scores.map((z) => Math.exp(z - Math.max(...scores)));
    return weights.map((w) => w / sum(weights));
  };
  const heated = (temperature: number) => softmax(logits.map((z) => z / temperature));
  const normalised = (v: Vector) => v.map((p) => p / sum(v));
  /** The tokens from the likeliest to the least likely. */
  const order = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]!);
  const keep = (probabilities: Vector, tokens: number[]) => probabilities.map((p, i) => (tokens.includes(i) ? p : 0));
  /** How many of the likeliest reach p together. */
  const nucleus = (probabilities: Vector, p: number) =>
    order.findIndex((_, i) => sum(order.slice(0, i + 1).map((token) => probabilities[token]!)) >= p) + 1;
  const top = (probabilities: Vector, n: number) => keep(probabilities, order.slice(0, n));

  const temperature = 0.8;
  const k = 5;
  const p = 0.7;
  const plain = heated(1);
  const hot = heated(temperature);
  const unshared = 'The probabilities do not sum to 1: what was taken from the left-out tokens has to be shared out again.';
  const size = nucleus(plain, p);
  const kept = normalised(top(hot, k));
  const scaled = (probabilities: Vector) => ({ say: unshared, looksLike: probabilities });

  it('divides the logits by the temperature', async () => {
    const hints: Hints = {
      'temperature-after-softmax': {
        say: 'The probabilities are divided by the temperature. It belongs to the logits, before the softmax.',
        looksLike: plain.map((q) => q / temperature),
      },
      'temperature-without-effect': {
        say: 'The temperature has no effect. Is it applied to probabilities that are normalised afterwards? That undoes it.',
        looksLike: plain,
      },
      'temperature-multiplied': {
        say: 'The logits are multiplied by the temperature: here a low one makes the choice wilder instead of safer.',
        looksLike: heated(1 / temperature),
      },
    };
    await expectClose(distribution({ temperature }), hot, { what: `temperature ${temperature}`, hints });
    await expectClose(distribution(), plain, { what: 'the distribution without any option' });
  });

  it('keeps the k likeliest', async () => {
    const zeroed = logits.map((z, i) => (order.indexOf(i) < k ? z : 0));
    const hints: Hints = {
      'not-normalised': scaled(top(plain, k)),
      'top-k-one-too-many': {
        say: 'One token too many is kept: k itself is compared with a rank that counts from 0, or the k-th value with ≥.',
        looksLike: normalised(top(plain, k + 1)),
      },
      'top-k-one-too-few': { say: 'One token too few is kept.', looksLike: normalised(top(plain, k - 1)) },
      'top-k-least-likely': {
        say: 'The k least likely tokens are kept: the order of the sorting is upside down.',
        looksLike: normalised(keep(plain, order.slice(-k))),
      },
      'logits-set-to-zero': {
        say: 'The logits of the left-out tokens are set to 0, but e⁰ is 1: they are still drawn. Which one gives 0?',
        looksLike: softmax(zeroed),
      },
      'top-k-without-effect': { say: 'topK has no effect.', looksLike: plain },
    };
    await expectClose(distribution({ topK: k }), normalised(top(plain, k)), { what: `topK ${k}`, hints });
    await expectClose(distribution({ topK: 50 }), plain, { what: 'topK larger than the vocabulary' });
  });

  it('keeps the fewest likeliest that reach p together', async () => {
    const rising = [...order].reverse();
    const reached = rising.findIndex((_, i) => sum(rising.slice(0, i + 1).map((token) => plain[token]!)) >= p) + 1;
    const hints: Hints = {
      'crossing-token-dropped': {
        say: 'The token with which the sum reaches p is left out, so the kept ones hold less than p. It is the last to be kept.',
        looksLike: normalised(top(plain, size - 1)),
      },
      'top-p-one-too-many': {
        say: 'One token too many is kept: the ones before it already reach p.',
        looksLike: normalised(top(plain, size + 1)),
      },
      'not-normalised': scaled(top(plain, size)),
      'top-p-from-the-bottom': {
        say: 'The sum starts from the least likely tokens. The nucleus is built from the likeliest.',
        looksLike: normalised(keep(plain, rising.slice(0, reached))),
      },
      'top-p-in-token-order': {
        say: 'The probabilities are summed in the order of the vocabulary. Sort them first, the likeliest in front.',
        looksLike: normalised(plain.map((q, i) => (sum(plain.slice(0, i)) < p ? q : 0))),
      },
      'top-p-without-effect': { say: 'topP has no effect.', looksLike: plain },
    };
    await expectClose(distribution({ topP: p }), normalised(top(plain, size)), { what: `topP ${p}`, hints });
    const single = distribution({ topP: 0.01 });
    await expectClose(single, top(plain, 1).map(Math.ceil), {
      what: 'topP so small that only the likeliest is left',
      hints: { 'crossing-token-dropped': { say: hints['crossing-token-dropped']!.say, when: !(sum(Array.from(single)) > 0.5) } },
    });
  });

  it('takes the nucleus of what temperature and topK have left', async () => {
    const topKAlone = normalised(top(plain, k));
    const topPAlone = normalised(top(plain, size));
    await expectClose(distribution({ topK: k }), topKAlone, { what: 'topK alone, which must be right first,' });
    await expectClose(distribution({ topP: p }), topPAlone, { what: 'topP alone, which must be right first,' });
    const within = (n: number) => normalised(top(hot, Math.min(n, k)));
    const hints: Hints = {
      'nucleus-before-top-k': {
        say: 'p is compared with probabilities that still count the tokens that topK has left out. Normalise in between.',
        looksLike: within(nucleus(hot, p)),
      },
      'nucleus-without-temperature': {
        say: 'The nucleus is chosen by the probabilities at temperature 1. The temperature comes first.',
        looksLike: within(nucleus(normalised(top(plain, k)), p)),
      },
    };
    const received = distribution({ temperature, topK: k, topP: p });
    await expectClose(received, within(nucleus(kept, p)), { what: 'all three together', hints });
  });

  it('leaves the logits as they were, and survives large ones', async () => {
    const own = Float32Array.from(logits);
    tokenDistribution(own, { temperature, topK: k, topP: p });
    await expectClose(own, logits, {
      what: 'the logits after the call',
      hints: {
        'input-overwritten': { say: 'The logits that were passed in have been changed. Work on a copy.', when: true },
      },
    });
    const large = [1000, 1001, 998];
    const received = tokenDistribution(Float32Array.from(large), {});
    await expectClose(received, softmax(large), {
      what: 'the distribution of logits around 1000',
      hints: {
        'softmax-overflows': {
          say: 'Logits around 1000 give NaN: e¹⁰⁰⁰ is infinite. Subtract the largest logit first; the result is the same.',
          when: Array.from(received).some((q) => !Number.isFinite(q)),
        },
      },
    });
  });
});

describe('4.9 parameter count', () => {
  const small = { vocabSize: 97, contextLength: 31, layers: 3, width: 10, hiddenSize: 28 };
  type Config = Parameters<typeof countParameters>[0];

  /** The count by pieces, each of which a mistake may leave out or replace. */
  function pieces(config: Config) {
    const { vocabSize: V, contextLength: T, layers: L, width: D, bias = true, tiedHead = true } = config;
    const F = config.hiddenSize ?? 4 * D;
    return {
      tokens: V * D,
      positions: T * D,
      attention: L * 4 * D * D,
      mlp: L * 2 * D * F,
      attentionBiases: bias ? L * 4 * D : 0,
      mlpBiases: bias ? L * (F + D) : 0,
      blockNorms: L * 2 * D * (bias ? 2 : 1),
      finalNorm: D * (bias ? 2 : 1),
      head: tiedHead ? 0 : V * D,
    };
  }
  const count = (config: Config, instead: Partial<ReturnType<typeof pieces>> = {}) =>
    sum(Object.values({ ...pieces(config), ...instead }));
  function hintsFor(config: Config): Hints {
    const { vocabSize: V, layers: L, width: D, hiddenSize: F = 4 * D, bias = true, tiedHead = true } = config;
    const { attention, mlp, attentionBiases, blockNorms } = pieces(config);
    const norms = L * 2 * D + D;
    return {
      ...(tiedHead
        ? {
            'tied-head-counted-twice': {
              say: 'The head shares the token embedding\'s matrix here, but it is counted as a second one.',
              looksLike: count(config, { head: V * D }),
            },
          }
        : {
            'untied-head-forgotten': {
              say: 'With tiedHead false the head has a matrix of its own. It is missing.',
              looksLike: count(config, { head: 0 }),
            },
            'head-bias': {
              say: 'The head has no bias, only its matrix.',
              looksLike: count(config, { head: V * D + V }),
            },
          }),
      ...(bias
        ? {
            'biases-forgotten': {
              say: 'The biases of the linear layers are missing: each has one number for every output.',
              looksLike: count(config, { attentionBiases: 0, mlpBiases: 0 }),
            },
            'all-biases-forgotten': {
              say: 'All biases are missing, those of the linear layers and those of the norms.',
              looksLike: count(config, { attentionBiases: 0, mlpBiases: 0, blockNorms: L * 2 * D, finalNorm: D }),
            },
            'mlp-bias-one-size': {
              say: 'Both biases of the MLP are counted with the same size. One of them is as wide as the hidden layer.',
              looksLike: count(config, { mlpBiases: L * 2 * D }),
            },
            'norms-without-bias': {
              say: 'A layer norm has a gain and, here, a bias: only one of them is counted.',
              looksLike: count(config, { blockNorms: L * 2 * D, finalNorm: D }),
            },
          }
        : {
            'bias-ignored': {
              say: 'With bias false neither linear layers nor norms have one, but they are counted.',
              looksLike: count({ ...config, bias: true }),
            },
            'norm-bias-ignored': {
              say: 'With bias false the norms have only their gain, but their biases are counted.',
              looksLike: count(config) + norms,
            },
          }),
      'hidden-size-ignored': {
        say: 'The MLP is counted with 4 · width, whatever hiddenSize says.',
        looksLike: F === 4 * D ? NaN : count({ ...config, hiddenSize: 4 * D }),
      },
      'mlp-factor': {
        say: 'Only one matrix of the MLP is counted. It goes up to the hidden size and down again.',
        looksLike: count(config, { mlp: mlp / 2 }),
      },
      'output-projection-forgotten': {
        say: 'Attention has three matrices here: query, key and value. After the heads are merged comes a fourth.',
        looksLike: count(config, { attention: (attention * 3) / 4, attentionBiases: (attentionBiases * 3) / 4 }),
      },
      'one-norm-a-block': {
        say: 'Each block has two norms, one before attention and one before the MLP. One is counted.',
        looksLike: count(config, { blockNorms: blockNorms / 2 }),
      },
      'final-norm-forgotten': {
        say: 'One norm is missing: the one after the last block, before the head.',
        looksLike: count(config, { finalNorm: 0 }),
      },
      'norms-forgotten': {
        say: 'The norms are missing: they learn too.',
        looksLike: count(config, { blockNorms: 0, finalNorm: 0 }),
      },
      'positions-forgotten': {
        say: 'The learned position embeddings are missing: one vector for each place in the context.',
        looksLike: count(config, { positions: 0 }),
      },
      'layers-forgotten': { say: 'One block is counted, whatever `layers` says.', looksLike: count({ ...config, layers: 1 }) },
    };
  }

  it.each([
    ['with biases and a tied head', small],
    ['with a head of its own', { ...small, tiedHead: false }],
    ['without biases', { ...small, bias: false }],
    ['with the hidden size left out', { vocabSize: 53, contextLength: 17, layers: 2, width: 14, bias: false, tiedHead: false }],
  ] satisfies [string, Config][])('counts a model %s', async (_name, config: Config) => {
    const hints = hintsFor(config);
    const what = `the count for ${JSON.stringify(config)}`;
    await expectClose(countParameters(config), count(config), { what, tolerance: 0, hints });
  });

  it('agrees with the model itself', async () => {
    const config = { ...small, heads: 2, bias: false };
    const model = new Transformer(config);
    const size = model.parameterCount();
    model.dispose();
    await expectClose(countParameters(config), size, { what: 'the count for a model that was made', tolerance: 0 });
  });

  it('finds the published size of GPT-2', async () => {
    const config = { vocabSize: 50257, contextLength: 1024, layers: 12, width: 768 };
    const hints = hintsFor(config);
    await expectClose(countParameters(config), 124_439_808, { what: 'the count for GPT-2', tolerance: 0, hints });
  });
});
