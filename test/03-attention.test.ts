/**
 * @file Chapter 03, attention: what each answer must do, and what the usual mistakes look like.
 * Expected values come from plain loops in float64; what a mistake would have given comes from tensor operations.
 * All sizes differ (B 2, H 3, T 5, U 7, S 6 or 4), so that no two axes can be confused unnoticed.
 */
import { afterEach, beforeAll, beforeEach, describe, it } from 'vitest';
import { expectClose, Random, startBackend, tf, type Hints } from 'lab';
import {
  alibiBias,
  alibiSlopes,
  attendWithCache,
  causalMask,
  groupedQueryAttention,
  mergeHeads,
  multiHead,
  rope,
  scaledDotProduct,
  splitHeads,
} from '../solutions/03-attention.ts';

beforeAll(async () => {
  await startBackend();
});
beforeEach(() => tf.engine().startScope());
afterEach(() => tf.engine().endScope());

const HIDDEN = -1e9;

function random<T extends tf.Tensor>(seed: number, ...shape: number[]): T {
  const size = shape.reduce((product, axis) => product * axis, 1);
  return tf.tensor(new Random(seed).normals(size), shape) as T;
}

/** '2,3' for a tensor [2, 3]; '' for anything that is no tensor. */
function shapeOf(x: unknown): string {
  return x instanceof tf.Tensor ? x.shape.join() : '';
}

/** A table of [rows][columns] numbers. */
function table(rows: number, columns: number, value: (row: number, column: number) => number): number[][] {
  return Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (_, column) => value(row, column)));
}

/** The causal mask [T, U], its queries shifted by so many places. */
function maskOf(queries: number, keys: number, shift = 0): tf.Tensor2D {
  return tf.tensor2d(table(queries, keys, (t, u) => (u > keys - queries + t + shift ? HIDDEN : 0)));
}

type Heads = number[][][][];

/** softmax(q kᵀ / √S + mask) v, one number at a time. Each key/value head serves H/K neighbouring query heads. */
async function attention64(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, mask?: tf.Tensor): Promise<Heads> {
  const [, H, T, S] = q.shape;
  const [, K, U] = k.shape;
  const [Q, keys, values] = (await Promise.all([q.array(), k.array(), v.array()])) as [Heads, Heads, Heads];
  const M = mask ? ((await tf.broadcastTo(mask, [1, H, T, U]).array()) as Heads)[0]! : undefined;
  return Q.map((heads, b) =>
    heads.map((queries, h) => {
      const group = Math.floor((h * K) / H);
      return queries.map((query, t) => {
        const scores = keys[b]![group]!.map((key, u) => {
          const product = key.reduce((sum, x, s) => sum + x * query[s]!, 0);
          return product / Math.sqrt(S) + (M ? M[h]![t]![u]! : 0);
        });
        const largest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - largest));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const columns = values[b]![group]![0]!;
        return columns.map((_, s) => weights.reduce((sum, weight, u) => sum + (weight / total) * values[b]![group]![u]![s]!, 0));
      });
    }),
  );
}

interface Variant {
  mask?: tf.Tensor | undefined;
  scale?: number;
  /** How the mask meets the scores. */
  combine?: (scores: tf.Tensor, mask: tf.Tensor) => tf.Tensor;
  weigh?: (scores: tf.Tensor) => tf.Tensor;
}

/** Attention in tensor operations, with its parts open to mistakes. */
function attend(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, variant: Variant = {}): tf.Tensor {
  const { mask, scale = 1 / Math.sqrt(q.shape[3]!), combine = tf.add, weigh = tf.softmax } = variant;
  const scores = tf.matMul(q, k, false, true).mul(scale);
  return tf.matMul(weigh(mask ? combine(scores, mask) : scores), v);
}

function softmaxOverQueries(scores: tf.Tensor): tf.Tensor {
  const exponentials = scores.sub(scores.max(2, true)).exp();
  return exponentials.div(exponentials.sum(2, true));
}

/** The error that the gradient of `f` ends in, or ''. Errors of `f` itself are thrown. */
function gradientFailure(f: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: tf.Tensor[]): string {
  try {
    tf.grads(f)(inputs);
    return '';
  } catch (error) {
    // After an error TensorFlow.js forgets the tensors that it kept for the way back.
    for (const node of tf.engine().state.activeTape ?? []) tf.dispose(node.saved ?? []);
    const message = error instanceof Error ? error.message : String(error);
    if (!/gradient|UnsortedSegmentSum|dataSync/i.test(message)) throw error;
    return message;
  }
}

