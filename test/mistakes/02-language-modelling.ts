/**
 * @file Chapter 02: wrong answers, each with the hint it must get, and right answers written in other ways.
 */
import { tf, type ChapterMistakes } from 'lab';

type Table = number[][];
type Ids = ArrayLike<number>;
type Momentum = { learningRate: number; momentum: number };
type Sizes = { batchSize: number; contextLength: number };
type Descent = { steps: number; learningRate: number };

const sum = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b, 0);
const transpose = (table: Table): Table => table.map((_, j) => table.map((row) => row[j]!));

/** Counts of the pairs of positions that `pairs` lists. */
const countingWith =
  (pairs: (length: number) => [number, number][], add = (count: number) => count + 1) =>
  (ids: Ids, vocabSize: number): Table => {
    const counts = Array.from({ length: vocabSize }, () => new Array<number>(vocabSize).fill(0));
    for (const [from, to] of pairs(ids.length)) {
      const row = counts[ids[from]!]!;
      row[ids[to]!] = add(row[ids[to]!]!);
    }
    return counts;
  };
const neighbours = (length: number) =>
  Array.from({ length: Math.max(0, length - 1) }, (_, i): [number, number] => [i, i + 1]);

/** Smoothing with another numerator or denominator. */
const smoothingWith =
  ({
    added = (k: number) => k,
    total = (row: number[], k: number, _counts: Table) => sum(row) + k * row.length,
    empty = (row: number[]) => row.map(() => 1 / row.length),
  }) =>
  (counts: Table, k: number): Table =>
    counts.map((row) => {
      const whole = total(row, k, counts);
      return whole === 0 ? empty(row) : row.map((count) => (count + added(k)) / whole);
    });

const rowMaximum = (x: tf.Tensor) => x.max(-1, true);
/** Log-softmax with one of its parts replaced. */
const logSoftmaxWith =
  ({
    axis = -1 as number | number[],
    maximum = rowMaximum,
    finish = (shifted: tf.Tensor, log: tf.Tensor, _maximum: tf.Tensor) => shifted.sub(log),
    reduce = (x: tf.Tensor, over: number | number[]) => x.sum(over, true),
  }) =>
  (logits: tf.Tensor) => {
    const top = maximum(logits);
    const shifted = logits.sub(top);
    return finish(shifted, reduce(shifted.exp(), axis).log(), top);
  };
const logSoftmax = logSoftmaxWith({});

const chosen = (values: tf.Tensor, targets: tf.Tensor) =>
  values.mul(tf.oneHot(targets as tf.Tensor1D, values.shape.at(-1)!)).sum(-1); // [...]
const lossWith =
  (finish: (logits: tf.Tensor, targets: tf.Tensor) => tf.Tensor) =>
  (logits: tf.Tensor, targets: tf.Tensor): tf.Tensor =>
    finish(logits, targets);
const surprises = (logits: tf.Tensor, targets: tf.Tensor) => chosen(logSoftmax(logits), targets).neg();

const gradientWith =
  (rows: (logits: tf.Tensor2D, onehot: tf.Tensor, probabilities: tf.Tensor) => tf.Tensor) =>
  (logits: tf.Tensor2D, targets: tf.Tensor1D) =>
    rows(logits, tf.oneHot(targets, logits.shape[1]), logSoftmax(logits).exp()).div(logits.shape[0]);

/** A momentum step with another velocity, or another use of it. */
const stepWith =
  ({
    renew = (v: tf.Tensor, g: tf.Tensor, { momentum }: Momentum) => v.mul(momentum).add(g),
    move = (w: tf.Tensor, v: tf.Tensor, { learningRate }: Momentum, _g: tf.Tensor, _old: tf.Tensor) =>
      w.sub(v.mul(learningRate)),
  }) =>
  (w: tf.Tensor, g: tf.Tensor, old: tf.Tensor, options: Momentum) => {
    const v = renew(old, g, options);
    return { parameter: move(w, v, options, g, old), velocity: v };
  };

