/**
 * @file Chapter 05: plausible wrong answers, each under the hint that its author must be given, and right answers that are
 * written differently from the solution.
 */
import { attention, blockwiseForward, tf, type ChapterMistakes } from 'lab';
import { flashForward } from '../../solutions/05-flash-attention.ts';

interface State {
  m: number;
  l: number;
}
interface Part extends State {
  o: number[];
}
type T4 = tf.Tensor4D;
interface Tiles {
  causal?: boolean;
  tileQueries?: number;
  tileKeys?: number;
}

const none = (x: number) => (x === -Infinity ? 1 : 0);

/** An update in two loops, with its parts exchanged. */
const updateWith =
  ({
    largest = (m: number, scores: number[]) => Math.max(m, ...scores),
    old = ({ m, l }: State, next: number) => l * Math.exp(m - next),
    weight = (score: number, next: number, _m: number) => Math.exp(score - next),
    guard = true,
  }) =>
  (state: State, scores: number[]): State => {
    const m = largest(state.m, scores);
    if (guard && m === -Infinity) return { m, l: 0 };
    return { m, l: scores.reduce((sum, score) => sum + weight(score, m, state.m), none(state.m) ? 0 : old(state, m)) };
  };

/** A merge with its factors exchanged. */
const mergeWith =
  ({
    sums = (m: number, own: number) => Math.exp(own - m),
    outputs = (m: number, own: number) => Math.exp(own - m),
    finish = (o: number[], _l: number) => o,
    guard = true,
  }) =>
  (a: Part, b: Part): Part => {
    const m = Math.max(a.m, b.m);
    if (guard && none(a.m)) return b;
    if (guard && none(b.m)) return a;
    const l = a.l * sums(m, a.m) + b.l * sums(m, b.m);
    return {
      m,
      l,
      o: finish(
        a.o.map((x, i) => x * outputs(m, a.m) + b.o[i]! * outputs(m, b.m)),
        l,
      ),
    };
  };

/** 1 where the query sees the key, in a tile whose corner stands at (t, u). */
const seenTile = (rows: number, columns: number, t: number, u: number): tf.Tensor2D =>
  tf.lessEqual(tf.range(u, u + columns).expandDims(0), tf.range(t, t + rows).expandDims(1)).cast('float32');

/** FlashAttention by tiles that are cut first, with its parts exchanged. */
const forwardWith =
  ({
    scale = (S: number) => 1 / Math.sqrt(S),
    keptSum = (kept: tf.Tensor) => kept,
    keptOutput = (kept: tf.Tensor) => kept,
    corner = (t: number, u: number, T: number, U: number) => [U - T + t, u] as const,
    masked = true,
    length = (U: number, _tile: number) => U,
    running = true,
    finish = (o: tf.Tensor, l: tf.Tensor) => o.div(l),
    logSumExp = (m: tf.Tensor, l: tf.Tensor) => m.add(l.log()).squeeze([3]),
  }) =>
  (q: T4, k: T4, v: T4, { causal = false, tileQueries = 16, tileKeys = 16 }: Tiles = {}) => {
    const [B, H, T, S] = q.shape;
    const U = k.shape[2];
    const cut = (x: T4, from: number, size: number) => tf.slice4d(x, [0, 0, from, 0], [B, H, size, S]);
    const rows = Array.from({ length: Math.ceil(T / tileQueries) }, (_, i) => {
      const t = i * tileQueries;
      const count = Math.min(tileQueries, T - t);
      let m: tf.Tensor = tf.mul(tf.ones([B, H, count, 1]), -1e20);
      let l: tf.Tensor = tf.zeros([B, H, count, 1]);
      let o: tf.Tensor = tf.zeros([B, H, count, S]);
      for (let u = 0; u < length(U, tileKeys); u += tileKeys) {
        const size = Math.min(tileKeys, U - u);
        const scores = tf.matMul(cut(q, t, count), cut(k, u, size), false, true).mul(scale(S));
        const seen = causal && masked ? seenTile(count, size, ...corner(t, u, T, U)) : tf.ones([count, size]);
        const hidden = scores.add(tf.sub(1, seen).mul(-1e12));
        const next = running ? tf.maximum(m, hidden.max(3, true)) : m;
        const weights = (running ? hidden.sub(next) : hidden).exp().mul(seen);
        const kept = running ? m.sub(next).exp() : tf.onesLike(m);
        l = l.mul(keptSum(kept)).add(weights.sum(3, true));
        o = o.mul(keptOutput(kept)).add(weights.matMul(cut(v, u, size)));
        m = next;
      }
      return { o: finish(o, l), L: logSumExp(running ? m : tf.zerosLike(m), l) };
    });
    return {
      output: tf.concat(
        rows.map(({ o }) => o),
        2,
      ),
      logSumExp: tf.concat(
        rows.map(({ L }) => L),
        2,
      ),
    };
  };