/** Fails unless a gradient gets through `f` to every input that has a say in its values. */
async function expectGradients(f: (...inputs: tf.Tensor[]) => tf.Tensor, ...inputs: tf.Tensor[]): Promise<void> {
  const failures: string[] = [];
  if (gradientFailure(f, inputs) !== '') {
    for (const [i, input] of inputs.entries()) {
      const alone = (x: tf.Tensor) => f(...inputs.slice(0, i), x, ...inputs.slice(i + 1));
      const influence = await alone(input)
        .sub(alone(input.mul(2)))
        .abs()
        .max()
        .data();
      if (influence[0]! > 0) failures.push(gradientFailure(alone, [input]));
    }
  }
  const failure = failures.find((message) => message !== '') ?? '';
  await expectClose(failure === '' ? 1 : 0, 1, {
    what: 'whether a gradient reaches every input (1) or not (0)',
    hints: {
      'reads-data-back': {
        say:
          'The numbers are right, but no gradient comes through to every input. Once a tensor is read into JavaScript (with ' +
          'dataSync, arraySync, data or array), TensorFlow.js can no longer follow where the result came from, and a model ' +
          'could not learn through your function. Stay in tensor operations from the inputs to the result.',
        when: /Cannot compute gradient|dataSync/.test(failure),
      },
      'no-gradient-rule': {
        say:
          `The numbers are right, but TensorFlow.js cannot differentiate an operation you used: "${failure}". ` +
          'Known gaps: gather on some backends, tile and broadcastTo on tensors with five axes, and matMul where one side ' +
          'is repeated over the batch. reshape, transpose, stack, concat, split and matMul of equal batches all work.',
        when: failure !== '',
      },
    },
  });
}

describe('3.1 causal mask', () => {
  it.each([
    [5, 5],
    [3, 7],
    [1, 6],
  ])('hides the future: queries %i, keys %i', async (queries, keys) => {
    const mask = causalMask(queries, keys);
    const values = mask instanceof tf.Tensor ? Array.from(await mask.data()) : [];
    const hides = (hidden: (key: number, position: number, t: number) => boolean) =>
      table(queries, keys, (t, u) => (hidden(u, keys - queries + t, t) ? HIDDEN : 0));
    await expectClose(mask, maskOf(queries, keys), {
      what: `causalMask(${queries}, ${keys})`,
      hints: {
        'not-a-number': {
          say:
            'The mask contains NaN. That happens when 0 is multiplied by Infinity: choose between two values instead of ' +
            'multiplying.',
          when: values.some((value) => Number.isNaN(value)),
        },
        'too-weak': {
          say: 'The hidden entries are negative, but not by enough: a large score would still shine through. Use -1e9.',
          when: values.some((value) => value < 0 && value > -1e8),
        },
        'ones-and-zeros': {
          say:
            'The mask is made of ones and zeros. It is going to be added to the scores, so "visible" must change nothing ' +
            '(0) and "hidden" must bury the score (-1e9).',
          when: values.some((value) => value === 1) && values.every((value) => value === 0 || value === 1),
        },
        'hides-itself': {
          say: 'Off by one: each token is hidden from itself. A token may look at the past and at its own place.',
          looksLike: hides((key, position) => key >= position),
        },
        'sees-the-next': {
          say: 'Off by one: each token still sees the token right after it, which is the very answer it has to predict.',
          looksLike: hides((key, position) => key > position + 1),
        },
        'hides-the-past': {
          say:
            'The triangle lies the wrong way round: the past is hidden and the future is visible (rows are queries, ' +
            'columns are keys).',
          looksLike: hides((key, position) => key < position),
          when: keys !== queries && shapeOf(mask) === `${keys},${queries}`,
        },
        'aligned-at-the-start': {
          say:
            'Right when there are as many queries as keys, wrong otherwise: the queries are the last tokens of the text, ' +
            'so the last query must see every key.',
          looksLike: hides((key, _, t) => key > t),
        },
      },
    });
  });
});