/** Batches with another way to choose places or to cut. */
const batchWith =
  ({
    place = (share: number, length: number, contextLength: number) => Math.floor(share * (length - contextLength)),
    cutInputs = (ids: Int32Array, start: number, T: number) => Array.from(ids.slice(start, start + T)),
    cutTargets = (ids: Int32Array, start: number, T: number) => Array.from(ids.slice(start + 1, start + T + 1)),
  }) =>
  (ids: Int32Array, { batchSize, contextLength: T }: Sizes, random: () => number) => {
    const starts = Array.from({ length: batchSize }, () => place(random(), ids.length, T));
    return {
      inputs: starts.map((start) => cutInputs(ids, start, T)),
      targets: starts.map((start) => cutTargets(ids, start, T)),
    };
  };

const softmax = (row: number[]) => {
  const weights = row.map((z) => Math.exp(z - Math.max(...row)));
  return weights.map((weight) => weight / sum(weights));
};
/** Descent with another gradient (not yet divided by the number of pairs), another start, another number of steps. */
const descentWith =
  ({
    slope = (p: number, count: number, total: number) => total * p - count,
    distributions = (table: Table) => table.map(softmax),
    divisor = (counts: Table, _row: number) => sum(counts.flat()),
    start = (logits: Table) => logits.map((row) => [...row]),
    stepsMade = (steps: number) => steps,
    sign = -1,
  }) =>
  (logits: Table, counts: Table, { steps, learningRate }: Descent): Table => {
    const table = start(logits);
    for (let step = 0; step < stepsMade(steps); step++) {
      const p = distributions(table);
      for (const [i, row] of table.entries()) {
        const total = sum(counts[i]!);
        for (let j = 0; j < row.length; j++)
          row[j]! += (sign * learningRate * slope(p[i]![j]!, counts[i]![j]!, total)) / divisor(counts, i);
      }
    }
    return table;
  };

