/**
 * @file The exercises of chapter 02. Every expectation is computed here in plain float64 loops, on random numbers of odd
 * sizes, so that no two of the foreseen mistakes give the same numbers.
 */
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Random, Transformer, crossEntropy as libraryLoss, expectClose, startBackend, tf, train, type Hints } from 'lab';
import {
  bigramCounts,
  bitsPerCharacter,
  crossEntropy,
  crossEntropyGradient,
  logSoftmax,
  perplexity,
  randomBatch,
  sgdStep,
  smooth,
  trainBigram,
} from '../solutions/02-language-modelling.ts';

type Vector = number[];
type Matrix = Vector[];
type Nested = number | Nested[];

beforeAll(async () => {
  await startBackend();
});

const given: tf.Tensor[] = [];
afterEach(() => tf.dispose(given.splice(0)));

/** Numbers as a tensor that lives until the end of the test. */
function tensor<T extends tf.Tensor>(values: Nested, dtype: 'float32' | 'int32' = 'float32'): T {
  const made = tf.tensor(values as tf.TensorLike, undefined, dtype);
  given.push(made);
  return made as T;
}

/** What the answer returns; its intermediate tensors are freed at once, the result at the end of the test. */
function run<T extends tf.Tensor | Record<string, tf.Tensor>>(answer: () => T): T {
  const result = tf.tidy(answer);
  given.push(...(result instanceof tf.Tensor ? [result] : Object.values(result ?? {})));
  return result;
}

const random = new Random(2);
const vector = (n: number, std = 1): Vector => Array.from({ length: n }, () => random.normal() * std);
const matrix = (rows: number, columns: number, std = 1): Matrix => Array.from({ length: rows }, () => vector(columns, std));
const zeros = (rows: number, columns: number): Matrix => Array.from({ length: rows }, () => Array<number>(columns).fill(0));
const sum = (v: Vector) => v.reduce((a, b) => a + b, 0);
const mean = (v: Vector) => sum(v) / v.length;
const largest = (v: Vector) => v.reduce((a, b) => Math.max(a, b));
const transpose = (m: Matrix): Matrix => m[0]!.map((_, j) => m.map((row) => row[j]!));
const map = (m: Matrix, f: (value: number, i: number, j: number) => number): Matrix =>
  m.map((row, i) => row.map((value, j) => f(value, i, j)));
const logSoftmaxOf = (v: Vector): Vector => {
  const top = largest(v);
  const log = Math.log(sum(v.map((z) => Math.exp(z - top))));
  return v.map((z) => z - top - log);
};
const softmaxOf = (v: Vector): Vector => logSoftmaxOf(v).map(Math.exp);

/** The error of a function that has to go through tensors all the way, or undefined. */
function gradientOrNothing(answer: (x: tf.Tensor) => tf.Tensor, x: Nested): tf.Tensor | undefined {
  try {
    const gradient = tf.grad(answer)(tensor(x));
    given.push(gradient);
    return gradient;
  } catch (error) {
    if (!/Cannot compute gradient|backprop/.test(String(error))) throw error;
    return undefined;
  }
}

const notDifferentiable = {
  say: 'No gradient comes back to the logits. Are the numbers read out of the tensors somewhere (dataSync, arraySync) or put \
into a new tf.tensor? Stay with tensor operations from the logits to the result: training needs the whole path.',
};