/** What the usual mistakes in scaled dot-product attention give for these inputs. */
function dotProductHints(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, mask?: tf.Tensor): Hints {
  const S = q.shape[3];
  const hints: Hints = {
    'not-scaled': {
      say:
        'The scores are not scaled. A dot product of S numbers grows like √S, so divide the scores by the square root of ' +
        'the head size before the softmax.',
      looksLike: () => attend(q, k, v, { mask, scale: 1 }),
    },
    'scaled-by-size': {
      say: 'The scores are divided by the head size S itself. It is its square root that keeps their spread at 1.',
      looksLike: () => attend(q, k, v, { mask, scale: 1 / S }),
    },
    'scaled-by-width': {
      say:
        'The scores are divided by the square root of the whole width. Each head computes its dot products with its own S ' +
        'numbers only: divide by √S, the size of the last axis.',
      looksLike: () => attend(q, k, v, { mask, scale: 1 / Math.sqrt(q.shape[1] * S) }),
    },
    'softmax-over-queries': {
      say:
        'The softmax runs over the wrong axis: for each key, the weights of all queries sum to 1. Each query has to share ' +
        'out its own attention over the keys.',
      looksLike: () => attend(q, k, v, { mask, weigh: softmaxOverQueries }),
    },
    'no-softmax': {
      say: 'The values are mixed by the raw scores. Weights must be positive and sum to 1 for each query: a softmax is missing.',
      looksLike: () => attend(q, k, v, { mask, weigh: (scores) => scores }),
    },
    'mixes-keys': {
      say: 'The weights are right, but they mix the keys. Keys are only for being found; what a token hands over is its value.',
      looksLike: () => attend(q, k, k, { mask }),
    },
  };
  if (!mask) return hints;
  return {
    'mask-ignored': {
      say: 'The mask is ignored: the result is the same as without one.',
      looksLike: () => attend(q, k, v),
    },
    'mask-multiplied': {
      say: 'The mask is multiplied with the scores. It is made to be added: 0 leaves a score alone, -1e9 buries it.',
      looksLike: () => attend(q, k, v, { mask, combine: tf.mul }),
    },
    'mask-subtracted': {
      say: 'The mask is subtracted from the scores, so hidden keys get all the attention. Add it.',
      looksLike: () => attend(q, k, v, { mask, combine: tf.sub }),
    },
    'masked-after-softmax': {
      say:
        'The mask is applied after the softmax, so what is left no longer sums to 1: the hidden keys have already taken ' +
        'their share. Mask the scores, then take the softmax.',
      looksLike: () => attend(q, k, v, { weigh: (scores) => tf.softmax(scores).mul(mask.exp()) }),
    },
    ...hints,
  };
}

describe('3.2 scaled dot product', () => {
  const inputs = (seed: number, spread = 1) => {
    const q = random<tf.Tensor4D>(seed, 2, 3, 5, 6).mul<tf.Tensor4D>(spread);
    return [q, random<tf.Tensor4D>(seed + 1, 2, 3, 7, 6), random<tf.Tensor4D>(seed + 2, 2, 3, 7, 6)] as const;
  };

  it('mixes the values by softmax(q kᵀ / √S)', async () => {
    const [q, k, v] = inputs(321);
    await expectClose(scaledDotProduct(q, k, v, null), await attention64(q, k, v), { hints: dotProductHints(q, k, v) });
  });

  it('adds a mask to the scores', async () => {
    const [q, k, v] = inputs(324);
    const mask = maskOf(5, 7);
    const hints = dotProductHints(q, k, v, mask);
    await expectClose(scaledDotProduct(q, k, v, mask), await attention64(q, k, v, mask), { hints });
  });

  it('takes a mask that differs from head to head', async () => {
    const [q, k, v] = inputs(327);
    const mask = random(330, 3, 5, 7);
    const hints = dotProductHints(q, k, v, mask);
    await expectClose(scaledDotProduct(q, k, v, mask), await attention64(q, k, v, mask), { hints });
  });

  it('takes values of another size than keys', async () => {
    const [q, k] = inputs(328);
    const v = random<tf.Tensor4D>(329, 2, 3, 7, 4);
    await expectClose(scaledDotProduct(q, k, v, null), await attention64(q, k, v), { hints: dotProductHints(q, k, v) });
  });

  it('survives scores in the hundreds', async () => {
    const [q, k, v] = inputs(331, 300);
    const received = scaledDotProduct(q, k, v, null);
    await expectClose(received, await attention64(q, k, v), {
      tolerance: 1e-3,
      hints: {
        overflow: {
          say:
            'Large scores give NaN: exp of a few hundred is Infinity in float32, and Infinity / Infinity is not a number. ' +
            'Subtract the largest score of each row first; tf.softmax does.',
          when: async () => (await received.data()).some((x) => Number.isNaN(x)),
        },
        ...dotProductHints(q, k, v),
      },
    });
  });

  it('lets gradients through to q, k and v', async () => {
    const [q, k, v] = inputs(334);
    const mask = maskOf(5, 7);
    await expectGradients((...x) => scaledDotProduct(...(x as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D]), mask), q, k, v);
  });
});