/** Every tile with a softmax of its own. */
function softmaxOfEachTile(q: T4, k: T4, v: T4, tiles: Tiles = {}) {
  const { tileKeys = 16 } = tiles;
  const [B, H, T, S] = q.shape;
  const U = k.shape[2];
  let output: tf.Tensor = tf.zeros([B, H, T, S]);
  for (let u = 0; u < U; u += tileKeys) {
    const size = Math.min(tileKeys, U - u);
    const cut = (x: T4) => tf.slice4d(x, [0, 0, u, 0], [B, H, size, S]);
    const scores = tf.matMul(q, cut(k), false, true).div(Math.sqrt(S));
    const seen = tiles.causal ? seenTile(T, size, U - T, u) : tf.ones([T, size]);
    const weights = tf.softmax(scores.add(tf.sub(1, seen).mul(-1e9))).mul(seen);
    output = output.add(tf.matMul(weights, cut(v)));
  }
  return { output, logSumExp: flashForward(q, k, v, tiles).logSumExp };
}

/** All scores at once, then all that is asked for. */
function wholeMatrix(q: T4, k: T4, v: T4, { causal = false }: Tiles = {}) {
  const [, , T, S] = q.shape;
  const U = k.shape[2];
  const scores = tf.matMul(q, k, false, true).div(Math.sqrt(S));
  const masked = causal ? scores.add(tf.sub(1, seenTile(T, U, U - T, 0)).mul(-1e9)) : scores;
  return { output: tf.matMul(tf.softmax(masked), v), logSumExp: masked.logSumExp(3) };
}

const flashWordsWith =
  ({
    rows = (d: number, M: number) => Math.max(1, Math.floor(M / (4 * d))),
    tiles = (N: number, size: number) => Math.ceil(N / size),
    keys = (N: number, d: number, count: number) => 2 * N * d * count,
    others = (N: number, d: number) => 2 * N * d + N,
  }) =>
  (N: number, d: number, M: number) =>
    others(N, d) + keys(N, d, tiles(N, rows(d, M)));

type Pair = [number, number];
type Ranges = Pair[];
const kindBy =
  (skipped: (rows: Ranges, keys: Pair) => boolean, full: (rows: Ranges, keys: Pair) => boolean) =>
  (ranges: Ranges, queries: Pair, keys: Pair) => {
    const rows = ranges.slice(...queries);
    return skipped(rows, keys) ? 'skipped' : full(rows, keys) ? 'full' : 'partial';
  };
const nobody = (rows: Ranges, [u, end]: Pair) => rows.every(([from, to]) => Math.max(from, u) >= Math.min(to, end));
const everybody = (rows: Ranges, [u, end]: Pair) => rows.every(([from, to]) => from <= u && end <= to);

interface Saved {
  output: T4;
  logSumExp: tf.Tensor3D;
  outputGradient: T4;
}