describe('2.1 counts with smoothing', () => {
  const V = 5;
  // Token 4 is only ever the last one, so that nothing follows it; token 0 never comes after anything but the start.
  const ids = Int32Array.from([0, 1, 1, 2, 1, 3, 2, 2, 1, 2, 3, 3, 1, 2, 2, 1, 3, 1, 4]);
  const countPairs = (pairs: Iterable<readonly [number, number]>): Matrix => {
    const counts = zeros(V, V);
    for (const [from, to] of pairs) counts[from]![to]! += 1;
    return counts;
  };
  const pairsOf = (gap: number, step = 1) =>
    Array.from(ids, (id, i) => [id, ids[i + gap]!] as const).filter(([, to], i) => to !== undefined && i % step === 0);
  const truth = countPairs(pairsOf(1));
  const countHints: Hints = {
    'counts-transposed': {
      say: 'Rows and columns are swapped. The row is the token that comes first, the column the one that follows it.',
      looksLike: transpose(truth),
    },
    'last-joined-to-first': {
      say: 'One pair too many: the last token of the text is followed by nothing, not by the first.',
      looksLike: countPairs([...pairsOf(1), [4, 0]]),
    },
    'last-pair-missing': {
      say: 'The last pair of the text is not counted. With n tokens there are n − 1 pairs.',
      looksLike: countPairs(pairsOf(1).slice(0, -1)),
    },
    'pairs-do-not-overlap': {
      say: 'Every other pair is missing: the tokens are taken two by two. Each token but the first and the last belongs to \
two pairs.',
      looksLike: countPairs(pairsOf(1, 2)),
    },
    'pairs-with-a-gap': {
      say: 'There is a token between the two that are counted. A bigram is two neighbours.',
      looksLike: countPairs(pairsOf(2)),
    },
    'seen-not-counted': {
      say: 'Pairs that occur are 1, however often they occur. Add 1 each time.',
      looksLike: map(truth, (count) => Math.min(count, 1)),
    },
  };

  it('counts each pair of neighbours: row first, column second', async () => {
    await expectClose(bigramCounts(ids, V), truth, { what: 'the counts', hints: countHints });
  });

  it('has a row and a column for every token of the vocabulary, and copes with texts of no pair', async () => {
    const short = bigramCounts(Int32Array.from([1, 0, 1]), 3);
    await expectClose(short, [[0, 1, 0], [1, 0, 0], [0, 0, 0]], { what: 'the counts of a text without token 2' });
    await expectClose(bigramCounts([], 2), zeros(2, 2), { what: 'the counts of an empty text' });
    await expectClose(bigramCounts([1], 2), zeros(2, 2), { what: 'the counts of a single token' });
  });

  // Every row has been seen here: what to do with the others is a test of its own.
  const counts = [[3, 0, 1, 8], [0, 2, 0, 0], [5, 4, 1, 1], [0, 0, 7, 6]];
  const k = 0.7;
  const smoothed = (add: number, table = counts) => map(table, (c, i) => (c + add) / (sum(table[i]!) + add * table[i]!.length));
  const shareHints: Hints = {
    'denominator-once-k': {
      say: 'The rows do not sum to 1. k is added to every count of a row, so the sum of the row grows by k · V, not by k.',
      looksLike: map(counts, (c, i) => (c + k) / (sum(counts[i]!) + k)),
    },
    'denominator-without-k': {
      say: 'The rows sum to more than 1: k is added to each count but not to the sum that it is divided by.',
      looksLike: map(counts, (c, i) => (c + k) / sum(counts[i]!)),
    },
    'k-without-effect': { say: 'k has no effect: these are the plain shares.', looksLike: smoothed(0) },
    'always-one': { say: 'This is smoothing with k = 1, whatever k is passed.', looksLike: smoothed(1) },
    'columns-normalised': {
      say: 'The columns sum to 1 instead of the rows. A row holds what can follow one token: those probabilities sum to 1.',
      looksLike: () => transpose(smoothed(k, transpose(counts))),
    },
    'all-sum-to-one': {
      say: 'The whole table sums to 1: that is how likely a pair is. Asked for is how likely the second is given the first.',
      looksLike: map(counts, (c) => (c + k) / (sum(counts.flat()) + k * 16)),
    },
  };

  it('makes probabilities with k added to every count', async () => {
    await expectClose(smooth(counts, k), smoothed(k), { what: `smooth(counts, ${k})`, hints: shareHints });
    await expectClose(smooth(counts, 0), smoothed(0), { what: 'smooth(counts, 0)', hints: shareHints });
  });

  it('leaves the counts as they were', async () => {
    const own = counts.map((row) => [...row]);
    smooth(own, k);
    const say = 'The counts that were passed in have been changed. Put the probabilities into a new table.';
    await expectClose(own, counts, { what: 'the counts', hints: { 'counts-overwritten': { say, when: true } } });
  });

  it('knows nothing about a token that nothing has followed: all are as likely', async () => {
    const received = smooth([[0, 0, 0], [1, 0, 3], [2, 2, 0]], 0);
    const others = [[0.25, 0, 0.75], [0.5, 0.5, 0]];
    await expectClose(received.slice(1), others, { what: 'the rows that have counts, which must be right first,' });
    const hints: Hints = {
      'empty-row-nan': {
        say: 'A row without counts gives 0/0 when k is 0. With any k above 0 it is uniform, so let it be uniform for 0, too.',
        when: () => received[0]!.some((p) => Number.isNaN(p)),
      },
      'empty-row-zero': {
        say: 'A row without counts is all zeros, which is no distribution: something has to follow. With any k above 0 it is \
uniform, so let it be uniform for 0, too.',
        when: () => received[0]!.every((p) => p === 0),
      },
    };
    const third = 1 / 3;
    await expectClose(received[0], [third, third, third], { what: 'a row of zeros, smoothed with k = 0,', hints });
  });
});