describe('3.3 split and merge heads', () => {
  const B = 2;
  const T = 5;
  const H = 3;
  const S = 4;
  const columns = (x: number[][][], h: number, b: number, t: number) => x[b]![t]!.slice(h * S, (h + 1) * S);

  it('gives head h the columns h·S … (h+1)·S - 1 of every token', async () => {
    const x = random<tf.Tensor3D>(335, B, T, H * S);
    const values = await x.array();
    const expected = values.map((_, b) =>
      Array.from({ length: H }, (_, h) => table(T, S, (t, s) => columns(values, h, b, t)[s]!)),
    );
    const received = splitHeads(x, H);
    await expectClose(received, expected, {
      hints: {
        'split-without-transpose': {
          say:
            'The shape is right but tokens and heads are mixed up: one reshape to [B, H, T, S] cuts memory in the order ' +
            'it lies in, and there a token keeps all its heads together. Reshape to [B, T, H, S] first, then exchange two ' +
            'axes.',
          looksLike: () => x.reshape([B, H, T, S]),
        },
        'split-interleaved': {
          say: 'Each head got every H-th column (reshaped to [B, T, S, H]). A head owns S neighbouring columns.',
          looksLike: () => x.reshape([B, T, S, H]).transpose([0, 3, 1, 2]),
        },
        'split-wrong-axes': {
          say: 'Right numbers, wrong order of axes: the result must be [B, H, T, S], batch, head, token, column.',
          when: [`${B},${H},${S},${T}`, `${B},${T},${H},${S}`, `${H},${B},${T},${S}`].includes(shapeOf(received)),
        },
      },
    });
  });

  it('puts the heads of a token side by side again', async () => {
    const x = random<tf.Tensor4D>(336, B, H, T, S);
    const values = await x.array();
    const expected = values.map((heads) => table(T, H * S, (t, column) => heads[Math.floor(column / S)]![t]![column % S]!));
    await expectClose(mergeHeads(x), expected, {
      hints: {
        'merge-without-transpose': {
          say:
            'The shape is right but tokens are mixed up: in [B, H, T, S] the heads of one token lie far apart. Bring the ' +
            'token axis before the head axis, then reshape.',
          looksLike: () => x.reshape([B, T, H * S]),
        },
        'merge-interleaved': {
          say: 'The columns of the heads are shuffled together. First all columns of head 0, then all of head 1, and so on.',
          looksLike: () => x.transpose([0, 2, 3, 1]).reshape([B, T, H * S]),
        },
      },
    });
  });

  it('lets gradients through', async () => {
    await expectGradients((x) => mergeHeads(splitHeads(x as tf.Tensor3D, H)), random(337, B, T, H * S));
  });
});