/** The backward pass over tiles of queries, with its parts exchanged. */
const backwardWith =
  ({
    D = (dO: tf.Tensor, o: tf.Tensor) => dO.mul(o).sum(3, true),
    P = (scores: tf.Tensor, L: tf.Tensor) => scores.sub(L).exp(),
    dS = (p: tf.Tensor, dP: tf.Tensor, d: tf.Tensor) => p.mul(dP.sub(d)),
    back = (S: number) => 1 / Math.sqrt(S),
    corner = (t: number, u: number, T: number, U: number) => [U - T + t, u] as const,
    masked = true,
    collect = (sum: tf.Tensor, x: tf.Tensor) => sum.add(x),
    collectQueries = (sum: tf.Tensor, x: tf.Tensor) => sum.add(x),
  }) =>
  (q: T4, k: T4, v: T4, saved: Saved, { causal = false, tileQueries = 16, tileKeys = 16 }: Tiles = {}) => {
    const [B, H, T, S] = q.shape;
    const U = k.shape[2];
    const cut = (x: tf.Tensor, from: number, size: number) => tf.slice(x, [0, 0, from, 0], [B, H, size, x.shape[3]!]);
    const places = (length: number, tile: number) =>
      Array.from({ length: Math.ceil(length / tile) }, (_, i) => [i * tile, Math.min(tile, length - i * tile)] as const);
    const zeros = (x: tf.Tensor, length: number, tile: number) =>
      places(length, tile).map(([from, size]) => tf.zerosLike(cut(x, from, size)));
    const dq = zeros(q, T, tileQueries);
    const dk = zeros(k, U, tileKeys);
    const dv = zeros(v, U, tileKeys);
    for (const [i, [t, rows]] of places(T, tileQueries).entries()) {
      const dO = cut(saved.outputGradient, t, rows);
      const d = D(dO, cut(saved.output, t, rows));
      const L = cut(saved.logSumExp.expandDims(3), t, rows);
      for (const [j, [u, columns]] of places(U, tileKeys).entries()) {
        const scores = tf.matMul(cut(q, t, rows), cut(k, u, columns), false, true).div(Math.sqrt(S));
        const seen = causal && masked ? seenTile(rows, columns, ...corner(t, u, T, U)) : tf.ones([rows, columns]);
        const p = P(scores, L).mul(seen);
        const ds = dS(p, tf.matMul(dO, cut(v, u, columns), false, true), d)
          .mul(seen)
          .mul(back(S));
        dv[j] = collect(dv[j]!, tf.matMul(p, dO, true, false));
        dk[j] = collect(dk[j]!, tf.matMul(ds, cut(q, t, rows), true, false));
        dq[i] = collectQueries(dq[i]!, tf.matMul(ds, cut(k, u, columns)));
      }
    }
    return { dq: tf.concat(dq, 2), dk: tf.concat(dk, 2), dv: tf.concat(dv, 2) };
  };

const theLast = (_: tf.Tensor, x: tf.Tensor) => x;

/** The tape through the whole matrix. */
function throughTheTape(q: T4, k: T4, v: T4, { outputGradient }: Saved, tiles: Tiles = {}) {
  const [dq, dk, dv] = tf.grads((a, b, c) => wholeMatrix(a as T4, b as T4, c as T4, tiles).output)([q, k, v], outputGradient);
  return { dq: dq!, dk: dk!, dv: dv! };
}

/** The body of the shader's function. */
const absorb = (body: string) => ({ absorbKey: () => `fn absorb(score: f32, key: u32) {\n${body}\n}` });
const add = 'for (var d = 0u; d < S4; d++) { o[d] = o[d] * kept + weight * valueTile[key * S4 + d]; }';
const start = 'let next = max(m, score); let kept = exp(m - next); let weight = exp(score - next);';

