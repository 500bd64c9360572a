/**
 * @file Chapter 03: plausible wrong answers, each under the hint that its author must be given, and right answers that are
 * written differently from the solution.
 */
import { tf, type ChapterMistakes } from 'lab';
import {
  alibiSlopes,
  causalMask,
  groupedQueryAttention,
  mergeHeads,
  multiHead,
  rope,
  scaledDotProduct,
  splitHeads,
} from '../../solutions/03-attention.ts';

type T2 = tf.Tensor2D;
type T3 = tf.Tensor3D;
type T4 = tf.Tensor4D;
type Mask = tf.Tensor | null;
type Weights = Record<'query' | 'key' | 'value' | 'output', T2>;
type Cache = { k: T4; v: T4 } | null;

/** 1 where the past and the present are visible. */
function visible(queries: number, keys: number, shift = 0): tf.Tensor2D {
  return tf.linalg.bandPart(tf.ones([queries, keys]), -1, keys - queries + shift) as tf.Tensor2D;
}

function maskByLoops(hidden: (t: number, u: number, queries: number, keys: number) => boolean, value = -1e9) {
  return (queries: number, keys: number): tf.Tensor2D => {
    const values = new Float32Array(queries * keys);
    for (let t = 0; t < queries; t++) {
      for (let u = 0; u < keys; u++) values[t * keys + u] = hidden(t, u, queries, keys) ? value : 0;
    }
    return tf.tensor2d(values, [queries, keys]);
  };
}

function scoresOf(q: T4, k: T4): tf.Tensor {
  return tf.matMul(q, k, false, true).div(Math.sqrt(q.shape[3]));
}

function masked(scores: tf.Tensor, mask: Mask): tf.Tensor {
  return mask ? scores.add(mask) : scores;
}

function multiply(x: T3, weight: T2, transpose = true): T3 {
  const [B, T, D] = x.shape;
  return tf.matMul(x.reshape([B * T, D]), weight, false, transpose).reshape([B, T, D]);
}

/** Multi-head attention with some of its parts exchanged. */
function multiHeadWith(parts: {
  project?: typeof multiply;
  split?: (x: T3, heads: number) => tf.Tensor;
  merge?: (x: T4) => tf.Tensor;
  output?: (x: T3, weight: T2) => T3;
  attend?: (q: T4, k: T4, v: T4, mask: Mask) => tf.Tensor;
}) {
  const { project = multiply, split = splitHeads, merge = mergeHeads, attend = scaledDotProduct } = parts;
  const output = parts.output ?? project;
  return (x: T3, weights: Weights, heads: number, mask: Mask) => {
    const [q, k, v] = [weights.query, weights.key, weights.value].map((weight) => split(project(x, weight), heads) as T4);
    return output(merge(attend(q!, k!, v!, mask) as T4).reshape(x.shape), weights.output);
  };
}

/** RoPE by a table of angles, with some of its parts exchanged. */
function ropeWith(parts: {
  exponent?: number;
  direction?: number;
  sign?: number;
  shift?: number;
  offset?: (given: number) => number;
  base?: (given: number) => number;
}) {
  const { exponent = -2, direction = 1, sign = -1, shift = 0, offset: offsetOf = (x) => x, base: baseOf = (x) => x } = parts;
  return (x: T4, offset = 0, base = 10000) => {
    const [B, H, T, S] = x.shape;
    const frequencies = Array.from({ length: S }, (_, s) => baseOf(base) ** ((exponent * (s % (S / 2))) / S));
    const positions = Array.from({ length: T }, (_, t) => direction * (t + shift + offsetOf(offset)));
    const angle = tf.tensor2d(positions.map((position) => frequencies.map((frequency) => position * frequency)));
    const first = x.slice([0, 0, 0, 0], [B, H, T, S / 2]);
    const second = x.slice([0, 0, 0, S / 2], [B, H, T, S / 2]);
    return x.mul(angle.cos()).add(tf.concat([second.mul(sign), first], 3).mul(angle.sin()));
  };
}