describe('2.2 log-softmax', () => {
  const logits = [matrix(3, 5, 2), matrix(3, 5, 2)];
  const rows = (f: (row: Vector) => Vector) => logits.map((m) => m.map(f));
  const logSum = (v: Vector) => Math.log(sum(v.map(Math.exp)));
  const hints: Hints = {
    'log-missing': {
      say: 'These are probabilities: it is the softmax. Their logarithm is asked for.',
      looksLike: rows(softmaxOf),
    },
    'over-tokens': {
      say: 'The probabilities sum to 1 along the tokens. The last axis holds the scores of the vocabulary: that one is summed.',
      looksLike: () => logits.map((m) => transpose(transpose(m).map(logSoftmaxOf))),
    },
    'over-everything': {
      say: 'One sum for the whole tensor: all rows together are one distribution. Name the axis of the sum, and keep it.',
      looksLike: () => logits.map((m) => map(m, (z) => z - logSum(logits.flat(2)))),
    },
    'maximum-taken-twice': {
      say: 'The largest logit is taken out of the exponentials but not put back: exp(result) does not sum to 1. Subtract it \
from the logits once, and use the shifted ones everywhere.',
      looksLike: rows((row) => row.map((z) => z - (logSum(row) - largest(row)))),
    },
    'mean-instead-of-sum': {
      say: 'The exponentials are averaged, not summed: the result is too large by log V.',
      looksLike: rows((row) => row.map((z) => z - logSum(row) + Math.log(row.length))),
    },
    'in-bits': {
      say: 'This is a logarithm to the base 2. Natural ones, please: the unit is the nat.',
      looksLike: rows((row) => logSoftmaxOf(row).map((z) => z / Math.LN2)),
    },
    'sign': {
      say: 'The sign is wrong: logarithms of probabilities are never above 0.',
      looksLike: rows((row) => logSoftmaxOf(row).map((z) => -z)),
    },
  };
  const answer = (x: Nested) => run(() => logSoftmax(tensor(x)));

  it('gives log-probabilities over the last axis', async () => {
    await expectClose(answer(logits), rows(logSoftmaxOf), { hints });
    await expectClose(answer(logits[0]!), rows(logSoftmaxOf)[0], { what: 'logSoftmax of a matrix [T, V]' });
    await expectClose(answer(logits[0]![0]!), rows(logSoftmaxOf)[0]![0], { what: 'logSoftmax of one row [V]' });
  });

  it('survives logits of any size, in every row', async () => {
    const large = [1000, 1001, 998];
    const high = answer([large]);
    const highIsFinite = (await high.data()).every(Number.isFinite);
    await expectClose(high, [logSoftmaxOf(large)], {
      what: 'logSoftmax of logits around 1000',
      hints: {
        'overflows': {
          say: 'Logits around 1000 do not survive: e¹⁰⁰⁰ is infinite. Subtract the largest logit of the row first; the result \
is the same.',
          when: !highIsFinite,
        },
      },
    });
    const unlikely = [0, -200, 3];
    const low = answer([unlikely]);
    const lowIsFinite = (await low.data()).every(Number.isFinite);
    await expectClose(low, [logSoftmaxOf(unlikely)], {
      what: 'logSoftmax with one logit far below the others',
      hints: {
        'underflows': {
          say: 'The logarithm of a softmax: e⁻²⁰⁰ is too small for a float32 and becomes 0, and its logarithm −∞, where −203 \
is right. Take the logarithm in the formula, before any number is computed.',
          when: !lowIsFinite,
        },
      },
    });
    const apart = [[500, 501, 499], [-500, -501, -499]];
    const both = answer(apart);
    const bothAreFinite = (await both.data()).every(Number.isFinite);
    await expectClose(both, apart.map(logSoftmaxOf), {
      what: 'logSoftmax of two rows, one around 500, one around −500',
      hints: {
        'one-maximum-for-all': {
          say: 'One row is right, the other is not finite: the largest logit of the whole tensor is subtracted. Each row has a \
largest of its own.',
          when: !bothAreFinite,
        },
      },
    });
  });

  it('passes gradients back', async () => {
    const weights = matrix(3, 5);
    const gradient = gradientOrNothing((x) => logSoftmax(x).mul(tensor(weights)).sum(), logits[0]!);
    const expected = logits[0]!.map((row, i) => softmaxOf(row).map((p, j) => weights[i]![j]! - p * sum(weights[i]!)));
    await expectClose(gradient ?? null, expected, {
      what: 'the gradient of the logits',
      hints: { 'not-differentiable': { ...notDifferentiable, when: gradient === undefined } },
    });
  });
});

