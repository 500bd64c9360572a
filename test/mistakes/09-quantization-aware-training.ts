/**
 * @file Chapter 09: plausible wrong answers, each under the hint that its author must be given, and right answers that are
 * written differently from the solution.
 */
import { nextTokenDistribution, sampleFrom, tf, type ChapterMistakes } from 'lab';
import { fakeQuantize, quantizeRows } from '../../solutions/09-quantization-aware-training.ts';

type T = tf.Tensor;

/** Fake quantization with some of its parts exchanged. */
function quantizerWith(parts: {
  most?: (bits: number) => number;
  least?: number;
  round?: (x: T) => T;
  scaleOf?: (x: T) => T;
  value?: (codes: T, scale: T) => T;
  gradient?: (dy: T, x: T, scale: T) => T;
}) {
  const { most = (bits) => 2 ** (bits - 1) - 1, least = 1e-6, round = tf.round, value = tf.mul, gradient = (dy) => dy } = parts;
  const { scaleOf = (x) => x.abs().max(-1, true) } = parts;
  return (x: T, bits: number): T =>
    tf.customGrad((given, save) => {
      const values = given as T;
      const scale = scaleOf(values).add(least).div(most(bits));
      (save as (tensors: T[]) => void)([values, scale]);
      return {
        value: value(round(values.div(scale)), scale),
        gradFunc: (dy: T, [kept, step]: T[]) => gradient(dy, kept!, step!),
      };
    })(x);
}

/** Rounds, with a gradient of 1. */
const straightRound = tf.customGrad((x) => ({ value: (x as T).round(), gradFunc: (dy: T) => dy }));

interface Bits {
  weights: number | null;
  activations: number | null;
}
type Linear = (x: T, weight: T, bias: T, bits: Bits) => T;

const multiply = (x: T, weight: T, bias: T): T => {
  const [B, tokens, I] = x.shape as [number, number, number];
  return tf
    .matMul(x.reshape([B * tokens, I]), weight, false, true)
    .add(bias)
    .reshape([B, tokens, weight.shape[0]!]);
};
const put = (x: T, bits: number | null): T => (bits === null ? x : fakeQuantize(x, bits));

/** The layer with some of its parts exchanged. */
function linearWith(parts: {
  inputs?: (x: T, bits: Bits) => T;
  weights?: (w: T, bits: Bits) => T;
  bias?: (b: T) => T;
  after?: (y: T, bits: Bits) => T;
}): Linear {
  const { inputs = (x, bits) => put(x, bits.activations), weights = (w, bits) => put(w, bits.weights) } = parts;
  const { bias = (b) => b, after = (y) => y } = parts;
  return (x, weight, b, bits) => after(multiply(inputs(x, bits), weights(weight, bits), bias(b)), bits);
}

type NextLogits = (tokens: number[]) => Promise<Float32Array>;
type Uniform = () => number;

/** Writing with some of its parts exchanged. */
function writerWith(parts: {
  greedyLength?: (given: number, length: number) => number;
  length?: (given: number) => number;
  shown?: (tokens: number[]) => number[];
  distribution?: (logits: Float32Array) => Float32Array;
  result?: (tokens: number[]) => number[];
  greedy?: (logits: Float32Array, uniform: Uniform) => number;
}) {
  const {
    greedyLength: until = (n) => n,
    length: size = (n) => n,
    shown = (tokens) => tokens,
    result = (tokens) => tokens,
  } = parts;
  const { distribution = (logits) => nextTokenDistribution(logits), greedy = (logits) => logits.indexOf(Math.max(...logits)) } =
    parts;
  return async (nextLogits: NextLogits, first: number, length: number, greedyLength: number, uniform: Uniform) => {
    const tokens = [first];
    while (tokens.length < size(length)) {
      const logits = await nextLogits(shown([...tokens]));
      const certain = tokens.length < until(greedyLength, length);
      tokens.push(certain ? greedy(logits, uniform) : sampleFrom(distribution(logits), { uniform }));
    }
    return result(tokens);
  };
}

const kl = (p: T, q: T): T => p.mul(p.log().sub(q.log()));

interface Codes {
  codes: T;
  scales: T;
}
type Cache = { k: Codes; v: Codes } | null;