describe('3.4 multi-head attention', () => {
  const B = 2;
  const T = 5;
  const H = 3;
  const D = 12;
  type Weights = Record<'query' | 'key' | 'value' | 'output', tf.Tensor2D>;
  const weightsOf = (seed: number): Weights => ({
    query: random<tf.Tensor2D>(seed, D, D).mul(0.5),
    key: random<tf.Tensor2D>(seed + 1, D, D).mul(0.5),
    value: random(seed + 2, D, D),
    output: random(seed + 3, D, D),
  });
  const project = (x: tf.Tensor, weight: tf.Tensor2D, transpose = true) =>
    tf.matMul(x.reshape([B * T, D]), weight, false, transpose).reshape([B, T, D]);
  const split = (x: tf.Tensor, heads: number) => x.reshape([B, T, heads, D / heads]).transpose<tf.Tensor4D>([0, 2, 1, 3]);
  const merge = (x: tf.Tensor) => x.transpose([0, 2, 1, 3]).reshape([B, T, D]);

  interface MultiHeadVariant extends Variant {
    heads?: number;
    transpose?: boolean;
    divide?: (x: tf.Tensor, heads: number) => tf.Tensor4D;
    join?: (x: tf.Tensor) => tf.Tensor;
    mix?: (x: tf.Tensor, weight: tf.Tensor2D) => tf.Tensor;
  }
  /** Multi-head attention in tensor operations, with its parts open to mistakes. */
  const model = (x: tf.Tensor, weights: Weights, variant: MultiHeadVariant) => {
    const { heads = H, transpose = true, divide = split, join = merge } = variant;
    const mix = variant.mix ?? ((merged, weight) => project(merged, weight, transpose));
    const [q, k, v] = (['query', 'key', 'value'] as const).map((name) => divide(project(x, weights[name], transpose), heads));
    return mix(join(attend(q!, k!, v!, variant)), weights.output);
  };
  const hintsFor = (x: tf.Tensor3D, weights: Weights, mask?: tf.Tensor): Hints => ({
    'weights-not-transposed': {
      say: 'The projections use W where they need its transpose: rows of a weight matrix are outputs, so y = x Wᵀ.',
      looksLike: () => model(x, weights, { mask, transpose: false }),
    },
    'one-head': {
      say:
        'This is attention with a single head as wide as the model. Split queries, keys and values into heads, so that ' +
        'each head gets a pattern of its own.',
      looksLike: () => model(x, weights, { mask, heads: 1 }),
    },
    'scaled-by-width': {
      say:
        'The scores are scaled by the width of the model. Each head takes dot products of S = D / H numbers, so it is √S ' +
        'that counts.',
      looksLike: () => model(x, weights, { mask, scale: 1 / Math.sqrt(D) }),
    },
    'no-output-projection': {
      say: 'The heads are merged but the last step is missing: the output matrix, which mixes what the heads found.',
      looksLike: () => model(x, weights, { mask, mix: (merged) => merged }),
    },
    'merge-without-transpose': {
      say:
        'The heads were reshaped together without bringing the token axis forward first, so pieces of different tokens ' +
        'share a row.',
      looksLike: () => model(x, weights, { mask, join: (heads) => heads.reshape([B, T, D]) }),
    },
    'split-without-transpose': {
      say:
        'The projections were reshaped to [B, H, T, S] directly, so pieces of different tokens share a row. Split by ' +
        'reshape and transpose.',
      looksLike: () => model(x, weights, { mask, divide: (projected, heads) => projected.reshape([B, heads, T, D / heads]) }),
    },
    'query-key-swapped': {
      say: 'Queries and keys are exchanged: every token asks with its key and is found by its query.',
      looksLike: () => model(x, { ...weights, query: weights.key, key: weights.query }, { mask }),
    },
    ...(mask && {
      'mask-ignored': { say: 'The mask has no effect: pass it on to the attention.', looksLike: () => model(x, weights, {}) },
    }),
  });

  it.each([
    ['without a mask', false],
    ['under a causal mask', true],
  ])('projects, attends in every head and mixes the heads %s', async (_, masked) => {
    const x = random<tf.Tensor3D>(341, B, T, D);
    const weights = weightsOf(342);
    const mask = masked ? maskOf(T, T) : undefined;
    const [q, k, v] = (['query', 'key', 'value'] as const).map((name) => split(project(x, weights[name]), H));
    const heads = tf.tensor4d(await attention64(q!, k!, v!, mask));
    const expected = project(merge(heads), weights.output);
    await expectClose(multiHead(x, weights, H, mask ?? null), expected, { hints: hintsFor(x, weights, mask), tolerance: 1e-3 });
  });

  it('lets gradients through to the input and to all four matrices', async () => {
    const weights = weightsOf(346);
    const f = (...inputs: tf.Tensor[]) => {
      const [x, query, key, value, output] = inputs as [tf.Tensor3D, tf.Tensor2D, tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
      return multiHead(x, { query, key, value, output }, H, null);
    };
    await expectGradients(f, random(345, B, T, D), weights.query, weights.key, weights.value, weights.output);
  });
});

describe('3.5 rotary positions', () => {
  interface Rotation {
    offset?: number;
    base?: number;
    /** Multiplies the exponent of the frequency. */
    exponent?: number;
    direction?: number;
    /** The sign before the sine in the first half. */
    sign?: number;
  }
  const angles = (T: number, S: number, { offset = 0, base = 10000, exponent = 1, direction = 1 }: Rotation) =>
    table(T, S / 2, (t, j) => direction * (offset + t) * base ** ((-2 * j * exponent) / S));

  /** RoPE, one number at a time. `pair` says which columns turn together. */
  const turn = (x: tf.Tensor4D, values: Heads, rotation: Rotation = {}, pair?: (j: number) => [number, number]): tf.Tensor => {
    const [, , T, S] = x.shape;
    const { sign = -1 } = rotation;
    const angle = angles(T, S, rotation);
    const turned = values.map((heads) =>
      heads.map((tokens) =>
        tokens.map((token, t) => {
          const result = [...token];
          for (let j = 0; j < S / 2; j++) {
            const [first, second] = pair ? pair(j) : [j, j + S / 2];
            const [cos, sin] = [Math.cos(angle[t]![j]!), Math.sin(angle[t]![j]!)];
            result[first] = token[first]! * cos + sign * token[second]! * sin;
            result[second] = token[second]! * cos + token[first]! * sin;
          }
          return result;
        }),
      ),
    );
    return tf.tensor(turned);
  };
  const hintsFor = (x: tf.Tensor4D, values: Heads, right: Rotation): Hints => ({
    ...(right.offset && {
      'offset-ignored': {
        say:
          'The offset has no effect: the first token is always turned as if it stood at position 0. While decoding, it ' +
          'stands at position `offset`.',
        looksLike: () => turn(x, values, { ...right, offset: 0 }),
      },
    }),
    ...(right.base && {
      'base-ignored': {
        say: 'The base has no effect: the angles are always those of base 10000.',
        looksLike: () => turn(x, values, { ...right, base: 10000 }),
      },
    }),
    'interleaved-pairs': {
      say:
        'Neighbouring columns (0 with 1, 2 with 3, …) are paired. That is the layout of the paper; Llama, and this ' +
        'exercise, pair column j with column j + S/2.',
      looksLike: () => turn(x, values, right, (j) => [2 * j, 2 * j + 1]),
    },
    'turned-backwards': {
      say:
        'The pairs turn the wrong way round: the minus sign sits at the wrong half. The first half loses what the second ' +
        'one gains.',
      looksLike: () => turn(x, values, { ...right, direction: -1 }),
    },
    'no-minus': {
      say: 'This is no rotation: lengths change. One of the two halves needs a minus before its sine.',
      looksLike: () => turn(x, values, { ...right, sign: 1 }),
    },
    'exponent-halved': {
      say: 'The frequencies fall too slowly: the exponent is -j/S, it should be -2j/S for pair j = 0 … S/2 - 1.',
      looksLike: () => turn(x, values, { ...right, exponent: 0.5 }),
    },
    'exponent-doubled': {
      say:
        'The frequencies fall too fast: the exponent is -4j/S, it should be -2j/S for pair j = 0 … S/2 - 1 (S is the ' +
        'whole head size).',
      looksLike: () => turn(x, values, { ...right, exponent: 2 }),
    },
    'grows-with-pair': {
      say:
        'The angles grow from pair to pair: the exponent lacks its minus. Pair 0 turns fastest, by 1 radian a position, ' +
        'later pairs ever more slowly.',
      looksLike: () => turn(x, values, { ...right, exponent: -1 }),
    },
    'starts-at-one': {
      say:
        'Positions are counted from 1. The first token stands at position `offset`, which is 0 at the start of a text: it ' +
        'is not turned at all.',
      looksLike: () => turn(x, values, { ...right, offset: (right.offset ?? 0) + 1 }),
    },
  });

  it('turns the pair (j, j + S/2) of token p by p · base^(-2j/S)', async () => {
    const x = random<tf.Tensor4D>(351, 2, 3, 5, 6);
    const values = await x.array();
    await expectClose(rope(x), turn(x, values), { hints: hintsFor(x, values, {}), tolerance: 1e-3 });
  });

  it('starts at the offset', async () => {
    const x = random<tf.Tensor4D>(352, 2, 3, 5, 6);
    const values = await x.array();
    await expectClose(rope(x, 11), turn(x, values, { offset: 11 }), {
      hints: hintsFor(x, values, { offset: 11 }),
      tolerance: 1e-3,
    });
  });

  it('takes another base', async () => {
    const x = random<tf.Tensor4D>(353, 1, 2, 3, 10);
    const values = await x.array();
    await expectClose(rope(x, 2, 500), turn(x, values, { offset: 2, base: 500 }), {
      hints: hintsFor(x, values, { offset: 2, base: 500 }),
      tolerance: 1e-3,
    });
  });

  it('lets gradients through', async () => {
    await expectGradients((x) => rope(x as tf.Tensor4D, 3), random(354, 2, 3, 5, 6));
  });
});

describe('3.6 linear biases', () => {
  const series = (heads: number, first = 1) => Array.from({ length: heads }, (_, h) => 2 ** ((-8 * (h + first)) / heads));
  /** The series of the next smaller power of two, filled up with every second slope of twice as many heads. */
  const slopesOf = (heads: number, first = 1) => {
    const power = 2 ** Math.floor(Math.log2(heads));
    const finer = series(2 * power, first);
    return [...series(power, first), ...Array.from({ length: heads - power }, (_, i) => finer[2 * i]!)];
  };
  const slopeHints = (heads: number): Hints => ({
    'slopes-always-halved': {
      say:
        'Each slope is half the one before whatever the number of heads. That is only right for 8 heads: the ratio is ' +
        '2^(-8/H), so that the last slope is always 2^-8.',
      looksLike: Array.from({ length: heads }, (_, h) => 2 ** -(h + 1)),
    },
    'slopes-start-at-one': {
      say: 'The first slope is 1: the series starts one step too early. It begins with its ratio, 2^(-8/H), and ends with 2^-8.',
      looksLike: slopesOf(heads, 0),
    },
    'slopes-negative': {
      say: 'The slopes are negative. Keep them positive here and put the minus into the bias.',
      looksLike: slopesOf(heads).map((slope) => -slope),
    },
  });

  it.each([2, 4, 16])('halves its way down to 2^-8 over %i heads', async (heads) => {
    await expectClose(alibiSlopes(heads), series(heads), { what: `the slopes of ${heads} heads`, hints: slopeHints(heads) });
  });

  it.each([3, 6, 12])('fills up %i heads from the series of more heads', async (heads) => {
    const power = 2 ** Math.floor(Math.log2(heads));
    await expectClose(alibiSlopes(heads), slopesOf(heads), {
      what: `the slopes of ${heads} heads`,
      hints: {
        'no-power-of-two': {
          say:
            'The formula for powers of two is used for another number of heads. Take the slopes of the next smaller power ' +
            'of two P, then fill up with the 1st, 3rd, 5th, … slope of 2P heads.',
          looksLike: series(heads),
        },
        'filled-without-skipping': {
          say:
            'The missing slopes are taken from the start of the series for 2P heads. Every second of those is there ' +
            'already: take the 1st, the 3rd, the 5th, …',
          looksLike: [...series(power), ...series(2 * power).slice(0, heads - power)],
        },
        ...slopeHints(heads),
      },
    });
  });

  it.each([
    [4, 5, 5],
    [6, 3, 7],
  ])('lowers the scores of %i heads by slope times distance (%i queries, %i keys)', async (heads, queries, keys) => {
    const past = tf.tensor2d(table(queries, keys, (t, u) => (u <= keys - queries + t ? 1 : 0))).cast('bool');
    const biasOf = (value: (position: number, key: number, t: number) => number, slopes = slopesOf(heads)) => {
      const everywhere = slopes.map((slope) => table(queries, keys, (t, u) => slope * value(keys - queries + t, u, t)));
      return tf.where(past, tf.tensor3d(everywhere), 0);
    };
    const bias = alibiBias(heads, queries, keys);
    const received = shapeOf(bias) === `${heads},${queries},${keys}` ? tf.where(past, bias, 0) : bias;
    await expectClose(
      received,
      biasOf((position, key) => key - position),
      {
        what: 'the bias of the keys that are not in the future',
        hints: {
          'bias-rewards-distance': {
            say:
              'The sign is turned round: far keys are lifted. The bias is a penalty, 0 for the token itself and ever more ' +
              'negative with distance.',
            looksLike: () => biasOf((position, key) => position - key),
          },
          'bias-at-the-start': {
            say:
              'Right when there are as many queries as keys, wrong otherwise: the queries are the last tokens, so query t ' +
              'stands at position U - T + t.',
            looksLike: () => biasOf((_, key, t) => key - t),
          },
          'bias-grows-with-key': {
            say:
              'The bias depends on the key alone. It is the distance from the query that counts, so that the same pattern ' +
              'holds everywhere in a text.',
            looksLike: () => biasOf((_, key) => -key),
          },
          'bias-one-slope': {
            say: 'All heads have the same slope. Each head gets its own, so that some look near and others far.',
            looksLike: () => biasOf((position, key) => key - position, Array<number>(heads).fill(slopesOf(heads)[0]!)),
          },
          'slopes-first': {
            say: 'The distances are right, but the slopes are not yet: mend alibiSlopes first.',
            looksLike: () => biasOf((position, key) => key - position, Array.from(alibiSlopes(heads))),
          },
        },
      },
    );
  });
});

describe('3.7 grouped queries', () => {
  const B = 2;
  const T = 5;
  const U = 7;
  const S = 4;
  const inputs = (seed: number, H: number, K: number) => {
    const q = random<tf.Tensor4D>(seed, B, H, T, S);
    return [q, random<tf.Tensor4D>(seed + 1, B, K, U, S), random<tf.Tensor4D>(seed + 2, B, K, U, S)] as const;
  };
  /** One key/value head for each query head, chosen by index. */
  const choose = (x: tf.Tensor4D, heads: number, index: (h: number) => number) => {
    const parts = tf.split(x, x.shape[1], 1);
    return tf.concat(
      Array.from({ length: heads }, (_, h) => parts[index(h)]!),
      1,
    ) as tf.Tensor4D;
  };

  it.each([
    ['two query heads for each of three', 6, 3],
    ['three query heads for each of two', 6, 2],
    ['one key/value head for all (multi-query)', 5, 1],
    ['as many key/value heads as query heads', 3, 3],
  ])('serves %s', async (_, H, K) => {
    const [q, k, v] = inputs(371, H, K);
    const mask = maskOf(T, U);
    const grouped = (h: number) => Math.floor((h * K) / H);
    const pick = (keyHead: (h: number) => number, valueHead = keyHead, with_: tf.Tensor | undefined = mask) =>
      attend(q, choose(k, H, keyHead), choose(v, H, valueHead), { mask: with_ });
    await expectClose(groupedQueryAttention(q, k, v, mask), await attention64(q, k, v, mask), {
      hints: {
        'heads-taken-in-turn': {
          say:
            'Query head h uses key/value head h % K, as if the heads took turns. Neighbouring query heads share one: head ' +
            'h uses h / (H/K), rounded down.',
          looksLike: () => pick((h) => h % K),
        },
        'only-keys-grouped': {
          say: 'Keys are shared by neighbouring heads, but values are dealt out in turn. Both must be repeated in the same way.',
          looksLike: () => pick(grouped, (h) => h % K),
        },
        'first-head-only': {
          say: 'All query heads use the first key/value head. Each group of H/K query heads has one of its own.',
          looksLike: () => pick(() => 0),
        },
        'mask-ignored': {
          say: 'The mask has no effect: pass it on to the attention.',
          looksLike: () => attend(q, choose(k, H, grouped), choose(v, H, grouped)),
        },
        'groups-averaged': {
          say:
            'The query heads of a group were averaged before asking. Only keys and values are shared; every query head ' +
            'keeps its own question.',
          looksLike: () => {
            const mean = q.reshape([B, K, H / K, T, S]).mean(2) as tf.Tensor4D;
            return attend(choose(mean, H, grouped), choose(k, H, grouped), choose(v, H, grouped), { mask });
          },
        },
      },
    });
  });

  it('lets gradients through to q, k and v', async () => {
    const [q, k, v] = inputs(377, 6, 3);
    await expectGradients((...x) => groupedQueryAttention(...(x as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D]), null), q, k, v);
  });
});