describe('2.3 cross-entropy and perplexity', () => {
  const logits = [matrix(4, 7, 2), matrix(4, 7, 2), matrix(4, 7, 2)];
  const targets = [[3, 0, 6, 2], [5, 5, 1, 0], [2, 4, 3, 6]];
  const rows = logits.flat();
  const chosen = (m: Matrix) => m.map((row, i) => row[targets.flat()[i]!]!);
  const logs = chosen(rows.map(logSoftmaxOf));
  const loss = -mean(logs);
  const hints: Hints = {
    'sign': { say: 'The sign is wrong: a surprise is never negative. Logarithms of probabilities are.', looksLike: -loss },
    'sum-over-tokens': {
      say: 'The surprises are added up. The mean over the tokens is asked for: then batches of all sizes have one unit.',
      looksLike: -sum(logs),
    },
    'sum-over-sequence': {
      say: 'The surprises of a sequence are added up and then averaged over the batch. Every token counts the same: one mean \
over all of them.',
      looksLike: -sum(logs) / logits.length,
    },
    'mean-over-vocabulary': {
      say: 'The sum is divided by the number of logits, V times too many. Divide by the number of targets.',
      looksLike: loss / 7,
    },
    'in-bits': {
      say: 'This is the loss in bits: natural logarithms give the nats that are asked for.',
      looksLike: loss / Math.LN2,
    },
    'log-missing': {
      say: 'The probabilities of the targets are averaged without a logarithm.',
      looksLike: () => -mean(chosen(rows.map(softmaxOf))),
    },
    'probabilities-then-log': {
      say: 'The logarithm is taken of the mean probability. Each token has a surprise of its own: first the logarithm, then \
the mean.',
      looksLike: () => -Math.log(mean(chosen(rows.map(softmaxOf)))),
    },
    'not-normalised': {
      say: 'The logits of the targets are averaged as they are. They become log-probabilities first: exercise 2.2.',
      looksLike: -mean(chosen(rows)),
    },
    'softmax-twice': {
      say: 'The softmax is applied twice: its result goes into a function that takes logits.',
      looksLike: () => -mean(chosen(rows.map((row) => logSoftmaxOf(softmaxOf(row))))),
    },
    'first-token-only': { say: 'Only the first sequence of the batch counts.', looksLike: -mean(logs.slice(0, 4)) },
  };
  const answer = (x: Nested, y: Nested) => run(() => crossEntropy(tensor(x), tensor(y, 'int32')));

  it('is the mean of −log p(target)', async () => {
    await expectClose(answer(logits, targets), loss, { what: 'the loss', hints });
    await expectClose(answer(rows, targets.flat()), loss, { what: 'the loss of logits [N, V] and targets [N]', hints });
  });

  it('is log V for a model that knows nothing, and finite for one that is sure of the wrong thing', async () => {
    await expectClose(answer(logits, targets), loss, { what: 'the loss of ordinary logits, which must be right first,' });
    await expectClose(answer([vector(7, 0)], [4]), Math.log(7), { what: 'the loss of equal logits' });
    const sure = answer([[0, 900, 0]], [2]);
    const isFinite = Number.isFinite((await sure.data())[0]);
    await expectClose(sure, 900, {
      what: 'the loss of a target 900 below the largest logit',
      hints: {
        'overflows': {
          say: 'A target far below the largest logit does not give a finite loss. Your log-softmax of 2.2 survives it; a \
softmax followed by a logarithm does not.',
          when: !isFinite,
        },
      },
    });
  });

  it('passes gradients back', async () => {
    const y = tensor(targets.flat(), 'int32');
    const gradient = gradientOrNothing((x) => crossEntropy(x, y), rows);
    const expected = rows.map((row, i) =>
      softmaxOf(row).map((p, j) => (p - (j === targets.flat()[i] ? 1 : 0)) / rows.length),
    );
    await expectClose(gradient ?? null, expected, {
      what: 'the gradient of the logits',
      hints: { 'not-differentiable': { ...notDifferentiable, when: gradient === undefined } },
    });
  });

  const nats = vector(9).map((x) => Math.abs(x) + 0.2);
  it('perplexity: e to the mean surprise', async () => {
    await expectClose(perplexity(Float64Array.from(nats)), Math.exp(mean(nats)), {
      what: 'the perplexity',
      hints: {
        'perplexity-base-two': {
          say: 'This is 2 to the mean surprise. With surprises in nats the base is e; 2 belongs to bits.',
          looksLike: 2 ** mean(nats),
        },
        'perplexity-of-sum': {
          say: 'This is e to the sum of the surprises. The mean belongs there.',
          looksLike: Math.exp(sum(nats)),
        },
        'mean-of-exponentials': {
          say: 'The exponentials are averaged: that lets a single rare token decide. Mean first, then the exponential: it is \
the geometric mean of 1/p.',
          looksLike: mean(nats.map(Math.exp)),
        },
        'perplexity-sign': {
          say: 'This is a number below 1: the geometric mean of p, not of 1/p. The surprises are −log p already.',
          looksLike: Math.exp(-mean(nats)),
        },
      },
    });
    await expectClose(perplexity(Array<number>(6).fill(Math.log(8))), 8, { what: 'the perplexity of a fair die with 8 sides' });
  });

  it('bits per character: the whole surprise over the characters', async () => {
    const characters = 31;
    await expectClose(bitsPerCharacter(Float64Array.from(nats), characters), sum(nats) / Math.LN2 / characters, {
      what: 'the bits per character',
      hints: {
        'nats-not-bits': { say: 'These are nats. A nat is 1 / log 2 bits.', looksLike: sum(nats) / characters },
        'times-log-two': {
          say: 'The nats are multiplied by log 2. A bit is the smaller unit, so there must be more of them.',
          looksLike: (sum(nats) * Math.LN2) / characters,
        },
        'bits-per-token': {
          say: 'The bits are shared out over the tokens. Only shares of a character are comparable between tokenizers.',
          looksLike: mean(nats) / Math.LN2,
        },
        'divided-twice': {
          say: 'The mean over the tokens is divided by the characters again. The sum of the surprises belongs there.',
          looksLike: mean(nats) / Math.LN2 / characters,
        },
      },
    });
  });

  it('trains a small Transformer as the library does', async () => {
    const ids = Int32Array.from(targets.flat());
    const batch = { inputs: ids, targets: ids.slice().reverse(), batchSize: 3, contextLength: 4 };
    const losses: number[] = [];
    for (const lossOf of [crossEntropy, libraryLoss]) {
      const model = new Transformer({ vocabSize: 7, contextLength: 4, layers: 1, width: 8, heads: 2, seed: 1 });
      const batches = { next: () => batch, state: null };
      const result = await train(model, batches, { steps: 3, quiet: true, loss: (x, y) => lossOf(x, y) });
      losses.push(result.losses.at(-1)!.loss);
      model.dispose();
    }
    await expectClose(losses[0], losses[1], { what: 'the loss of the third step' });
  });
});