const toRows = (x: T): T => {
  const [B, K, tokens, S] = x.shape as [number, number, number, number];
  return x.transpose([0, 2, 1, 3]).reshape([B, tokens, K * S]);
};
const toHeads = (rows: T, heads: number): T => {
  const [B, U, width] = rows.shape as [number, number, number];
  return rows.reshape([B, U, heads, width / heads]).transpose([0, 2, 1, 3]);
};
const floatsOf = ({ codes, scales }: Codes): T => codes.mul(scales);
const behind = (kept: Codes | undefined, added: Codes): Codes =>
  kept ? { codes: tf.concat([kept.codes, added.codes], 1), scales: tf.concat([kept.scales, added.scales], 1) } : added;

/** The cache with some of its parts exchanged. */
function cacheWith(parts: {
  rows?: (x: T) => T;
  heads?: (rows: T, heads: number) => T;
  quantize?: (rows: T, bits: number, other: T) => Codes;
  join?: (kept: Codes | undefined, added: Codes) => Codes;
  given?: (longer: Codes, added: Codes, x: T, floats: (codes: Codes) => T) => T;
}) {
  const { rows = toRows, heads = toHeads, quantize = quantizeRows, join = behind } = parts;
  const { given = (longer, _, __, floats) => floats(longer) } = parts;
  return (cache: Cache, k: T, v: T, bits: number) => {
    const part = (kept: Codes | undefined, x: T, other: T): { codes: Codes; floats: T } => {
      const added = quantize(rows(x), bits, rows(other));
      const longer = join(kept, added);
      return { codes: longer, floats: given(longer, added, x, (codes) => heads(floatsOf(codes), x.shape[1]!)) };
    };
    const [ofK, ofV] = [part(cache?.k, k, v), part(cache?.v, v, k)];
    return { cache: { k: ofK.codes, v: ofV.codes }, k: ofK.floats, v: ofV.floats };
  };
}

/** Codes of rows by a scale that somebody else chose. */
const by = (rows: T, largest: T, bits: number): Codes => {
  const scales = largest.add(1e-6).div(2 ** (bits - 1) - 1);
  return { codes: rows.div(scales).round(), scales };
};

/** Keeps nothing but floats: every scale is 1. */
const asFloats = (rows: T): Codes => ({ codes: rows, scales: tf.ones([rows.shape[0]!, rows.shape[1]!, 1]) });

