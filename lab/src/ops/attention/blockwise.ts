/**
 * @file FlashAttention in plain tensor operations: tile by tile, never a matrix [T, U], on every backend. Dao 2023,
 * algorithms 1 and 2. Slower than a kernel, since every tile is a dozen operations, but its memory is linear in the length.
 *
 * Shapes: B batch, H heads, T queries, U keys, S head size.
 */
import { tf, type Tensor, type Tensor2D, type Tensor3D, type Tensor4D } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { tileKind, visibility, type MaskRule, type Visibility } from './mask-rule.ts';
import { HIDDEN_BELOW } from './problem.ts';

export interface BlockwiseOptions extends MaskRule {
  /** Multiplies the scores; 1/√S unless told. */
  readonly scale?: number;
  /** Queries in a tile (default 128). */
  readonly tileQueries?: number;
  /** Keys in a tile (default 128). */
  readonly tileKeys?: number;
}

export interface BlockwiseOutput {
  /** [B, H, T, S]; 0 for a query that sees no key */
  readonly output: Tensor4D;
  /** [B, H, T]: log Σ exp(score) */
  readonly logSumExp: Tensor3D;
}

/** Stands for minus infinity, whose difference from itself would not be a number. */
const LOWEST = HIDDEN_BELOW;

type Range = readonly [number, number];

/** The problem of all tiles. */
interface Tiling {
  readonly mask: Visibility;
  readonly scale: number;
  readonly queries: readonly Range[];
  readonly keys: readonly Range[];
}

function tilingOf(q: Tensor4D, k: Tensor4D, options: BlockwiseOptions): Tiling {
  const [, heads, T, S] = q.shape;
  const [, keyHeads, U] = k.shape;
  const { scale = 1 / Math.sqrt(S), tileQueries = 128, tileKeys = 128, ...rule } = options;
  const text = () => `blockwise attention: query has ${heads} heads but key has ${keyHeads}; repeat them first`;
  invariant(heads === keyHeads, text);
  const mask = visibility(rule, T, U);
  const cuts = (length: number, tile: number): Range[] =>
    Array.from({ length: Math.ceil(length / tile) }, (_, i) => [i * tile, Math.min(length, (i + 1) * tile)]);
  return { mask, scale, queries: cuts(T, tileQueries), keys: cuts(U, tileKeys) };
}

/** Rows `from` … `to` − 1 of every head. */
function rowsOf<T extends Tensor>(x: T, [from, to]: Range): T {
  const begin = x.shape.map((_, axis) => (axis === 2 ? from : 0));
  const size = x.shape.map((length, axis) => (axis === 2 ? to - from : length));
  return tf.slice(x, begin, size) as T;
}

/** 1 where a query of the tile sees a key of it. */
function visibleTile({ queries, ofQueries }: Visibility, [t, tEnd]: Range, [u, uEnd]: Range): Tensor2D {
  const width = uEnd - u;
  const values = new Float32Array((tEnd - t) * width);
  for (let row = t; row < Math.min(tEnd, queries); row++) {
    const [from, to] = ofQueries.subarray(3 * row);
    const clip = (x: number): number => (row - t) * width + Math.min(Math.max(x - u, 0), width);
    values.fill(1, clip(from!), clip(to!));
  }
  return tf.tensor2d(values, [tEnd - t, width]);
}

/** The scores of a tile, hidden ones far below all others. Undefined when nobody sees anything in it. */
function scoresOf(q: Tensor4D, k: Tensor4D, { mask, scale }: Tiling, t: Range, u: Range): Tensor4D | undefined {
  const kind = tileKind(mask, 0, t, u);
  if (kind === 'skipped') return undefined;
  const scores = tf.mul<Tensor4D>(tf.matMul(rowsOf(q, t), rowsOf(k, u), false, true), scale);
  return kind === 'full' ? scores : tf.where(tf.greater(visibleTile(mask, t, u), 0), scores, LOWEST);
}

/** exp(scores − base), and 0 for hidden ones. */
function weightsOf(scores: Tensor4D, base: Tensor4D): Tensor4D {
  return tf.mul(tf.exp(tf.sub(scores, base)), tf.cast(tf.greater(scores, LOWEST), 'float32'));
}

/**
 * softmax(q kᵀ · scale + mask) v, and what the backward pass needs.
 *
 * @param q [B, H, T, S]
 * @param k [B, H, U, S]
 * @param v [B, H, U, S]
 */