describe('2.4 gradient of the cross-entropy', () => {
  const logits = matrix(5, 6, 1.5);
  const targets = [2, 0, 5, 5, 1];
  const onehot = (i: number, j: number) => (targets[i] === j ? 1 : 0);
  const p = logits.map(softmaxOf);
  const truth = map(p, (q, i, j) => (q - onehot(i, j)) / 5);
  const hints: Hints = {
    'not-divided': {
      say: 'This is the gradient of the sum. The loss is a mean over N tokens, so each of them has an N-th of the influence.',
      looksLike: map(truth, (g) => g * 5),
    },
    'divided-by-everything': {
      say: 'The gradient is divided by the number of logits. The mean runs over the N tokens only.',
      looksLike: map(truth, (g) => g / 6),
    },
    'sign': {
      say: 'The sign is wrong: this points downhill. The gradient points to where the loss grows, so away from the target.',
      looksLike: map(truth, (g) => -g),
    },
    'one-hot-missing': {
      say: 'The softmax is there, but nothing is subtracted at the targets.',
      looksLike: map(p, (q) => q / 5),
    },
    'softmax-missing': {
      say: 'The one-hot rows are subtracted from the logits themselves. Softmax first.',
      looksLike: map(logits, (z, i, j) => (z - onehot(i, j)) / 5),
    },
    'target-column-only': {
      say: 'Only the logits of the targets get a gradient. The others sit in the sum of the softmax: raising them makes the \
target less likely.',
      looksLike: map(truth, (g, i, j) => g * onehot(i, j)),
    },
    'log-softmax': {
      say: 'The log-softmax minus one-hot: where do the probabilities themselves come from?',
      looksLike: map(logits.map(logSoftmaxOf), (z, i, j) => (z - onehot(i, j)) / 5),
    },
    'softmax-derivative': {
      say: 'There is a factor p(target) too many: this is the slope of the target\'s probability, not of its logarithm, whose \
1/p cancels it.',
      looksLike: map(p, (q, i, j) => (p[i]![targets[i]!]! * (q - onehot(i, j))) / 5),
    },
  };
  const answer = (x: Matrix, y: Vector) =>
    run(() => crossEntropyGradient(tensor<tf.Tensor2D>(x), tensor<tf.Tensor1D>(y, 'int32')));

  it('is softmax − one-hot, over N', async () => {
    await expectClose(answer(logits, targets), truth, { what: 'the gradient', hints });
  });

  it('is what finite differences say', async () => {
    const lossAt = (x: Matrix) => -mean(x.map((row, i) => logSoftmaxOf(row)[targets[i]!]!));
    const moved = (i: number, j: number, h: number) => map(logits, (z, r, c) => (r === i && c === j ? z + h : z));
    const slopes = map(logits, (_, i, j) => (lossAt(moved(i, j, 1e-5)) - lossAt(moved(i, j, -1e-5))) / 2e-5);
    await expectClose(answer(logits, targets), slopes, { what: 'the gradient', hints });
  });

  it('sums to zero in each row, and survives large logits', async () => {
    const large = [[1000, 999, 1002], [-1000, -1003, -1001]];
    const received = answer(large, [0, 1]);
    const isFinite = (await received.data()).every(Number.isFinite);
    await expectClose(received, large.map((row, i) => softmaxOf(row).map((q, j) => (q - (i === j ? 1 : 0)) / 2)), {
      what: 'the gradient at logits around 1000',
      hints: {
        'overflows': {
          say: 'Logits around 1000 do not give finite numbers: subtract the largest of the row before the exponential, or take \
e to the power of your log-softmax.',
          when: !isFinite,
        },
      },
    });
    await expectClose(run(() => received.sum(1)), [0, 0], { what: 'the sum of each row' });
  });
});