export default {
  '5.1': {
    mistakes: {
      'not-rescaled': { updateSoftmax: updateWith({ old: ({ l }) => l }) },
      'forgets-the-state': { updateSoftmax: (_: State, scores: number[]) => updateWith({})({ m: -Infinity, l: 0 }, scores) },
      'rescale-inverted': { updateSoftmax: updateWith({ old: ({ m, l }, next) => l * Math.exp(next - m) }) },
      'weighed-by-the-old-maximum': {
        updateSoftmax: updateWith({ weight: (score, next, m) => Math.exp(score - (none(m) ? next : m)) }),
      },
      'maximum-of-the-chunk': {
        updateSoftmax: updateWith({ largest: (_, scores) => Math.max(...scores) }),
      },
      'nothing-seen-is-nan': { updateSoftmax: updateWith({ guard: false }) },
      overflow: {
        updateSoftmax: ({ m, l }: State, scores: number[]) => {
          const next = Math.max(m, ...scores);
          if (next === -Infinity) return { m, l };
          const before = none(m) ? 0 : l * Math.exp(m);
          return { m: next, l: scores.reduce((sum, score) => sum + Math.exp(score), before) / Math.exp(next) };
        },
      },
      'changes-the-state': {
        updateSoftmax: (state: State, scores: number[]) => Object.assign(state, updateWith({})({ ...state }, scores)),
      },
    },
    right: [
      { updateSoftmax: updateWith({}) },
      {
        updateSoftmax: (state: State, scores: number[]) => {
          let { m, l } = state;
          for (const score of scores) {
            if (score === -Infinity) continue;
            if (score > m) [m, l] = [score, l * Math.exp(m - score) + 1];
            else l += Math.exp(score - m);
          }
          return { m, l };
        },
      },
    ],
  },
  '5.2': {
    mistakes: {
      'nothing-rescaled': { mergePartials: mergeWith({ sums: () => 1, outputs: () => 1 }) },
      'outputs-not-rescaled': { mergePartials: mergeWith({ outputs: () => 1 }) },
      'sums-not-rescaled': { mergePartials: mergeWith({ sums: () => 1 }) },
      averaged: { mergePartials: mergeWith({ finish: (o) => o.map((x) => x / 2) }) },
      divided: { mergePartials: mergeWith({ finish: (o, l) => o.map((x) => x / l) }) },
      'empty-part-is-nan': { mergePartials: mergeWith({ guard: false }) },
      'changes-its-inputs': {
        mergePartials: (a: Part, b: Part) => Object.assign(a, mergeWith({})(a, b)),
      },
    },
    right: [
      {
        mergePartials: (a: Part, b: Part) => {
          const m = Math.max(a.m, b.m);
          const factor = (x: Part) => (none(x.m) ? 0 : Math.exp(x.m - m));
          const both = (x: number, y: number) => x * factor(a) + y * factor(b);
          return { m, l: both(a.l, b.l), o: Float64Array.from(a.o, (x, i) => both(x, b.o[i]!)) };
        },
      },
      {
        mergePartials: (a: Part, b: Part): Part => {
          const [low, high] = a.m < b.m ? [a, b] : [b, a];
          if (none(low.m)) return high;
          const shrink = Math.exp(low.m - high.m);
          return { m: high.m, l: high.l + shrink * low.l, o: high.o.map((x, i) => x + shrink * low.o[i]!) };
        },
      },
    ],
  },
  '5.3': {
    mistakes: {
      'not-normalised': { flashForward: forwardWith({ finish: (o) => o }) },
      'output-not-rescaled': { flashForward: forwardWith({ keptOutput: tf.onesLike }) },
      'sum-not-rescaled': { flashForward: forwardWith({ keptSum: tf.onesLike }) },
      'nothing-rescaled': { flashForward: forwardWith({ keptSum: tf.onesLike, keptOutput: tf.onesLike }) },
      'not-scaled': { flashForward: forwardWith({ scale: () => 1 }) },
      'scaled-by-size': { flashForward: forwardWith({ scale: (S) => 1 / S }) },
      'softmax-of-each-tile': { flashForward: softmaxOfEachTile },
      'last-tile-missing': { flashForward: forwardWith({ length: (U, tile) => U - (U % tile) }) },
      'mask-ignored': { flashForward: forwardWith({ masked: false }) },
      'mask-inside-the-tile': { flashForward: forwardWith({ corner: () => [0, 0] }) },
      'aligned-at-the-start': { flashForward: forwardWith({ corner: (t, u) => [t, u] }) },
      overflow: { flashForward: forwardWith({ running: false }) },
      'logarithm-without-maximum': { flashForward: forwardWith({ logSumExp: (_, l) => l.log().squeeze([3]) }) },
      'maximum-only': { flashForward: forwardWith({ logSumExp: (m) => m.squeeze([3]) }) },
      'sum-without-logarithm': { flashForward: forwardWith({ logSumExp: (m, l) => m.add(l).squeeze([3]) }) },
      'column-of-one': { flashForward: forwardWith({ logSumExp: (m, l) => m.add(l.log()) }) },
      'writes-the-whole-matrix': { flashForward: wholeMatrix },
      'calls-the-library': {
        flashForward: (q: T4, k: T4, v: T4, tiles: Tiles = {}) => ({
          output: attention(q, k, v, { causal: tiles.causal ?? false }),
          logSumExp: blockwiseForward(q, k, v, tiles).logSumExp,
        }),
      },
    },
    right: [
      { flashForward: forwardWith({}) },
      {
        // Keys outside, queries inside, as in the first paper.
        flashForward: (q: T4, k: T4, v: T4, { causal = false, tileQueries = 8, tileKeys = 8 }: Tiles = {}) => {
          const [B, H, T, S] = q.shape;
          const U = k.shape[2];
          const parts = Array.from({ length: Math.ceil(T / tileQueries) }, (_, i) => {
            const rows = Math.min(tileQueries, T - i * tileQueries);
            return { rows, m: tf.ones([B, H, rows, 1]).mul(-1e30), l: tf.zeros([B, H, rows, 1]), o: tf.zeros([B, H, rows, S]) };
          });
          for (let u = 0; u < U; u += tileKeys) {
            const columns = Math.min(tileKeys, U - u);
            const keys = k.slice([0, 0, u, 0], [B, H, columns, S]);
            for (const [i, part] of parts.entries()) {
              const t = i * tileQueries;
              let scores: tf.Tensor = tf.matMul(q.slice([0, 0, t, 0], [B, H, part.rows, S]), keys, false, true);
              scores = scores.div(Math.sqrt(S));
              if (causal) scores = tf.where(seenTile(part.rows, columns, U - T + t, u).cast('bool'), scores, -1e9);
              const m = tf.maximum(part.m, scores.max(3, true));
              const weights = scores.sub(m).exp();
              const kept = part.m.sub(m).exp();
              const values = v.slice([0, 0, u, 0], [B, H, columns, S]);
              const [l, o] = [kept.mul(part.l).add(weights.sum(3, true)), kept.mul(part.o).add(weights.matMul(values))];
              Object.assign(part, { m, l, o });
            }
          }
          return {
            output: tf.concat(
              parts.map(({ o, l }) => o.div(l)),
              2,
            ),
            logSumExp: tf
              .concat(
                parts.map(({ m, l }) => m.add(l.log())),
                2,
              )
              .squeeze([3]),
          };
        },
      },
    ],
  },
  '5.4': {
    mistakes: {
      'softmax-not-counted': { plainWords: (N: number, d: number) => 4 * N * d + 2 * N * N },
      'only-the-squares': { plainWords: (N: number) => 4 * N * N },
      'output-not-counted': { plainWords: (N: number, d: number) => 3 * N * d + 4 * N * N },
      'in-bytes': { plainWords: (N: number, d: number) => 16 * N * d + 16 * N * N },
      'tile-of-nothing': { flashWords: flashWordsWith({ rows: (d, M) => Math.floor(M / (4 * d)) }) },
      'memory-for-one-tile': { flashWords: flashWordsWith({ rows: (d, M) => Math.max(1, Math.floor(M / d)) }) },
      'tiles-not-rounded-up': { flashWords: flashWordsWith({ tiles: (N, rows) => N / rows }) },
      'last-tile-missing': { flashWords: flashWordsWith({ tiles: (N, rows) => Math.floor(N / rows) }) },
      'keys-read-once': { flashWords: flashWordsWith({ keys: (N, d) => 2 * N * d }) },
      'keys-read-for-every-query': { flashWords: flashWordsWith({ keys: (N, d) => 2 * N * N * d }) },
      'values-not-counted': { flashWords: flashWordsWith({ keys: (N, d, count) => N * d * count }) },
      'log-sum-exp-not-counted': { flashWords: flashWordsWith({ others: (N, d) => 2 * N * d }) },
    },
    right: [
      { flashWords: flashWordsWith({}), plainWords: (N: number, d: number) => 4 * N * (N + d) },
      {
        plainWords: (N: number, d: number) => [2 * N * d, N * N, N * N, N * N, N * N, N * d, N * d].reduce((a, b) => a + b),
        flashWords: (N: number, d: number, M: number) => {
          let words = 0;
          const rows = Math.max(1, Math.trunc(M / 4 / d));
          for (let t = 0; t < N; t += rows) words += 2 * Math.min(rows, N - t) * d + Math.min(rows, N - t) + 2 * N * d;
          return words;
        },
      },
    ],
  },
  '5.5': {
    mistakes: {
      'unknown-word': { tileKind: (...x: [Ranges, Pair, Pair]) => kindBy(nobody, everybody)(...x).replace('skipped', 'empty') },
      'never-skips': { tileKind: kindBy(() => false, everybody) },
      'never-full': { tileKind: kindBy(nobody, () => false) },
      'overlap-is-full': { tileKind: kindBy(nobody, () => true) },
      'first-query-only': {
        tileKind: kindBy(
          (rows, keys) => nobody(rows.slice(0, 1), keys),
          (rows, keys) => everybody(rows.slice(0, 1), keys),
        ),
      },
      'last-query-only': {
        tileKind: kindBy(
          (rows, keys) => nobody(rows.slice(-1), keys),
          (rows, keys) => everybody(rows.slice(-1), keys),
        ),
      },
      'ends-included': {
        tileKind: (ranges: Ranges, queries: Pair, [u, end]: Pair) => {
          const [first, last] = [ranges[queries[0]]!, ranges[queries[1] - 1]!];
          if (last[1] < u || first[0] > end - 1) return 'skipped';
          return last[0] <= u && end - 1 <= first[1] ? 'full' : 'partial';
        },
      },
    },
    right: [
      { tileKind: kindBy(nobody, everybody) },
      {
        tileKind: (ranges: Ranges, [t, tEnd]: Pair, [u, uEnd]: Pair) => {
          let seen = 0;
          for (let query = t; query < tEnd; query++) {
            const [from, to] = ranges[query]!;
            for (let key = u; key < uEnd; key++) if (from <= key && key < to) seen++;
          }
          return seen === 0 ? 'skipped' : seen === (tEnd - t) * (uEnd - u) ? 'full' : 'partial';
        },
      },
    ],
  },
  '5.6': {
    mistakes: {
      'log-sum-exp-ignored': { flashBackward: backwardWith({ P: (scores) => scores.exp() }) },
      'mask-ignored': { flashBackward: backwardWith({ masked: false }) },
      'aligned-at-the-start': { flashBackward: backwardWith({ corner: (t, u) => [t, u] }) },
      'd-missing': { flashBackward: backwardWith({ dS: (p, dP) => p.mul(dP) }) },
      'd-of-the-output-gradient': { flashBackward: backwardWith({ D: (dO) => dO.sum(3, true) }) },
      'p-missing': { flashBackward: backwardWith({ dS: (_, dP, d) => dP.sub(d) }) },
      'scale-missing': { flashBackward: backwardWith({ back: () => 1 }) },
      'only-the-last-tile-of-queries': { flashBackward: backwardWith({ collect: theLast }) },
      'only-the-last-tile-of-keys': { flashBackward: backwardWith({ collectQueries: theLast }) },
      'writes-the-whole-matrix': { flashBackward: throughTheTape },
      'calls-the-library': {
        flashBackward: (q: T4, k: T4, v: T4, { outputGradient }: Saved, { causal = false }: Tiles = {}) => {
          const through = (a: tf.Tensor, b: tf.Tensor, c: tf.Tensor) => attention(a as T4, b as T4, c as T4, { causal });
          const [dq, dk, dv] = tf.grads(through)([q, k, v], outputGradient);
          return { dq, dk, dv };
        },
      },
    },
    right: [
      { flashBackward: backwardWith({}) },
      {
        // Queries outside, keys inside, D from the output times its gradient by a product of matrices.
        flashBackward: backwardWith({
          D: (dO, o) => tf.matMul(dO.mul(o), tf.ones([...dO.shape.slice(0, 2), dO.shape[3]!, 1])),
          P: (scores, L) => tf.div(scores.exp(), L.exp()),
          dS: (p, dP, d) => p.mul(dP).sub(p.mul(d)),
        }),
      },
    ],
  },
  '5.7': {
    mistakes: {
      'output-not-rescaled': absorb(`${start} l = l * kept + weight; ${add.replace('o[d] * kept', 'o[d]')} m = next;`),
      'sum-not-rescaled': absorb(`${start} l += weight; ${add} m = next;`),
      'nothing-rescaled': absorb(
        `m = max(m, score); let kept = exp(m - m); let weight = exp(score - m); l = l * kept + weight; ${add}`,
      ),
      'maximum-not-kept': absorb(`${start} l = l * kept + weight; ${add}`),
      'always-the-first-value': absorb(`${start} l = l * kept + weight; ${add.replace('key * S4 + d', 'd')} m = next;`),
      'values-not-added': absorb(`${start} l = l * kept + weight; for (var d = 0u; d < S4; d++) { o[d] *= kept; } m = next;`),
      overflow: absorb(
        `let old = select(exp(m), 0.0, m < -1.0e29); m = max(m, score); let kept = old / exp(m); let weight = ` +
          `exp(score) / exp(m);
        l = l * kept + weight; ${add}`,
      ),
      'does-not-compile': absorb(`${start} l = l * kept + weight ${add} m = next;`),
      'no-function': { absorbKey: () => 'let next = max(m, score);' },
    },
    right: [
      absorb(`if (score > m) {
        let kept = exp(m - score);
        l *= kept;
        for (var d = 0u; d < S4; d++) { o[d] *= kept; }
        m = score;
      }
      let weight = exp(score - m);
      l += weight;
      for (var d = 0u; d < S4; d++) { o[d] += weight * valueTile[key * S4 + d]; }`),
      {
        absorbKey: () => `
          fn shrink(before: f32, after: f32) -> f32 { return exp(before - after); }
          fn absorb(score: f32, key: u32) {
            let largest = max(m, score);
            let factors = vec2<f32>(shrink(m, largest), shrink(score, largest));
            l = dot(factors, vec2<f32>(l, 1.0));
            for (var d = 0u; d < S4; d++) { o[d] = mat2x4<f32>(o[d], valueTile[key * S4 + d]) * factors; }
            m = largest;
          }`,
      },
    ],
  },
} satisfies ChapterMistakes;
