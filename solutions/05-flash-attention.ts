/**
 * @file Reference answers of chapter 05, FlashAttention: exact attention that never holds the matrix of weights.
 * Milakov and Gimelshein 2018 (online softmax), Dao et al. 2022 (FlashAttention), Dao 2023 (FlashAttention-2).
 *
 * Shapes: B batch, H heads, T queries, U keys, S head size.
 */
import { tf } from 'lab';

// #region 5.1 online softmax
/**
 * Takes some more scores of a row into account.
 *
 * @param state m, the largest score so far (-Infinity before the first), and l = Σ exp(score - m); not changed
 * @param scores some more of them; -Infinity where a key is hidden
 * @returns the new m and l
 */
export function updateSoftmax(state: { m: number; l: number }, scores: number[]): { m: number; l: number } {
  const m = Math.max(state.m, ...scores);
  if (m === -Infinity) return state; // nothing but hidden keys so far
  let l = state.l * Math.exp(state.m - m); // what was summed relative to the old maximum
  for (const score of scores) l += Math.exp(score - m);
  return { m, l };
}
// #endregion

// #region 5.2 merging two parts
/**
 * Two answers to the same query, each found among its own keys, become the answer from all of these keys.
 *
 * @param a m the largest score, l = Σ exp(score - m), o = Σ exp(score - m) · value; a part that saw nothing has m = -Infinity,
 *   l = 0 and zeros in o
 * @param b the same of the other keys
 * @returns the same of both
 */
export function mergePartials(
  a: { m: number; l: number; o: number[] },
  b: { m: number; l: number; o: number[] },
): { m: number; l: number; o: number[] } {
  if (a.m === -Infinity) return b;
  const m = Math.max(a.m, b.m);
  const ofA = Math.exp(a.m - m);
  const ofB = Math.exp(b.m - m);
  return { m, l: a.l * ofA + b.l * ofB, o: a.o.map((x, i) => x * ofA + b.o[i]! * ofB) };
}
// #endregion

// #region 5.3 flash attention, forward
/**
 * softmax(q kᵀ / √S + mask) v, tile by tile: at no time is there a tensor of T · U numbers.
 *
 * @param q [B, H, T, S]
 * @param k [B, H, U, S]
 * @param v [B, H, U, S]
 * @param options causal: hide the future; the last query stands at the last key, and there are at least as many keys as queries
 * @returns output [B, H, T, S], and logSumExp [B, H, T]: the logarithm of each row's Σ exp(score)
 */
export function flashForward(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  options: { causal?: boolean; tileQueries?: number; tileKeys?: number } = {},
): { output: tf.Tensor; logSumExp: tf.Tensor } {
  const { causal = false, tileQueries = 32, tileKeys = 32 } = options;
  const [B, H, T, S] = q.shape as [number, number, number, number];
  const U = k.shape[2]!;
  const outputs: tf.Tensor[] = [];
  const logSumExps: tf.Tensor[] = [];
  for (let t = 0; t < T; t += tileQueries) {
    const rows = Math.min(tileQueries, T - t);
    const position = U - T + t; // where the tile's first query stands among the keys
    const queries = q.slice([0, 0, t, 0], [B, H, rows, S]).div(Math.sqrt(S));
    let m: tf.Tensor = tf.zeros([B, H, rows, 1]).sub(1e30);
    let l: tf.Tensor = tf.zeros([B, H, rows, 1]);
    let o: tf.Tensor = tf.zeros([B, H, rows, S]);
    const end = causal ? position + rows : U; // no query of the tile sees further
    for (let u = 0; u < end; u += tileKeys) {
      const columns = Math.min(tileKeys, U - u);
      const keys = k.slice([0, 0, u, 0], [B, H, columns, S]);
      const values = v.slice([0, 0, u, 0], [B, H, columns, S]);
      let scores: tf.Tensor = tf.matMul(queries, keys, false, true); // [B, H, rows, columns]
      if (causal) {
        const query = tf.range(position, position + rows).expandDims(1);
        scores = scores.add(tf.where(tf.lessEqual(tf.range(u, u + columns), query), 0, -1e9));
      }
      const next = tf.maximum(m, scores.max(-1, true));
      const weights = scores.sub(next).exp();
      const rescale = m.sub(next).exp();
      l = l.mul(rescale).add(weights.sum(-1, true));
      o = o.mul(rescale).add(tf.matMul(weights, values));
      m = next;
    }
    outputs.push(o.div(l));
    logSumExps.push(m.add(l.log()).squeeze([3]));
  }
  return { output: tf.concat(outputs, 2), logSumExp: tf.concat(logSumExps, 2) };
}
// #endregion

// #region 5.4 counting what is moved
/**
 * Words that plain attention moves between slow and fast memory for one head of N tokens: S = Q Kᵀ, P = softmax(S) and O = P V
 * are three steps, each of which reads its inputs from slow memory and writes its result there.
 */
export function plainWords(tokens: number, headSize: number): number {
  const [N, d] = [tokens, headSize];
  const scores = 2 * N * d + N * N;
  const softmax = 2 * N * N;
  const output = N * N + N * d + N * d;
  return scores + softmax + output;
}

/**
 * The same for FlashAttention with a fast memory of M words. Tiles of Q, K, V and O, all of as many rows, share it:
 * ⌊M / 4d⌋ rows each, at least one. For every tile of queries: read it, read all of K and V, write its output and its
 * log-sum-exp.
 */