describe('2.5 a step with momentum', () => {
  const options = { learningRate: 0.2, momentum: 0.7 };
  const { learningRate, momentum } = options;
  const [parameter, gradient, velocity] = [vector(7), vector(7), vector(7)];
  interface Moved {
    parameter: Vector;
    velocity: Vector;
  }
  type Rule = (w: number, g: number, v: number) => readonly [w: number, v: number];
  const stepBy = (rule: Rule): Moved => {
    const both = parameter.map((w, i) => rule(w, gradient[i]!, velocity[i]!));
    return { parameter: both.map(([w]) => w), velocity: both.map(([, v]) => v) };
  };
  const rate = learningRate;
  const mu = momentum;
  const truth = stepBy((w, g, v) => [w - rate * (mu * v + g), mu * v + g]);
  const looks = (rule: Rule, what: keyof Moved) => ({ looksLike: () => stepBy(rule)[what] });
  const velocityHints: Hints = {
    'dampened': {
      say: 'The gradient enters the velocity times 1 − momentum: a running mean, as in Adam. Here the velocity is a sum: \
along a straight slope it grows to 1 / (1 − momentum) times the gradient.',
      ...looks((w, g, v) => [w, mu * v + (1 - mu) * g], 'velocity'),
    },
    'rate-in-velocity': {
      say: 'The learning rate is already inside the velocity. That moves the same way until the rate changes; here the \
velocity is made of gradients alone.',
      ...looks((w, g, v) => [w, mu * v + rate * g], 'velocity'),
    },
    'velocity-downhill': {
      say: 'The velocity points downhill. In this form it adds up gradients, and the parameter subtracts it.',
      ...looks((w, g, v) => [w, mu * v - g], 'velocity'),
    },
    'negative-rate-in-velocity': {
      say: 'This is the textbook form v ← μ v − η g. It moves the same way until the rate changes; here the velocity is made \
of gradients alone, and the parameter subtracts it times the rate.',
      ...looks((w, g, v) => [w, mu * v - rate * g], 'velocity'),
    },
    'momentum-without-effect': {
      say: 'The old velocity is gone: momentum has no effect.',
      ...looks((w, g) => [w, g], 'velocity'),
    },
    'velocity-undamped': {
      say: 'The old velocity stays whole: nothing is ever forgotten, and the parameter swings on. Multiply it by momentum.',
      ...looks((w, g, v) => [w, v + g], 'velocity'),
    },
    'momentum-on-gradient': {
      say: 'Momentum multiplies the gradient. It says how much of the old velocity is kept.',
      ...looks((w, g, v) => [w, v + mu * g], 'velocity'),
    },
  };
  const parameterHints: Hints = {
    'uphill': {
      say: 'The parameter moves uphill: subtract.',
      ...looks((w, g, v) => [w + rate * (mu * v + g), 0], 'parameter'),
    },
    'rate-forgotten': {
      say: 'The learning rate has no effect.',
      ...looks((w, g, v) => [w - (mu * v + g), 0], 'parameter'),
    },
    'old-velocity': {
      say: 'The parameter moves by the old velocity, before this gradient has entered it.',
      ...looks((w, _g, v) => [w - rate * v, 0], 'parameter'),
    },
    'gradient-only': {
      say: 'The parameter moves by the gradient alone. The new velocity is what moves it.',
      ...looks((w, g) => [w - rate * g, 0], 'parameter'),
    },
    'nesterov': {
      say: 'This is Nesterov\'s form, which looks one step ahead: gradient + momentum · velocity. Plain momentum is asked for.',
      ...looks((w, g, v) => [w - rate * (g + mu * (mu * v + g)), 0], 'parameter'),
    },
  };
  const answer = (w: Vector, g: Vector, v: Vector, settings = options) =>
    run(() => sgdStep(tensor(w), tensor(g), tensor(v), settings));

  it('adds the gradient to what is kept of the velocity', async () => {
    const received = answer(parameter, gradient, velocity);
    await expectClose(received.velocity, truth.velocity, { what: '`velocity`', hints: velocityHints });
  });

  it('moves the parameter against the new velocity', async () => {
    const received = answer(parameter, gradient, velocity);
    await expectClose(received.velocity, truth.velocity, { what: '`velocity`, which must be right first,' });
    await expectClose(received.parameter, truth.parameter, { what: '`parameter`', hints: parameterHints });
  });

  it('is plain gradient descent without momentum', async () => {
    const plain = answer(parameter, gradient, velocity, { learningRate, momentum: 0 });
    await expectClose(plain.velocity, gradient, { what: '`velocity` with momentum 0' });
    const moved = parameter.map((w, i) => w - learningRate * gradient[i]!);
    await expectClose(plain.parameter, moved, { what: '`parameter` with momentum 0' });
  });

  it('walks with TensorFlow.js: four steps of a matrix, from rest', async () => {
    const first = matrix(2, 3);
    const theirs = tf.variable(tensor(first), true);
    given.push(theirs);
    const optimizer = tf.train.momentum(learningRate, momentum);
    let mine = { parameter: tensor(first), velocity: tensor(zeros(2, 3)) };
    for (let step = 0; step < 4; step++) {
      const slope = tensor(matrix(2, 3));
      optimizer.applyGradients([{ name: theirs.name, tensor: slope }]);
      mine = run(() => sgdStep(mine.parameter, slope, mine.velocity, options));
    }
    optimizer.dispose();
    await expectClose(mine.parameter, theirs, { what: '`parameter` after four steps' });
  });
});