export default {
  '2.1': {
    mistakes: {
      'counts-transposed': {
        bigramCounts: countingWith((length) => neighbours(length).map(([from, to]) => [to, from])),
      },
      'last-joined-to-first': {
        bigramCounts: countingWith((length) => Array.from({ length }, (_, i) => [i, (i + 1) % length])),
      },
      'last-pair-missing': { bigramCounts: countingWith((length) => neighbours(length).slice(0, -1)) },
      'pairs-do-not-overlap': {
        bigramCounts: countingWith((length) => neighbours(length).filter(([from]) => from % 2 === 0)),
      },
      'pairs-with-a-gap': {
        bigramCounts: countingWith((length) => neighbours(Math.max(0, length - 1)).map(([from, to]) => [from, to + 1])),
      },
      'seen-not-counted': { bigramCounts: countingWith(neighbours, () => 1) },
      'denominator-once-k': { smooth: smoothingWith({ total: (row, k) => sum(row) + k }) },
      'denominator-without-k': { smooth: smoothingWith({ total: (row) => sum(row) }) },
      'k-without-effect': { smooth: (counts: Table) => smoothingWith({})(counts, 0) },
      'always-one': { smooth: (counts: Table) => smoothingWith({})(counts, 1) },
      'columns-normalised': { smooth: (counts: Table, k: number) => transpose(smoothingWith({})(transpose(counts), k)) },
      'all-sum-to-one': {
        smooth: smoothingWith({ total: (row, k, counts) => sum(counts.flat()) + k * row.length * row.length }),
      },
      'counts-overwritten': {
        smooth: (counts: Table, k: number) => {
          const probabilities = smoothingWith({})(counts, k);
          counts.forEach((row, i) => row.splice(0, row.length, ...probabilities[i]!));
          return counts;
        },
      },
      'empty-row-nan': { smooth: smoothingWith({ empty: (row) => row.map(() => NaN) }) },
      'empty-row-zero': { smooth: smoothingWith({ empty: (row) => row.map(() => 0) }) },
    },
    right: [
      { bigramCounts: countingWith(neighbours), smooth: smoothingWith({}) },
      {
        bigramCounts: (ids: Ids, vocabSize: number) => {
          const counts = Array.from({ length: vocabSize }, () => new Float64Array(vocabSize));
          let previous: number | undefined;
          for (const id of Array.from(ids)) {
            if (previous !== undefined) counts[previous]![id]!++;
            previous = id;
          }
          return counts;
        },
        smooth: (counts: Table, k: number) =>
          counts.map((row) => {
            const raised = Float64Array.from(row, (count) => count + k);
            const total = sum(raised);
            return raised.map((count) => (total ? count / total : 1 / row.length));
          }),
      },
    ],
  },
  '2.2': {
    mistakes: {
      'log-missing': { logSoftmax: (logits: tf.Tensor) => logSoftmax(logits).exp() },
      'over-tokens': {
        logSoftmax: (x: tf.Tensor) => {
          const axis = Math.max(0, x.rank - 2);
          return logSoftmaxWith({ axis, maximum: (logits) => logits.max(axis, true) })(x);
        },
      },
      'over-everything': {
        logSoftmax: (x: tf.Tensor) => logSoftmaxWith({ axis: x.shape.map((_, i) => i), maximum: (logits) => logits.max() })(x),
      },
      'maximum-taken-twice': { logSoftmax: logSoftmaxWith({ finish: (shifted, log, top) => shifted.add(top).sub(log) }) },
      'mean-instead-of-sum': { logSoftmax: logSoftmaxWith({ reduce: (x, axis) => x.mean(axis, true) }) },
      'in-bits': { logSoftmax: (logits: tf.Tensor) => logSoftmax(logits).div(Math.LN2) },
      'sign': { logSoftmax: (logits: tf.Tensor) => logSoftmax(logits).neg() },
      'overflows': { logSoftmax: logSoftmaxWith({ maximum: (x) => tf.zerosLike(x) }) },
      'underflows': { logSoftmax: (logits: tf.Tensor) => tf.softmax(logits).log() },
      'one-maximum-for-all': { logSoftmax: logSoftmaxWith({ maximum: (x) => x.max() }) },
      'not-differentiable': { logSoftmax: (x: tf.Tensor) => logSoftmax(tf.tensor(x.dataSync(), x.shape)) },
    },
    right: [
      { logSoftmax: (logits: tf.Tensor) => tf.logSoftmax(logits) },
      { logSoftmax: (logits: tf.Tensor) => logits.sub(tf.logSumExp(logits, -1, true)) },
      {
        logSoftmax: (logits: tf.Tensor) => {
          const last = logits.rank - 1;
          const shifted = tf.sub(logits, tf.max(logits, last, true));
          return tf.sub(shifted, tf.log(tf.sum(tf.exp(shifted), last, true)));
        },
      },
    ],
  },
  '2.3': {
    mistakes: {
      'sign': { crossEntropy: lossWith((x, y) => surprises(x, y).mean().neg()) },
      'sum-over-tokens': { crossEntropy: lossWith((x, y) => surprises(x, y).sum()) },
      'sum-over-sequence': { crossEntropy: lossWith((x, y) => surprises(x, y).sum(-1).mean()) },
      'mean-over-vocabulary': { crossEntropy: lossWith((x, y) => surprises(x, y).mean().div(x.shape.at(-1)!)) },
      'in-bits': { crossEntropy: lossWith((x, y) => surprises(x, y).mean().div(Math.LN2)) },
      'log-missing': { crossEntropy: lossWith((x, y) => chosen(tf.softmax(x), y).mean().neg()) },
      'probabilities-then-log': { crossEntropy: lossWith((x, y) => chosen(tf.softmax(x), y).mean().log().neg()) },
      'not-normalised': { crossEntropy: lossWith((x, y) => chosen(x, y).mean().neg()) },
      'softmax-twice': { crossEntropy: lossWith((x, y) => surprises(tf.softmax(x), y).mean()) },
      'first-token-only': {
        crossEntropy: lossWith((x, y) => (y.rank === 1 ? surprises(x, y) : surprises(x, y).slice([0, 0], [1, -1])).mean()),
      },
      'overflows': { crossEntropy: lossWith((x, y) => chosen(tf.softmax(x).log(), y).mean().neg()) },
      'not-differentiable': { crossEntropy: lossWith((x, y) => surprises(tf.tensor(x.dataSync(), x.shape), y).mean()) },
      'perplexity-base-two': { perplexity: (nats: Ids) => 2 ** (sum(nats) / nats.length) },
      'perplexity-of-sum': { perplexity: (nats: Ids) => Math.exp(sum(nats)) },
      'mean-of-exponentials': { perplexity: (nats: Ids) => sum(Array.from(nats, Math.exp)) / nats.length },
      'perplexity-sign': { perplexity: (nats: Ids) => Math.exp(-sum(nats) / nats.length) },
      'nats-not-bits': { bitsPerCharacter: (nats: Ids, characters: number) => sum(nats) / characters },
      'times-log-two': { bitsPerCharacter: (nats: Ids, characters: number) => (sum(nats) * Math.LN2) / characters },
      'bits-per-token': { bitsPerCharacter: (nats: Ids) => sum(nats) / Math.LN2 / nats.length },
      'divided-twice': {
        bitsPerCharacter: (nats: Ids, characters: number) => sum(nats) / Math.LN2 / nats.length / characters,
      },
    },
    right: [
      {
        crossEntropy: (logits: tf.Tensor, targets: tf.Tensor) => {
          const V = logits.shape.at(-1)!;
          const rows = logits.reshape([-1, V]) as tf.Tensor2D;
          const onehot = tf.oneHot(targets.reshape([-1]) as tf.Tensor1D, V).cast('float32');
          return tf.logSumExp(rows, -1).sub(rows.mul(onehot).sum(-1)).mean();
        },
        perplexity: (nats: Ids) => Array.from(nats).reduce((product, nat) => product * Math.exp(nat / nats.length), 1),
        bitsPerCharacter: (nats: Ids, characters: number) => sum(nats) / (characters * Math.log(2)),
      },
      {
        crossEntropy: lossWith((x, y) => surprises(x, y).mean()),
        bitsPerCharacter: (nats: Ids, characters: number) =>
          sum(Array.from(nats, (nat) => Math.log2(Math.exp(nat)))) / characters,
      },
    ],
  },
  '2.4': {
    mistakes: {
      'not-divided': {
        crossEntropyGradient: gradientWith((x, onehot, p) => p.sub(onehot).mul(x.shape[0])),
      },
      'divided-by-everything': { crossEntropyGradient: gradientWith((x, onehot, p) => p.sub(onehot).div(x.shape[1])) },
      'sign': { crossEntropyGradient: gradientWith((_, onehot, p) => onehot.sub(p)) },
      'one-hot-missing': { crossEntropyGradient: gradientWith((_, _onehot, p) => p) },
      'softmax-missing': { crossEntropyGradient: gradientWith((x, onehot) => x.sub(onehot)) },
      'target-column-only': { crossEntropyGradient: gradientWith((_, onehot, p) => p.sub(onehot).mul(onehot)) },
      'log-softmax': { crossEntropyGradient: gradientWith((x, onehot) => logSoftmax(x).sub(onehot)) },
      'softmax-derivative': {
        crossEntropyGradient: gradientWith((_, onehot, p) => p.sub(onehot).mul(p.mul(onehot).sum(-1, true))),
      },
      'overflows': { crossEntropyGradient: gradientWith((x, onehot) => x.exp().div(x.exp().sum(-1, true)).sub(onehot)) },
    },
    right: [
      { crossEntropyGradient: gradientWith((_, onehot, p) => p.sub(onehot)) },
      {
        crossEntropyGradient: (logits: tf.Tensor2D, targets: tf.Tensor1D) => {
          const loss = (x: tf.Tensor2D) => surprises(x, targets).mean() as tf.Scalar;
          return tf.grad(loss as (x: tf.Tensor) => tf.Tensor)(logits);
        },
      },
      {
        crossEntropyGradient: (logits: tf.Tensor2D, targets: tf.Tensor1D) => {
          const rows = logits.arraySync().map(softmax);
          targets.dataSync().forEach((target, i) => (rows[i]![target]! -= 1));
          return tf.tensor2d(rows).div(rows.length);
        },
      },
    ],
  },
  '2.5': {
    mistakes: {
      'dampened': { sgdStep: stepWith({ renew: (v, g, { momentum }) => v.mul(momentum).add(g.mul(1 - momentum)) }) },
      'rate-in-velocity': {
        sgdStep: stepWith({
          renew: (v, g, { momentum, learningRate }) => v.mul(momentum).add(g.mul(learningRate)),
          move: (w, v) => w.sub(v),
        }),
      },
      'negative-rate-in-velocity': {
        sgdStep: stepWith({
          renew: (v, g, { momentum, learningRate }) => v.mul(momentum).sub(g.mul(learningRate)),
          move: (w, v) => w.add(v),
        }),
      },
      'velocity-downhill': {
        sgdStep: stepWith({
          renew: (v, g, { momentum }) => v.mul(momentum).sub(g),
          move: (w, v, { learningRate }) => w.add(v.mul(learningRate)),
        }),
      },
      'momentum-without-effect': { sgdStep: stepWith({ renew: (_, g) => g.clone() }) },
      'velocity-undamped': { sgdStep: stepWith({ renew: (v, g) => v.add(g) }) },
      'momentum-on-gradient': { sgdStep: stepWith({ renew: (v, g, { momentum }) => v.add(g.mul(momentum)) }) },
      'uphill': { sgdStep: stepWith({ move: (w, v, { learningRate }) => w.add(v.mul(learningRate)) }) },
      'rate-forgotten': { sgdStep: stepWith({ move: (w, v) => w.sub(v) }) },
      'old-velocity': { sgdStep: stepWith({ move: (w, _, { learningRate }, _g, old) => w.sub(old.mul(learningRate)) }) },
      'gradient-only': { sgdStep: stepWith({ move: (w, _, { learningRate }, g) => w.sub(g.mul(learningRate)) }) },
      'nesterov': {
        sgdStep: stepWith({
          move: (w, v, { learningRate, momentum }, g) => w.sub(v.mul(momentum).add(g).mul(learningRate)),
        }),
      },
    },
    right: [
      { sgdStep: stepWith({}) },
      {
        sgdStep: (w: tf.Tensor, g: tf.Tensor, v: tf.Tensor, { learningRate, momentum }: Momentum) => {
          const velocity = tf.addN([tf.mul(v, momentum), g]);
          return { velocity: velocity, parameter: tf.add(w, tf.mul(velocity, -learningRate)) };
        },
      },
    ],
  },
  '2.6': {
    mistakes: {
      'same-window-for-all': {
        randomBatch: (ids: Int32Array, sizes: Sizes, random: () => number) => {
          const share = random();
          return batchWith({})(ids, sizes, () => share);
        },
      },
      'one-token-too-long': {
        randomBatch: batchWith({ cutInputs: (ids, start, T) => Array.from(ids.slice(start, start + T + 1)) }),
      },
      'starts-rounded': { randomBatch: batchWith({ place: (share, length, T) => Math.round(share * (length - T)) }) },
      'rows-are-times': {
        randomBatch: (ids: Int32Array, sizes: Sizes, random: () => number) => {
          const { inputs, targets } = batchWith({})(ids, sizes, random);
          const turned = (rows: number[][]) => rows[0]!.map((_, t) => rows.map((row) => row[t]!));
          return { inputs: turned(inputs), targets: turned(targets) };
        },
      },
      'targets-are-inputs': {
        randomBatch: batchWith({ cutTargets: (ids, start, T) => Array.from(ids.slice(start, start + T)) }),
      },
      'targets-before': {
        randomBatch: batchWith({ cutTargets: (ids, start, T) => Array.from({ length: T }, (_, t) => ids[start + t - 1]!) }),
      },
      'targets-two-later': {
        randomBatch: batchWith({ cutTargets: (ids, start, T) => Array.from({ length: T }, (_, t) => ids[start + t + 2]!) }),
      },
      'only-last-target': { randomBatch: batchWith({ cutTargets: (ids, start, T) => [ids[start + T]!] }) },
      'next-window': {
        randomBatch: batchWith({ cutTargets: (ids, start, T) => Array.from({ length: T }, (_, t) => ids[start + T + t]!) }),
      },
      'off-the-end': {
        randomBatch: batchWith({ place: (share, length, T) => Math.min(Math.floor(share * (length - T + 1)), length - T) }),
      },
      'last-window-never-drawn': {
        randomBatch: batchWith({ place: (share, length, T) => Math.floor(share * Math.max(1, length - T - 1)) }),
      },
    },
    right: [
      { randomBatch: batchWith({}) },
      {
        randomBatch: (ids: Int32Array, { batchSize, contextLength }: Sizes, random: () => number) => {
          const batch: { inputs: Int32Array[]; targets: Int32Array[] } = { inputs: [], targets: [] };
          for (let row = 0; row < batchSize; row++) {
            const start = Math.trunc((ids.length - contextLength) * random());
            const window = ids.subarray(start, start + contextLength + 1);
            batch.inputs.push(window.subarray(0, -1));
            batch.targets.push(window.subarray(1));
          }
          return batch;
        },
      },
    ],
  },
  '2.7': {
    mistakes: {
      'uphill': { trainBigram: descentWith({ sign: 1 }) },
      'not-divided': { trainBigram: descentWith({ divisor: () => 1 }) },
      'rows-count-the-same': { trainBigram: descentWith({ divisor: (counts, row) => sum(counts[row]!) || 1 }) },
      'divided-by-cells': { trainBigram: descentWith({ divisor: (counts) => counts.length ** 2 }) },
      'row-total-missing': { trainBigram: descentWith({ slope: (p, count) => p - count }) },
      'columns-normalised': {
        trainBigram: descentWith({ distributions: (table) => transpose(transpose(table).map(softmax)) }),
      },
      'softmax-missing': { trainBigram: descentWith({ distributions: (table) => table.map((row) => [...row]) }) },
      'starts-from-zero': { trainBigram: descentWith({ start: (logits) => logits.map((row) => row.map(() => 0)) }) },
      'nothing-learned': { trainBigram: descentWith({ stepsMade: () => 0 }) },
      'one-step-only': { trainBigram: descentWith({ stepsMade: (steps) => Math.min(steps, 1) }) },
      'one-step-too-many': { trainBigram: descentWith({ stepsMade: (steps) => (steps === 1 ? 1 : steps + 1) }) },
      'gradient-never-renewed': {
        trainBigram: (logits: Table, counts: Table, { steps, learningRate }: Descent) =>
          descentWith({ stepsMade: () => Math.min(steps, 1) })(logits, counts, { steps, learningRate: learningRate * steps }),
      },
      'input-overwritten': { trainBigram: descentWith({ start: (logits) => logits }) },
      'unseen-row-nan': {
        trainBigram: descentWith({ slope: (p, count, total) => total * (p - count / total) }),
      },
      'overflows': {
        trainBigram: descentWith({
          distributions: (table) =>
            table.map((row) => row.map((z) => Math.exp(z) / sum(row.map((other) => Math.exp(other))))),
        }),
      },
    },
    right: [
      { trainBigram: descentWith({}) },
      {
        // With tensors and the tape: the loss of every pair, weighted by how often it occurs.
        trainBigram: (logits: Table, counts: Table, { steps, learningRate }: Descent) =>
          tf.tidy(() => {
            const weights = tf.tensor2d(counts).div(sum(counts.flat()));
            const slope = tf.grad((x) => tf.logSoftmax(x).mul(weights).sum().neg());
            let table: tf.Tensor = tf.tensor2d(logits);
            for (let step = 0; step < steps; step++) table = tf.tidy(() => table.sub(slope(table).mul(learningRate)));
            return table.arraySync();
          }),
      },
    ],
  },
} satisfies ChapterMistakes;