export function flashWords(tokens: number, headSize: number, memory: number): number {
  const [N, d] = [tokens, headSize];
  const rows = Math.max(1, Math.floor(memory / (4 * d)));
  const tiles = Math.ceil(N / rows);
  return N * d + tiles * 2 * N * d + N * d + N;
}
// #endregion

// #region 5.5 which tiles
/**
 * What has to be done with a tile of scores: nothing, all of it, or all of it and then hide some.
 *
 * @param ranges for each query t the keys that it sees: ranges[t][0] ≤ u < ranges[t][1] (none when both are equal); from one
 *   query to the next neither end ever moves back
 * @param queries the tile holds the queries queries[0] ≤ t < queries[1]
 * @param keys and the keys keys[0] ≤ u < keys[1]
 */
export function tileKind(
  ranges: [number, number][],
  queries: [number, number],
  keys: [number, number],
): 'skipped' | 'partial' | 'full' {
  const [earliest, earliestEnd] = ranges[queries[0]]!; // of the tile's first query
  const [latest, latestEnd] = ranges[queries[1] - 1]!; // of its last
  if (latestEnd <= keys[0] || keys[1] <= earliest) return 'skipped';
  return latest <= keys[0] && keys[1] <= earliestEnd ? 'full' : 'partial';
}
// #endregion

// #region 5.6 flash attention, backward
/**
 * The gradients of attention, tile by tile, from what the forward pass kept.
 *
 * @param q [B, H, T, S]
 * @param k [B, H, U, S]
 * @param v [B, H, U, S]
 * @param saved output [B, H, T, S] and logSumExp [B, H, T] of the forward pass, and outputGradient [B, H, T, S], the
 *   gradient that came back to the output
 * @param options as in the forward pass
 * @returns dq, dk, dv in the shapes of q, k, v
 */
export function flashBackward(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  saved: { output: tf.Tensor; logSumExp: tf.Tensor; outputGradient: tf.Tensor },
  options: { causal?: boolean; tileQueries?: number; tileKeys?: number } = {},
): { dq: tf.Tensor; dk: tf.Tensor; dv: tf.Tensor } {
  const { causal = false, tileQueries = 32, tileKeys = 32 } = options;
  const [B, H, T, S] = q.shape as [number, number, number, number];
  const U = k.shape[2]!;
  const D = saved.outputGradient.mul(saved.output).sum(-1, true); // [B, H, T, 1]
  const L = saved.logSumExp.expandDims(3); // [B, H, T, 1]
  const rowsOf = (x: tf.Tensor, from: number, rows: number) => x.slice([0, 0, from, 0], [B, H, rows, x.shape[3]!]);
  const dq: tf.Tensor[] = [];
  const dk: tf.Tensor[] = [];
  const dv: tf.Tensor[] = [];
  for (let u = 0; u < U; u += tileKeys) {
    const columns = Math.min(tileKeys, U - u);
    const keys = rowsOf(k, u, columns);
    const values = rowsOf(v, u, columns);
    let keyGradient: tf.Tensor = tf.zerosLike(keys);
    let valueGradient: tf.Tensor = tf.zerosLike(values);
    for (let t = 0, tile = 0; t < T; t += tileQueries, tile++) {
      const rows = Math.min(tileQueries, T - t);
      const queries = rowsOf(q, t, rows);
      const dO = rowsOf(saved.outputGradient, t, rows);
      let scores: tf.Tensor = tf.matMul(queries, keys, false, true).div(Math.sqrt(S));
      if (causal) {
        const query = tf.range(U - T + t, U - T + t + rows).expandDims(1);
        scores = scores.add(tf.where(tf.lessEqual(tf.range(u, u + columns), query), 0, -1e9));
      }
      const P = scores.sub(rowsOf(L, t, rows)).exp(); // computed again, not remembered
      const dP = tf.matMul(dO, values, false, true);
      const dS = P.mul(dP.sub(rowsOf(D, t, rows))).div(Math.sqrt(S));
      valueGradient = valueGradient.add(tf.matMul(P, dO, true, false));
      keyGradient = keyGradient.add(tf.matMul(dS, queries, true, false));
      const queryGradient = tf.matMul(dS, keys);
      dq[tile] = dq[tile]?.add(queryGradient) ?? queryGradient;
    }
    dk.push(keyGradient);
    dv.push(valueGradient);
  }
  return { dq: tf.concat(dq, 2), dk: tf.concat(dk, 2), dv: tf.concat(dv, 2) };
}
// #endregion

// #region 5.7 on the GPU
/**
 * The WGSL of `fn absorb(score: f32, key: u32)`: takes one more key into m (the largest score so far), l (Σ exp(score - m)) and
 * o (Σ exp(score - m) · value, an array of S4 fours of numbers). The key's value is valueTile[key * S4 + d] for d = 0 … S4 - 1.
 */
export function absorbKey(): string {
  return `
fn absorb(score: f32, key: u32) {
  let next = max(m, score);
  let rescale = exp(m - next);
  let weight = exp(score - next);
  l = l * rescale + weight;
  for (var d = 0u; d < S4; d++) {
    o[d] = o[d] * rescale + weight * valueTile[key * S4 + d];
  }
  m = next;
}`;
}
// #endregion