export default {
  '9.1': {
    mistakes: {
      'codes-not-values': { fakeQuantize: quantizerWith({ value: (codes) => codes }) },
      'one-grid-for-all': { fakeQuantize: quantizerWith({ scaleOf: (x) => x.abs().max() }) },
      'one-step-too-many': { fakeQuantize: quantizerWith({ most: (bits) => 2 ** (bits - 1) }) },
      'all-codes-on-one-side': { fakeQuantize: quantizerWith({ most: (bits) => 2 ** bits - 1 }) },
      'rounds-down': { fakeQuantize: quantizerWith({ round: tf.floor }) },
      'divides-by-zero': { fakeQuantize: quantizerWith({ least: 0 }) },
      'no-way-through': {
        fakeQuantize: (x: T, bits: number) => {
          const scale = x
            .abs()
            .max(-1, true)
            .add(1e-6)
            .div(2 ** (bits - 1) - 1);
          return x.div(scale).round().mul(scale);
        },
      },
      'through-the-scale': {
        fakeQuantize: (x: T, bits: number) => {
          const scale = x
            .abs()
            .max(-1, true)
            .add(1e-6)
            .div(2 ** (bits - 1) - 1);
          return straightRound(x.div(scale)).mul(scale);
        },
      },
      'ignores-what-comes-in': { fakeQuantize: quantizerWith({ gradient: (dy) => tf.onesLike(dy) }) },
      'multiplied-by-the-scale': { fakeQuantize: quantizerWith({ gradient: (dy, _, scale) => dy.mul(scale) }) },
      'stopped-at-a-limit': { fakeQuantize: quantizerWith({ gradient: (dy, x) => dy.mul(tf.less(x.abs(), 2)) }) },
    },
    right: [
      {
        // x plus an error that has no gradient.
        fakeQuantize: (x: T, bits: number) => {
          const errorOf = tf.customGrad((given) => {
            const { codes, scales } = quantizeRows(given as T, bits);
            return { value: codes.mul(scales).sub(given as T), gradFunc: (dy: T) => tf.zerosLike(dy) };
          });
          return x.add(errorOf(x));
        },
      },
      { fakeQuantize: quantizerWith({ round: (x) => x.abs().add(0.5).floor().mul(x.sign()), gradient: (dy) => dy.clone() }) },
    ],
  },
  '9.2': {
    mistakes: {
      'null-is-no-number': {
        fakeQuantLinear: linearWith({
          inputs: (x, bits) => fakeQuantize(x, bits.activations!),
          weights: (w, bits) => fakeQuantize(w, bits.weights!),
        }),
      },
      'weights-stay-floats': { fakeQuantLinear: linearWith({ weights: (w) => w }) },
      'inputs-stay-floats': { fakeQuantLinear: linearWith({ inputs: (x) => x }) },
      'bits-swapped': {
        fakeQuantLinear: linearWith({
          inputs: (x, bits) => put(x, bits.activations === null ? null : (bits.weights ?? bits.activations)),
          weights: (w, bits) => put(w, bits.weights === null ? null : (bits.activations ?? bits.weights)),
        }),
      },
      'a-grid-per-input': {
        fakeQuantLinear: linearWith({ weights: (w, bits) => put(w.transpose(), bits.weights).transpose() }),
      },
      'output-quantized': {
        fakeQuantLinear: linearWith({ after: (y, bits) => (bits.weights === null ? y : put(y, bits.activations)) }),
      },
      'no-bias': { fakeQuantLinear: linearWith({ bias: (b) => b.mul(0) }) },
      'gradient-lost': {
        fakeQuantLinear: linearWith({
          weights: (w, bits) => {
            if (bits.weights === null) return w;
            const { codes, scales } = quantizeRows(w, bits.weights);
            return tf.tensor(codes.mul(scales).dataSync(), w.shape as [number, number]);
          },
        }),
      },
    },
    right: [
      {
        fakeQuantLinear: (x: T, weight: T, bias: T, { weights, activations }: Bits) => {
          const rounded = put(weight, weights);
          return tf.stack(tf.unstack(x).map((rows) => tf.matMul(put(rows, activations), rounded, false, true).add(bias)));
        },
      },
      {
        fakeQuantLinear: (x: T, weight: T, bias: T, { weights, activations }: Bits) => {
          const product = tf.matMul(put(weight, weights), put(x, activations).reshape([-1, x.shape[2]!]), false, true);
          return product
            .transpose()
            .reshape([...x.shape.slice(0, 2), weight.shape[0]!])
            .add(bias);
        },
      },
    ],
  },
  '9.3': {
    mistakes: {
      'first-is-missing': { writeSequence: writerWith({ result: (tokens) => tokens.slice(1) }) },
      'one-token-too-many': { writeSequence: writerWith({ length: (length) => length + 1 }) },
      'one-more-greedy': { writeSequence: writerWith({ greedyLength: (n) => n + 1 }) },
      'always-greedy': { writeSequence: writerWith({ greedyLength: (_, length) => length }) },
      'never-greedy': { writeSequence: writerWith({ greedyLength: () => 1 }) },
      'sees-the-last-token-only': { writeSequence: writerWith({ shown: (tokens) => tokens.slice(-1) }) },
      'any-token-alike': { writeSequence: writerWith({ distribution: (logits) => logits.map(() => 1 / logits.length) }) },
      'logits-are-no-probabilities': {
        writeSequence: writerWith({ distribution: (logits) => logits.map((x) => Math.max(0, x)) }),
      },
      'draws-without-need': {
        writeSequence: writerWith({
          greedy: (logits, uniform) => sampleFrom(nextTokenDistribution(logits, { temperature: 0 }), { uniform }),
        }),
      },
    },
    right: [
      {
        writeSequence: async (
          nextLogits: NextLogits,
          first: number,
          length: number,
          greedyLength: number,
          uniform: Uniform,
        ) => {
          const tokens = [first];
          for (let at = 1; at < length; at++) {
            const logits = Array.from(await nextLogits(tokens.slice()));
            const most = Math.max(...logits);
            if (at < greedyLength) {
              tokens.push(logits.indexOf(most));
              continue;
            }
            const weights = logits.map((x) => Math.exp(x - most));
            let left = uniform() * weights.reduce((a, b) => a + b, 0);
            let token = 0;
            while (token < weights.length - 1 && (left -= weights[token]!) >= 0) token++;
            tokens.push(token);
          }
          return tokens;
        },
      },
      {
        writeSequence: async (
          nextLogits: NextLogits,
          first: number,
          length: number,
          greedyLength: number,
          uniform: Uniform,
        ) => {
          const go = async (tokens: number[]): Promise<number[]> => {
            if (tokens.length === length) return tokens;
            const logits = await nextLogits(tokens);
            const temperature = tokens.length < greedyLength ? 0 : 1;
            const distribution = nextTokenDistribution(logits, { temperature });
            return go([...tokens, temperature === 0 ? distribution.indexOf(1) : sampleFrom(distribution, { uniform })]);
          };
          return go([first]);
        },
      },
    ],
  },
  '9.4': {
    mistakes: {
      'the-other-way-round': {
        distillationLoss: (student: T, teacher: T) => {
          const [p, q] = [tf.logSoftmax(teacher), tf.logSoftmax(student)];
          return q.exp().mul(q.sub(p)).sum(-1).mean();
        },
      },
      'no-entropy': {
        distillationLoss: (student: T, teacher: T) => tf.softmax(teacher).mul(tf.logSoftmax(student)).sum(-1).mean().neg(),
      },
      'only-the-likeliest': {
        distillationLoss: (student: T, teacher: T) => {
          const p = tf.oneHot(teacher.argMax(-1).cast('int32'), teacher.shape.at(-1)!);
          return p.mul(tf.logSoftmax(student)).sum(-1).mean().neg();
        },
      },
      'mean-over-the-vocabulary': {
        distillationLoss: (student: T, teacher: T) => {
          const [p, q] = [tf.logSoftmax(teacher), tf.logSoftmax(student)];
          return p.exp().mul(p.sub(q)).mean();
        },
      },
      'sum-over-the-tokens': {
        distillationLoss: (student: T, teacher: T) => {
          const [p, q] = [tf.logSoftmax(teacher), tf.logSoftmax(student)];
          return p.exp().mul(p.sub(q)).sum();
        },
      },
      'distance-of-logits': { distillationLoss: (student: T, teacher: T) => student.sub(teacher).square().mean() },
      overflows: {
        distillationLoss: (student: T, teacher: T) => kl(tf.softmax(teacher), tf.softmax(student)).sum(-1).mean(),
      },
    },
    right: [
      {
        distillationLoss: (student: T, teacher: T) => {
          const V = student.shape.at(-1)!;
          const logOf = (logits: T): T => logits.sub(logits.logSumExp(-1, true));
          const [p, q] = [logOf(teacher.reshape([-1, V])), logOf(student.reshape([-1, V]))];
          return p.exp().mul(p.sub(q)).sum().div(p.shape[0]!);
        },
      },
      {
        distillationLoss: (student: T, teacher: T) => {
          const p = tf.softmax(teacher);
          const cross = p.mul(tf.logSoftmax(student)).sum(-1).mean().neg();
          const entropy = p.mul(tf.logSoftmax(teacher)).sum(-1).mean().neg();
          return cross.sub(entropy);
        },
      },
    ],
  },
  '9.5': {
    mistakes: {
      'per-channel': {
        quantizeRows: (x: T, bits: number) => by(x, x.abs().max(0, true), bits),
      },
      'upside-down': {
        quantizeRows: (x: T, bits: number) => {
          const { codes, scales } = quantizeRows(x, bits);
          return { codes, scales: scales.reciprocal() };
        },
      },
      'one-for-all': { quantizeRows: (x: T, bits: number) => by(x, x.abs().max().reshape([1, 1]), bits) },
      'no-kept-axis': {
        quantizeRows: (x: T, bits: number) => {
          const { codes, scales } = quantizeRows(x, bits);
          return { codes, scales: scales.squeeze([-1]) };
        },
      },
      'values-not-codes': {
        quantizeRows: (x: T, bits: number) => {
          const { codes, scales } = quantizeRows(x, bits);
          return { codes: codes.mul(scales), scales };
        },
      },
      'not-whole': {
        quantizeRows: (x: T, bits: number) => {
          const { scales } = quantizeRows(x, bits);
          return { codes: x.div(scales), scales };
        },
      },
      'unsigned-codes': {
        quantizeRows: (x: T, bits: number) => {
          const { codes, scales } = quantizeRows(x, bits);
          return { codes: codes.add(2 ** (bits - 1)), scales };
        },
      },
      'no-scales': { integerProduct: (x: Codes, weight: Codes) => tf.matMul(x.codes, weight.codes, false, true) },
      'weights-scale-missing': {
        integerProduct: (x: Codes, weight: Codes) => tf.matMul(x.codes, weight.codes, false, true).mul(x.scales),
      },
      'tokens-scale-missing': {
        integerProduct: (x: Codes, weight: Codes) =>
          tf.matMul(x.codes, weight.codes, false, true).mul(weight.scales.transpose()),
      },
      'scales-added': {
        integerProduct: (x: Codes, weight: Codes) =>
          tf.matMul(x.codes, weight.codes, false, true).mul(x.scales.add(weight.scales.transpose())),
      },
    },
    right: [
      {
        quantizeRows: (x: T, bits: number) => {
          const most = 2 ** (bits - 1) - 1;
          const largest = tf.maximum(x.max(-1, true), x.min(-1, true).neg()).add(1e-6);
          return { codes: x.mul(most).div(largest).round().cast('int32'), scales: largest.mul(1 / most) };
        },
      },
      { integerProduct: (x: Codes, weight: Codes) => tf.matMul(floatsOf(x), floatsOf(weight), false, true) },
      {
        integerProduct: (x: Codes, weight: Codes) =>
          tf.matMul(weight.codes, x.codes, false, true).mul(weight.scales).transpose().mul(x.scales),
      },
    ],
  },
  '9.6': {
    mistakes: {
      'nothing-quantized': { appendQuantized: cacheWith({ quantize: asFloats }) },
      'new-tokens-exact': {
        appendQuantized: (cache: Cache, k: T, v: T, bits: number) => {
          const out = cacheWith({})(cache, k, v, bits);
          const exact = (codes: Codes | undefined, x: T): T =>
            codes ? tf.concat([toHeads(floatsOf(codes), x.shape[1]!), x], 2) : x;
          return { cache: out.cache, k: exact(cache?.k, k), v: exact(cache?.v, v) };
        },
      },
      'a-scale-per-head': {
        appendQuantized: cacheWith({
          rows: (x) => x,
          quantize: (x, bits) => {
            const { codes, scales } = quantizeRows(x, bits);
            const [B, K, tokens, S] = x.shape as [number, number, number, number];
            const wide = scales.mul(tf.ones([B, K, tokens, S]));
            return { codes: toRows(codes), scales: toRows(wide) };
          },
        }),
      },
      'one-scale-for-all-tokens': {
        appendQuantized: cacheWith({
          quantize: (rows, bits) => {
            const largest = rows
              .abs()
              .max([1, 2], true)
              .mul(tf.ones([rows.shape[0]!, rows.shape[1]!, 1]));
            return by(rows, largest, bits);
          },
        }),
      },
      'keys-and-values-share': {
        appendQuantized: cacheWith({
          quantize: (rows, bits, other) => by(rows, tf.maximum(rows.abs().max(-1, true), other.abs().max(-1, true)), bits),
        }),
      },
      'newest-first': { appendQuantized: cacheWith({ join: (kept, added) => (kept ? behind(added, kept) : added) }) },
      'old-tokens-lost': { appendQuantized: cacheWith({ given: (_, added, __, floats) => floats(added) }) },
      'heads-mixed-up': {
        appendQuantized: cacheWith({
          heads: (rows, heads) => rows.reshape([rows.shape[0]!, heads, rows.shape[1]!, rows.shape[2]! / heads]),
        }),
      },
      'floats-are-kept': {
        appendQuantized: cacheWith({
          quantize: (rows, bits) => asFloats(floatsOf(quantizeRows(rows, bits))),
        }),
      },
    },
    right: [
      {
        appendQuantized: cacheWith({
          quantize: (rows, bits) => {
            const { codes, scales } = quantizeRows(rows, bits);
            return { codes: codes.cast('int32'), scales };
          },
        }),
      },
      {
        appendQuantized: (cache: Cache, k: T, v: T, bits: number) => {
          const heads = k.shape[1]!;
          const rowsOf = (x: T): T =>
            tf.concat(
              tf.split(x, heads, 1).map((head) => head.squeeze([1])),
              -1,
            );
          const headsOf = (rows: T): T => tf.stack(tf.split(rows, heads, -1), 1);
          const part = (kept: Codes | undefined, x: T): Codes => behind(kept, quantizeRows(rowsOf(x), bits));
          const longer = { k: part(cache?.k, k), v: part(cache?.v, v) };
          return { cache: longer, k: headsOf(floatsOf(longer.k)), v: headsOf(floatsOf(longer.v)) };
        },
      },
    ],
  },
} satisfies ChapterMistakes;