describe('2.6 batches', () => {
  // Each token says where it stands, so that a window tells its place.
  const ids = Int32Array.from({ length: 23 }, (_, i) => 100 + i);
  const settings = { batchSize: 3, contextLength: 4 };
  // No two of the mistaken ways to choose a place agree on all three.
  const draws = [0.41, 0.81, 0.06];
  const windows = (shares: Vector, places: number, length = 4, shift = 0): Matrix =>
    shares.map((share) => Array.from({ length }, (_, t) => 100 + Math.floor(share * places) + t + shift));
  const drawing = (shares: Vector) => {
    const left = [...shares];
    return () => left.shift() ?? 0.5;
  };
  const batch = (shares = draws) => randomBatch(ids, settings, drawing(shares));
  const places = ids.length - settings.contextLength;
  const inputs = windows(draws, places);
  const offTheEnd = 'One place too many: the last window runs off the end of the text, where its last target is missing. How \
many places are there, when every window needs one token more than its length?';
  const neverDrawn = 'The last token of the text is never a target: a possible start is missing. How many windows of \
contextLength + 1 tokens fit into the text?';

  it('cuts windows at random places', async () => {
    await expectClose(batch().inputs, inputs, {
      what: '`inputs`',
      hints: {
        'same-window-for-all': {
          say: 'All rows are the same window: draw a new place for each.',
          looksLike: windows([draws[0]!, draws[0]!, draws[0]!], places),
        },
        'one-token-too-long': {
          say: 'The inputs have one token too many. The window of contextLength + 1 tokens is cut twice: without its last one \
for the inputs, without its first one for the targets.',
          looksLike: windows(draws, places, 5),
        },
        'starts-rounded': {
          say: 'The places are rounded to the nearest, not down: the first and the last are half as likely as the others.',
          looksLike: () => draws.map((share) => Array.from({ length: 4 }, (_, t) => 100 + Math.round(share * places) + t)),
        },
        'off-the-end': { say: offTheEnd, looksLike: windows(draws, places + 1) },
        'last-window-never-drawn': { say: neverDrawn, looksLike: windows(draws, places - 1) },
        'rows-are-times': {
          say: 'Rows and columns are swapped: a row is one window.',
          looksLike: transpose(inputs),
        },
      },
    });
  });

  it('asks for the next token at every place', async () => {
    await expectClose(batch().inputs, inputs, { what: '`inputs`, which must be right first,' });
    await expectClose(batch().targets, map(inputs, (id) => id + 1), {
      what: '`targets`',
      hints: {
        'targets-are-inputs': {
          say: 'The targets are the inputs: the model would learn to copy. They are the same text one token later.',
          looksLike: inputs,
        },
        'targets-before': {
          say: 'The targets stand one token before the inputs: the model would predict what it has read already.',
          looksLike: map(inputs, (id) => id - 1),
        },
        'targets-two-later': { say: 'The targets stand two tokens later.', looksLike: map(inputs, (id) => id + 2) },
        'only-last-target': {
          say: 'One target a row. A model with a causal mask predicts at every place at once: each input has its own target.',
          when: () => {
            const flat = batch().targets.flat();
            return flat.length === 3 && flat.every((id, i) => id === inputs[i]![3]! + 1);
          },
        },
        'next-window': {
          say: 'The targets are the window that follows. Each input is asked for its own successor: shift by one, not by the \
context.',
          looksLike: map(inputs, (id) => id + 4),
        },
      },
    });
  });

  it('reaches both ends of the text, and nothing beyond', async () => {
    const [first, last] = [0, 1 - 2 ** -53];
    const inside = { inputs, targets: map(inputs, (id) => id + 1) };
    for (const name of ['inputs', 'targets'] as const)
      await expectClose(batch()[name], inside[name], { what: `\`${name}\` inside the text, which must be right first,` });
    const { inputs: x, targets: y } = batch([first, last, last]);
    const end = Array.from(y[1] ?? []).at(-1);
    const hints: Hints = {
      'off-the-end': { say: offTheEnd, when: end === undefined || !Number.isFinite(end) },
      'last-window-never-drawn': { say: neverDrawn, when: end === 121 },
    };
    await expectClose(x, windows([first, last, last], places), { what: 'the first and the last window', hints });
    await expectClose(y[1], [119, 120, 121, 122], { what: 'the targets of the last window', hints });
  });

  it('takes a window that fits exactly, and leaves the text as it was', async () => {
    const whole = Int32Array.from([7, 8, 9]);
    const received = randomBatch(whole, { batchSize: 2, contextLength: 2 }, drawing([0.99, 0]));
    await expectClose(received.inputs, [[7, 8], [7, 8]], { what: 'inputs of a text of three tokens' });
    await expectClose(received.targets, [[8, 9], [8, 9]], { what: 'targets of a text of three tokens' });
    expect([...whole]).toEqual([7, 8, 9]);
  });
});