function ropeInterleaved(x: T4, offset = 0, base = 10000): tf.Tensor {
  const [B, H, T, S] = x.shape;
  const angle = tf
    .range(offset, offset + T)
    .expandDims(1)
    .mul(tf.pow(base, tf.range(0, S, 2).div(-S)));
  const [even, odd] = tf.unstack(x.reshape([B, H, T, S / 2, 2]), 4) as [tf.Tensor, tf.Tensor];
  const turned = [even.mul(angle.cos()).sub(odd.mul(angle.sin())), odd.mul(angle.cos()).add(even.mul(angle.sin()))];
  return tf.stack(turned, 4).reshape([B, H, T, S]);
}

function geometric(heads: number, first = 1): number[] {
  return Array.from({ length: heads }, (_, h) => 2 ** ((-8 * (h + first)) / heads));
}

function slopesBy(fill: (power: number, missing: number) => number[], start = geometric) {
  return (heads: number) => {
    const power = 2 ** Math.floor(Math.log2(heads));
    return [...start(power), ...fill(power, heads - power)];
  };
}

/** Every second number, from the first on. */
function everySecond(numbers: number[], count: number): number[] {
  return numbers.filter((_, i) => i % 2 === 0).slice(0, count);
}

type BiasValue = (t: number, u: number, queries: number, keys: number) => number;

function biasBy(value: BiasValue, slopesOf: (heads: number) => number[] = alibiSlopes) {
  return (heads: number, queries: number, keys: number): tf.Tensor3D =>
    tf.tensor3d(
      slopesOf(heads).map((slope) =>
        Array.from({ length: queries }, (_, t) => Array.from({ length: keys }, (_, u) => slope * value(t, u, queries, keys))),
      ),
    );
}

type HeadIndex = (h: number, group: number, keyValueHeads: number) => number;

/** Repeats key/value heads by a list of which head serves each query head. */
function chooseHeads(x: T4, heads: number, index: HeadIndex): T4 {
  const parts = tf.split(x, x.shape[1], 1);
  const chosen = Array.from({ length: heads }, (_, h) => parts[index(h, heads / x.shape[1], x.shape[1])]!);
  return tf.concat(chosen, 1) as T4;
}

const inGroups: HeadIndex = (h, group) => Math.floor(h / group);

function groupedBy(keyHead: HeadIndex, valueHead = keyHead) {
  return (q: T4, k: T4, v: T4, mask: Mask) =>
    scaledDotProduct(q, chooseHeads(k, q.shape[1], keyHead), chooseHeads(v, q.shape[1], valueHead), mask);
}

/** Decoding with a cache, with some of its parts exchanged. */
function cachedBy(parts: {
  join?: (old: T4, fresh: T4) => T4;
  mask?: (queries: number, keys: number) => Mask;
  keep?: (all: { k: T4; v: T4 }, fresh: { k: T4; v: T4 }) => { k: T4; v: T4 };
}) {
  const { join = (old, fresh) => tf.concat([old, fresh], 2), mask = causalMask, keep = (all) => all } = parts;
  return (q: T4, k: T4, v: T4, cache: Cache) => {
    const all = cache ? { k: join(cache.k, k), v: join(cache.v, v) } : { k, v };
    const output = scaledDotProduct(q, all.k, all.v, mask(q.shape[2], all.k.shape[2]));
    return { output, cache: keep(all, { k, v }) };
  };
}

/** Keeps keys and values in a variable of its own and looks at the given cache only to see whether a text begins. */
function cachedOutside() {
  let kept: Cache = null;
  return (q: T4, k: T4, v: T4, cache: Cache) => {
    kept = cache && kept ? { k: tf.concat([kept.k, k], 2), v: tf.concat([kept.v, v], 2) } : { k, v };
    const output = scaledDotProduct(q, kept.k, kept.v, causalMask(q.shape[2], kept.k.shape[2]));
    return { output, cache: kept };
  };
}