describe('3.8 key/value cache', () => {
  const shape = [2, 3, 9, 4] as const;
  const pieces = [4, 1, 3, 1];
  type Cache = { k: tf.Tensor; v: tf.Tensor };
  type Step = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, cache: Cache | null) => { output: tf.Tensor; cache: Cache };
  const inputs = (seed: number) =>
    [0, 1, 2].map((i) => random<tf.Tensor4D>(seed + i, ...shape)) as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];

  /** Feeds one or more texts piece by piece, taking turns, and puts the outputs together. */
  const decode = (step: Step, ...texts: (readonly [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D])[]): tf.Tensor => {
    const cut = texts.map((text) => text.map((x) => tf.split(x, pieces, 2)));
    const caches: (Cache | null)[] = texts.map(() => null);
    const outputs: tf.Tensor[][] = texts.map(() => []);
    for (let i = 0; i < pieces.length; i++) {
      for (const [text, [q, k, v]] of cut.entries()) {
        const { output, cache } = step(q![i]!, k![i]!, v![i]!, caches[text]!);
        caches[text] = cache;
        outputs[text]!.push(output);
      }
    }
    return tf.stack(outputs.map((parts) => tf.concat(parts, 2)));
  };
  const append = (cache: Cache | null, k: tf.Tensor, v: tf.Tensor): Cache =>
    cache ? { k: tf.concat([cache.k, k], 2), v: tf.concat([cache.v, v], 2) } : { k, v };
  const prepend: typeof append = (cache, k, v) => (cache ? append({ k, v }, cache.k, cache.v) : { k, v });
  const stepWith = (mask: (T: number, U: number) => tf.Tensor | undefined, extend = append): Step => {
    return (q, k, v, cache) => {
      const all = extend(cache, k, v);
      return { output: attend(q, all.k, all.v, { mask: mask(q.shape[2]!, all.k.shape[2]!) }), cache: all };
    };
  };
  /** A step that keeps its keys and values where all texts share them. */
  const sharing = (): Step => {
    let kept: Cache | null = null;
    return (q, k, v, cache) => {
      const result = stepWith(maskOf)(q, k, v, cache && kept);
      kept = result.cache;
      return result;
    };
  };
  const hintsFor = (decodeBy: (step: Step) => tf.Tensor): Hints => ({
    forgets: {
      say:
        'Earlier tokens are forgotten: each piece is answered from its own keys and values. Put what is in the cache ' +
        'before them.',
      looksLike: () => decodeBy(stepWith(maskOf, (_, k, v) => ({ k, v }))),
    },
    'keeps-only-the-last-piece': {
      say:
        'Each piece sees the piece before it, but nothing older: the cache that you return holds only the new keys and ' +
        'values. Return the old ones with them.',
      looksLike: () => decodeBy((q, k, v, cache) => ({ ...stepWith(maskOf)(q, k, v, cache), cache: { k, v } })),
    },
    'sees-the-future': {
      say:
        'Within a piece of several tokens, earlier ones see later ones. A piece needs a causal mask of T queries over all ' +
        'U keys.',
      looksLike: () => decodeBy(stepWith(() => undefined)),
    },
    'mask-at-the-start': {
      say:
        'The mask is aligned at the start: after the first piece, new tokens see as little as if they stood at position ' +
        '0. The last query stands at the last key.',
      looksLike: () => decodeBy(stepWith((T, U) => tf.tensor2d(table(T, U, (t, u) => (u > t ? HIDDEN : 0))))),
    },
    'new-before-old': {
      say: 'New keys and values are put before the old ones, so the causal mask hides the wrong tokens. Append at the end.',
      looksLike: () => decodeBy(stepWith(maskOf, prepend)),
    },
    'shared-between-texts': {
      say:
        'Two texts that are decoded in turn get into each other: the keys and values are kept outside the function. Use ' +
        'the cache that is given, and return the new one.',
      looksLike: () => decodeBy(sharing()),
    },
  });

  it('gives, piece by piece, what attention gives over the whole text', async () => {
    const [q, k, v] = inputs(381);
    const decodeBy = (step: Step) => decode(step, [q, k, v]);
    const expected = [await attention64(q, k, v, maskOf(9, 9))];
    await expectClose(decodeBy(attendWithCache), expected, { what: 'the outputs of all pieces', hints: hintsFor(decodeBy) });
  });

  it('keeps two texts apart that are decoded in turn', async () => {
    const texts = [inputs(384), inputs(387)];
    const decodeBy = (step: Step) => decode(step, ...texts);
    const expected = await Promise.all(texts.map(([q, k, v]) => attention64(q, k, v, maskOf(9, 9))));
    await expectClose(decodeBy(attendWithCache), expected, { what: 'the outputs of both texts', hints: hintsFor(decodeBy) });
  });
});