export function blockwiseForward(q: Tensor4D, k: Tensor4D, v: Tensor4D, options: BlockwiseOptions = {}): BlockwiseOutput {
  const tiling = tilingOf(q, k, options);
  return tf.tidy(() => {
    const rows = tiling.queries.map((t) => tf.tidy(() => forwardRows(q, k, v, tiling, t)));
    return {
      output: tf.concat(
        rows.map(({ output }) => output),
        2,
      ),
      logSumExp: tf.concat(
        rows.map(({ logSumExp }) => logSumExp),
        2,
      ),
    } as Rows;
  });
}

type Rows = BlockwiseOutput & Record<string, Tensor>;

function forwardRows(q: Tensor4D, k: Tensor4D, v: Tensor4D, tiling: Tiling, t: Range): Rows {
  const [batch, heads, , S] = q.shape;
  const rows = t[1] - t[0];
  let m = tf.add<Tensor4D>(tf.zeros([batch, heads, rows, 1]), LOWEST);
  let l = tf.zeros<tf.Rank.R4>([batch, heads, rows, 1]);
  let o = tf.zeros<tf.Rank.R4>([batch, heads, rows, S]);
  for (const u of tiling.keys) {
    const next = tf.tidy(() => {
      const scores = scoresOf(q, k, tiling, t, u);
      if (!scores) return undefined;
      const largest = tf.maximum<Tensor4D>(m, tf.max(scores, -1, true));
      const p = weightsOf(scores, largest);
      const rescale = tf.exp(tf.sub<Tensor4D>(m, largest));
      const sum = tf.add<Tensor4D>(tf.mul(l, rescale), tf.sum(p, -1, true));
      return [largest, sum, tf.add<Tensor4D>(tf.mul(o, rescale), tf.matMul(p, rowsOf(v, u)))];
    });
    if (!next) continue;
    tf.dispose([m, l, o]);
    [m, l, o] = next as [Tensor4D, Tensor4D, Tensor4D];
  }
  const sum = tf.maximum<Tensor4D>(l, tf.equal(l, 0)); // a query that saw nothing divides 0 by 1
  return { output: tf.div(o, sum), logSumExp: tf.squeeze<Tensor3D>(tf.add(m, tf.log(sum)), [3]) };
}

/** What the forward pass leaves to the backward one, besides q, k and v. */
export interface BlockwiseSaved extends BlockwiseOutput {
  /** [B, H, T, S] */
  readonly outputGradient: Tensor4D;
}

/** The gradients of q, k and v, in their shapes. The weights are computed again from the log-sum-exp, tile by tile. */
export function blockwiseBackward(
  q: Tensor4D,
  k: Tensor4D,
  v: Tensor4D,
  { output, logSumExp, outputGradient }: BlockwiseSaved,
  options: BlockwiseOptions = {},
): { dq: Tensor4D; dk: Tensor4D; dv: Tensor4D } {
  const tiling = tilingOf(q, k, options);
  return tf.tidy(() => {
    const L = tf.expandDims<Tensor4D>(logSumExp, 3); // [B, H, T, 1]
    const D = tf.sum<Tensor4D>(tf.mul(outputGradient, output), -1, true); // [B, H, T, 1]
    const ofQueries = tiling.queries.map((t) => tf.zerosLike(rowsOf(q, t)));
    const ofKeys = tiling.keys.map((u) => tf.zerosLike(rowsOf(k, u)));
    const ofValues = tiling.keys.map((u) => tf.zerosLike(rowsOf(v, u)));
    const add = (sums: Tensor4D[], i: number, x: Tensor4D): void => {
      const before = sums[i]!;
      sums[i] = tf.keep(tf.add(before, x));
      tf.dispose(before);
    };
    for (const [j, u] of tiling.keys.entries()) {
      for (const [i, t] of tiling.queries.entries()) {
        tf.tidy(() => {
          const scores = scoresOf(q, k, tiling, t, u);
          if (!scores) return;
          const p = weightsOf(scores, rowsOf(L, t));
          const dO = rowsOf(outputGradient, t);
          const dS = tf.mul<Tensor4D>(tf.mul(p, tf.sub(tf.matMul(dO, rowsOf(v, u), false, true), rowsOf(D, t))), tiling.scale);
          add(ofValues, j, tf.matMul(p, dO, true));
          add(ofKeys, j, tf.matMul(dS, rowsOf(q, t), true));
          add(ofQueries, i, tf.matMul(dS, rowsOf(k, u)));
        });
      }
    }
    const joined = (sums: Tensor4D[]): Tensor4D => {
      const all = tf.concat(sums, 2);
      tf.dispose(sums);
      return all;
    };
    return { dq: joined(ofQueries), dk: joined(ofKeys), dv: joined(ofValues) };
  });
}