export default {
  '3.1': {
    mistakes: {
      'hides-itself': { causalMask: maskByLoops((t, u, queries, keys) => u >= keys - queries + t) },
      'sees-the-next': { causalMask: (T: number, U: number) => tf.sub(1, visible(T, U, 1)).mul(-1e9) },
      'hides-the-past': { causalMask: (T: number, U: number) => causalMask(T, U).transpose() },
      'aligned-at-the-start': {
        causalMask: (T: number, U: number) => tf.sub(1, tf.linalg.bandPart(tf.ones([T, U]), -1, 0)).mul(-1e9),
      },
      'ones-and-zeros': { causalMask: (T: number, U: number) => visible(T, U) },
      'not-a-number': { causalMask: (T: number, U: number) => tf.sub(1, visible(T, U)).mul(-Infinity) },
      'too-weak': { causalMask: maskByLoops((t, u, queries, keys) => u > keys - queries + t, -10) },
    },
    right: [
      { causalMask: maskByLoops((t, u, queries, keys) => u > keys - queries + t, -Infinity) },
      { causalMask: (T: number, U: number) => tf.sub(1, visible(T, U)).mul(-1e10) },
    ],
  },
  '3.2': {
    mistakes: {
      'not-scaled': {
        scaledDotProduct: (q: T4, k: T4, v: T4, mask: Mask) =>
          tf.matMul(tf.softmax(masked(tf.matMul(q, k, false, true), mask)), v),
      },
      'scaled-by-size': {
        scaledDotProduct: (q: T4, k: T4, v: T4, mask: Mask) =>
          tf.matMul(tf.softmax(masked(tf.matMul(q, k, false, true).div(q.shape[3]), mask)), v),
      },
      'scaled-by-width': {
        scaledDotProduct: (q: T4, k: T4, v: T4, mask: Mask) =>
          tf.matMul(tf.softmax(masked(tf.matMul(q, k, false, true).div(Math.sqrt(q.shape[1] * q.shape[3])), mask)), v),
      },
      'softmax-over-queries': {
        scaledDotProduct: (q: T4, k: T4, v: T4, mask: Mask) => {
          const scores = masked(scoresOf(q, k), mask);
          return tf.matMul(tf.softmax(scores.transpose([0, 1, 3, 2])), v, true, false);
        },
      },
      'no-softmax': { scaledDotProduct: (q: T4, k: T4, v: T4, mask: Mask) => tf.matMul(masked(scoresOf(q, k), mask), v) },
      'mixes-keys': { scaledDotProduct: (q: T4, k: T4, _v: T4, mask: Mask) => scaledDotProduct(q, k, k, mask) },
      'mask-ignored': { scaledDotProduct: (q: T4, k: T4, v: T4) => scaledDotProduct(q, k, v, null) },
      'mask-multiplied': {
        scaledDotProduct: (q: T4, k: T4, v: T4, mask: Mask) => {
          const scores = scoresOf(q, k);
          return tf.matMul(tf.softmax(mask ? scores.mul(mask) : scores), v);
        },
      },
      'mask-subtracted': {
        scaledDotProduct: (q: T4, k: T4, v: T4, mask: Mask) => scaledDotProduct(q, k, v, mask && mask.neg()),
      },
      'masked-after-softmax': {
        scaledDotProduct: (q: T4, k: T4, v: T4, mask: Mask) => {
          const weights = tf.softmax(scoresOf(q, k));
          return tf.matMul(mask ? weights.mul(mask.exp()) : weights, v);
        },
      },
      overflow: {
        scaledDotProduct: (q: T4, k: T4, v: T4, mask: Mask) => {
          const exponentials = masked(scoresOf(q, k), mask).exp();
          return tf.matMul(exponentials.div(exponentials.sum(-1, true)), v);
        },
      },
      'reads-data-back': {
        scaledDotProduct: (q: T4, k: T4, v: T4, mask: Mask) => {
          const scores = masked(scoresOf(q, k), mask);
          const weights = tf.tensor(tf.softmax(scores).dataSync(), scores.shape);
          return tf.matMul(weights, v);
        },
      },
    },
    right: [
      {
        scaledDotProduct: (q: T4, k: T4, v: T4, mask: Mask) => {
          const scores = masked(tf.matMul(q.mul(q.shape[3] ** -0.5), k.transpose([0, 1, 3, 2])), mask);
          return tf.matMul(scores.sub(scores.logSumExp(-1, true)).exp(), v);
        },
      },
      {
        scaledDotProduct: (q: T4, k: T4, v: T4, mask: Mask) => {
          const scores = masked(scoresOf(q, k), mask);
          const exponentials = scores.sub(scores.max(-1, true)).exp();
          return tf.matMul(exponentials, v).div(exponentials.sum(-1, true));
        },
      },
    ],
  },
  '3.3': {
    mistakes: {
      'split-without-transpose': {
        splitHeads: (x: T3, heads: number) => x.reshape([x.shape[0], heads, x.shape[1], x.shape[2] / heads]),
      },
      'split-interleaved': {
        splitHeads: (x: T3, heads: number) =>
          x.reshape([x.shape[0], x.shape[1], x.shape[2] / heads, heads]).transpose([0, 3, 1, 2]),
      },
      'split-wrong-axes': {
        splitHeads: (x: T3, heads: number) => splitHeads(x, heads).transpose([0, 1, 3, 2]),
        mergeHeads: (x: T4) => x.transpose([0, 2, 1, 3]).reshape([x.shape[0], x.shape[2], -1]),
      },
      'merge-without-transpose': { mergeHeads: (x: T4) => x.reshape([x.shape[0], x.shape[2], x.shape[1] * x.shape[3]]) },
      'merge-interleaved': {
        mergeHeads: (x: T4) => x.transpose([0, 2, 3, 1]).reshape([x.shape[0], x.shape[2], x.shape[1] * x.shape[3]]),
      },
    },
    right: [
      {
        splitHeads: (x: T3, heads: number) => tf.stack(tf.split(x, heads, 2), 1),
        mergeHeads: (x: T4) => tf.concat(tf.unstack(x, 1), 2),
      },
      {
        splitHeads: (x: T3, heads: number) =>
          x.transpose([0, 2, 1]).reshape([x.shape[0], heads, -1, x.shape[1]]).transpose([0, 1, 3, 2]),
        mergeHeads: (x: T4) => x.transpose([0, 1, 3, 2]).reshape([x.shape[0], -1, x.shape[2]]).transpose([0, 2, 1]),
      },
    ],
  },
  '3.4': {
    mistakes: {
      'weights-not-transposed': { multiHead: multiHeadWith({ project: (x, weight) => multiply(x, weight, false) }) },
      'one-head': { multiHead: (x: T3, weights: Weights, _heads: number, mask: Mask) => multiHead(x, weights, 1, mask) },
      'scaled-by-width': {
        multiHead: multiHeadWith({
          attend: (q, k, v, mask) => scaledDotProduct(q.div(Math.sqrt(q.shape[1])), k, v, mask),
        }),
      },
      'no-output-projection': { multiHead: multiHeadWith({ output: (x) => x }) },
      'merge-without-transpose': { multiHead: multiHeadWith({ merge: (x) => x }) },
      'split-without-transpose': {
        multiHead: multiHeadWith({ split: (x, heads) => x.reshape([x.shape[0], heads, x.shape[1], x.shape[2] / heads]) }),
      },
      'query-key-swapped': { multiHead: multiHeadWith({ attend: (q, k, v, mask) => scaledDotProduct(k, q, v, mask) }) },
      'mask-ignored': { multiHead: multiHeadWith({ attend: (q, k, v) => scaledDotProduct(q, k, v, null) }) },
      'no-gradient-rule': {
        multiHead: multiHeadWith({ project: (x, weight) => tf.matMul(x, weight as tf.Tensor as T3, false, true) }),
      },
      'reads-data-back': {
        multiHead: multiHeadWith({ merge: (x) => tf.tensor(mergeHeads(x).arraySync()) }),
      },
    },
    right: [
      {
        // One head after the other, each with its own rows of the matrices; the output matrix is applied piece by piece.
        multiHead: (x: T3, weights: Weights, heads: number, mask: Mask) => {
          const [B, T, D] = x.shape;
          const S = D / heads;
          const flat = x.reshape<T2>([B * T, D]);
          const rows = (weight: T2, h: number) =>
            tf.matMul(flat, weight.slice([h * S, 0], [S, D]), false, true).reshape<T4>([B, 1, T, S]);
          const answers = Array.from({ length: heads }, (_, h) => {
            const answer = scaledDotProduct(rows(weights.query, h), rows(weights.key, h), rows(weights.value, h), mask);
            return tf.matMul(answer.reshape<T2>([B * T, S]), weights.output.slice([0, h * S], [D, S]), false, true);
          });
          return tf.addN(answers).reshape([B, T, D]);
        },
      },
      {
        // All three projections in one product.
        multiHead: (x: T3, weights: Weights, heads: number, mask: Mask) => {
          const [B, T, D] = x.shape;
          const packed = tf.concat([weights.query, weights.key, weights.value], 0);
          const projected = tf.matMul(x.reshape([B * T, D]), packed.transpose()).reshape<T3>([B, T, 3 * D]);
          const [q, k, v] = tf.split(projected, 3, 2).map((part) => splitHeads(part, heads));
          const merged = mergeHeads(scaledDotProduct(q!, k!, v!, mask)).reshape([B * T, D]);
          return tf.matMul(merged, weights.output.transpose()).reshape([B, T, D]);
        },
      },
    ],
  },
  '3.5': {
    mistakes: {
      'interleaved-pairs': { rope: ropeInterleaved },
      'turned-backwards': { rope: ropeWith({ direction: -1 }) },
      'no-minus': { rope: ropeWith({ sign: 1 }) },
      'exponent-halved': { rope: ropeWith({ exponent: -1 }) },
      'exponent-doubled': { rope: ropeWith({ exponent: -4 }) },
      'grows-with-pair': { rope: ropeWith({ exponent: 2 }) },
      'offset-ignored': { rope: ropeWith({ offset: () => 0 }) },
      'base-ignored': { rope: ropeWith({ base: () => 10000 }) },
      'starts-at-one': { rope: ropeWith({ shift: 1 }) },
      'reads-data-back': { rope: (x: T4, offset = 0, base = 10000) => rope(tf.tensor4d(x.arraySync()), offset, base) },
    },
    right: [
      { rope: ropeWith({}) },
      {
        // Each pair as a vector times a 2 × 2 rotation matrix.
        rope: (x: T4, offset = 0, base = 10000) => {
          const [B, H, T, S] = x.shape;
          const pairs = x.reshape([B * H, T, 2, S / 2]);
          const [first, second] = tf.unstack(pairs, 2) as [T3, T3];
          const angle = tf.outerProduct(
            tf.range(offset, offset + T),
            tf.exp(tf.range(0, S / 2).mul((-2 * Math.log(base)) / S)) as tf.Tensor1D,
          );
          const rows = [
            [angle.cos(), angle.sin().neg()],
            [angle.sin(), angle.cos()],
          ].map(([a, b]) => first.mul(a!).add(second.mul(b!)));
          return tf.stack(rows, 2).reshape([B, H, T, S]);
        },
      },
    ],
  },
  '3.6': {
    mistakes: {
      'slopes-always-halved': { alibiSlopes: (heads: number) => Array.from({ length: heads }, (_, h) => 2 ** -(h + 1)) },
      'slopes-start-at-one': {
        alibiSlopes: slopesBy(
          (power, n) => everySecond(geometric(2 * power, 0), n),
          (power) => geometric(power, 0),
        ),
      },
      'slopes-negative': { alibiSlopes: (heads: number) => alibiSlopes(heads).map((slope) => -slope) },
      'no-power-of-two': { alibiSlopes: (heads: number) => geometric(heads) },
      'filled-without-skipping': { alibiSlopes: slopesBy((power, n) => geometric(2 * power).slice(0, n)) },
      'bias-rewards-distance': { alibiBias: biasBy((t, u, T, U) => U - T + t - u) },
      'bias-at-the-start': { alibiBias: biasBy((t, u) => u - t) },
      'bias-grows-with-key': { alibiBias: biasBy((_t, u) => -u) },
      'bias-one-slope': {
        alibiBias: biasBy(
          (t, u, T, U) => u - (U - T + t),
          (heads) => Array<number>(heads).fill(alibiSlopes(heads)[0]!),
        ),
      },
    },
    right: [
      {
        alibiSlopes: slopesBy((power, n) => everySecond(geometric(2 * power), n)),
        alibiBias: biasBy((t, u, T, U) => u - (U - T + t)),
      },
      {
        // Multiplied up one by one, the future left at 0.
        alibiSlopes: (heads: number) => {
          const power = 2 ** Math.floor(Math.log2(heads));
          const ratio = 2 ** (-8 / power);
          const slopes = new Float32Array(heads);
          for (let h = 0; h < heads; h++) slopes[h] = h < power ? ratio ** (h + 1) : Math.sqrt(ratio) ** (2 * (h - power) + 1);
          return slopes;
        },
        alibiBias: biasBy((t, u, T, U) => Math.min(0, u - (U - T + t))),
      },
    ],
  },
  '3.7': {
    mistakes: {
      'heads-taken-in-turn': {
        groupedQueryAttention: (q: T4, k: T4, v: T4, mask: Mask) => {
          const times = q.shape[1] / k.shape[1];
          return scaledDotProduct(q, k.tile([1, times, 1, 1]), v.tile([1, times, 1, 1]), mask);
        },
      },
      'only-keys-grouped': { groupedQueryAttention: groupedBy(inGroups, (h, _group, K) => h % K) },
      'first-head-only': { groupedQueryAttention: groupedBy(() => 0) },
      'mask-ignored': { groupedQueryAttention: (q: T4, k: T4, v: T4) => groupedQueryAttention(q, k, v, null) },
      'groups-averaged': {
        groupedQueryAttention: (q: T4, k: T4, v: T4, mask: Mask) => {
          const [B, H, T, S] = q.shape;
          const mean = q.reshape([B, k.shape[1], -1, T, S]).mean(2) as T4;
          return groupedQueryAttention(chooseHeads(mean, H, inGroups), k, v, mask);
        },
      },
      'no-gradient-rule': {
        groupedQueryAttention: (q: T4, k: T4, v: T4, mask: Mask) => {
          const [B, H, , S] = q.shape;
          const repeat = (x: T4) => tf.tile(x.expandDims(2), [1, 1, H / k.shape[1], 1, 1]).reshape<T4>([B, H, -1, S]);
          return scaledDotProduct(q, repeat(k), repeat(v), mask);
        },
      },
      'reads-data-back': {
        groupedQueryAttention: (q: T4, k: T4, v: T4, mask: Mask) => groupedQueryAttention(q, tf.tensor4d(k.arraySync()), v, mask),
      },
    },
    right: [
      { groupedQueryAttention: groupedBy(inGroups) },
      {
        // The queries of a group asked as if they were more tokens of one head.
        groupedQueryAttention: (q: T4, k: T4, v: T4, mask: Mask) => {
          const [B, H, T, S] = q.shape;
          const [, K, U] = k.shape;
          const scores = tf.matMul(q.reshape([B, K, (H / K) * T, S]), k, false, true).div(Math.sqrt(S));
          const weights = tf.softmax(masked(scores.reshape([B, H, T, U]), mask)).reshape([B, K, (H / K) * T, U]);
          return tf.matMul(weights, v).reshape([B, H, T, S]);
        },
      },
    ],
  },
  '3.8': {
    mistakes: {
      forgets: { attendWithCache: cachedBy({ join: (_old, fresh) => fresh }) },
      'keeps-only-the-last-piece': { attendWithCache: cachedBy({ keep: (_all, fresh) => fresh }) },
      'sees-the-future': { attendWithCache: cachedBy({ mask: () => null }) },
      'mask-at-the-start': { attendWithCache: cachedBy({ mask: maskByLoops((t, u) => u > t) }) },
      'shared-between-texts': { attendWithCache: cachedOutside() },
      'new-before-old': { attendWithCache: cachedBy({ join: (old, fresh) => tf.concat([fresh, old], 2) }) },
    },
    right: [
      {
        // Every token a step of its own.
        attendWithCache: (q: T4, k: T4, v: T4, cache: Cache) => {
          const outputs: tf.Tensor[] = [];
          let all = cache;
          for (let t = 0; t < q.shape[2]; t++) {
            const [query, key, value] = [q, k, v].map((x) => x.slice([0, 0, t, 0], [-1, -1, 1, -1]));
            all = { k: all ? tf.concat([all.k, key!], 2) : key!, v: all ? tf.concat([all.v, value!], 2) : value! };
            outputs.push(scaledDotProduct(query!, all.k, all.v, null));
          }
          return { output: tf.concat(outputs, 2), cache: all };
        },
      },
      { attendWithCache: cachedBy({ mask: maskByLoops((t, u, T, U) => u > U - T + t, -Infinity) }) },
    ],
  },
} satisfies ChapterMistakes;