describe('2.7 a neural bigram', () => {
  const counts = [[6, 1, 2, 3], [1, 9, 4, 2], [2, 2, 1, 1], [3, 1, 5, 7]];
  const V = 4;
  const totals = counts.map(sum);
  const N = sum(totals);
  const start = matrix(V, V, 0.5);
  const learningRate = 3;
  type Slope = (table: Matrix) => Matrix;
  const truthSlope: Slope = (table) => map(table.map(softmaxOf), (p, i, j) => (totals[i]! * p - counts[i]![j]!) / N);
  const descend = (slope: Slope, steps: number, from = start, rate = learningRate): Matrix => {
    let table = from;
    for (let step = 0; step < steps; step++) {
      const gradient = slope(table);
      table = map(table, (z, i, j) => z - rate * gradient[i]![j]!);
    }
    return table;
  };
  /** The answer on a copy of the table: a test of its own looks whether it is changed. */
  const learn = (steps: number, from = start, pairs = counts) =>
    trainBigram(from.map((row) => [...row]), pairs, { steps, learningRate });
  const hintsFor = (steps: number): Hints => {
    const looks = (slope: Slope) => ({ looksLike: () => descend(slope, steps) });
    return {
      'uphill': {
        say: 'The table climbs: the loss grows. Subtract the gradient.',
        ...looks((t) => map(truthSlope(t), (g) => -g)),
      },
      'not-divided': {
        say: 'The steps are as large as if the loss were a sum: divide the gradient by the number of all pairs.',
        ...looks((t) => map(truthSlope(t), (g) => g * N)),
      },
      'rows-count-the-same': {
        say: 'Each row is divided by its own number of pairs: a token seen once pulls as hard as one seen a thousand times. \
The loss is one mean over all pairs.',
        ...looks((t) => map(truthSlope(t), (g, i) => (g * N) / totals[i]!)),
      },
      'divided-by-cells': {
        say: 'The gradient is divided by the number of cells, V². The mean runs over the pairs of the text.',
        ...looks((t) => map(truthSlope(t), (g) => (g * N) / V / V)),
      },
      'row-total-missing': {
        say: 'Each row\'s softmax counts once, but each pair of the text has one: multiply it by how often the row was seen.',
        ...looks((t) => map(t.map(softmaxOf), (p, i, j) => (p - counts[i]![j]!) / N)),
      },
      'columns-normalised': {
        say: 'The softmax runs over the columns. A row holds the scores of what can follow one token.',
        ...looks((t) => transpose(map(transpose(t).map(softmaxOf), (p, j, i) => (totals[i]! * p - counts[i]![j]!) / N))),
      },
      'softmax-missing': {
        say: 'The logits are compared with the counts as if they were probabilities. Softmax first.',
        ...looks((t) => map(t, (z, i, j) => (totals[i]! * z - counts[i]![j]!) / N)),
      },
    };
  };

  it('makes one step against the gradient of the mean loss', async () => {
    const received = learn(1);
    const hints: Hints = {
      'starts-from-zero': {
        say: 'The table that is passed in has no effect: training starts from zeros. Start where `logits` says, so that a \
training can be gone on with.',
        looksLike: () => descend(truthSlope, 1, zeros(V, V)),
      },
      'nothing-learned': { say: 'The table is still what it was at the start.', looksLike: start },
      ...hintsFor(1),
    };
    await expectClose(received, descend(truthSlope, 1), { what: 'the table after one step', hints });
  });

  it('makes as many steps as it is told, and can be gone on with', async () => {
    const hints: Hints = {
      'one-step-only': {
        say: 'One step is made, however many are asked for.',
        looksLike: () => descend(truthSlope, 1),
      },
      'one-step-too-many': { say: 'One step too many is made.', looksLike: () => descend(truthSlope, 4) },
      'gradient-never-renewed': {
        say: 'The gradient is computed once and used for all steps. The table has moved in between: compute it anew.',
        looksLike: () => descend(truthSlope, 1, start, 3 * learningRate),
      },
      ...hintsFor(3),
    };
    const three = learn(3);
    await expectClose(three, descend(truthSlope, 3), { what: 'the table after three steps', hints });
    const none = learn(0);
    await expectClose(none, start, {
      what: 'the table after no step',
      hints: { 'one-step-too-many': { say: hints['one-step-too-many']!.say, looksLike: () => descend(truthSlope, 1) } },
    });
    const two = learn(2);
    await expectClose(learn(1, two), three, { what: 'two steps and one more' });
  });

  it('arrives at the counted probabilities', async () => {
    const table = learn(1500, zeros(V, V));
    await expectClose(table.map(softmaxOf), map(counts, (c, i) => c / totals[i]!), {
      what: 'softmax(table) after 1500 steps',
      tolerance: 1e-3,
    });
  });

  it('leaves what it was given as it was, and a row that was never seen where it started', async () => {
    const own = start.map((row) => [...row]);
    const unseen = [counts[0]!, counts[1]!, [0, 0, 0, 0], counts[3]!];
    const table = trainBigram(own, unseen, { steps: 5, learningRate });
    const say = 'The table that was passed in has been changed. Work on a copy of its rows.';
    const hints = { 'input-overwritten': { say, when: true } };
    await expectClose(own, start, { what: 'the table that was passed in', hints });
    const isFinite = (table[2] ?? []).every(Number.isFinite);
    await expectClose(table[2], start[2], {
      what: 'the row of a token that was never seen',
      hints: {
        'unseen-row-nan': {
          say: 'A row without counts gives NaN: something is divided by its total. Its gradient is 0.',
          when: !isFinite,
        },
      },
    });
  });

  it('survives large logits', async () => {
    const large = map(start, (z) => z + 1000);
    const received = learn(1, large);
    const isFinite = received.flat().every(Number.isFinite);
    await expectClose(received, descend(truthSlope, 1, large), {
      what: 'a step from logits around 1000',
      hints: {
        'overflows': {
          say: 'Logits around 1000 give NaN: subtract the largest of the row before the exponential.',
          when: !isFinite,
        },
      },
    });
  });
});
