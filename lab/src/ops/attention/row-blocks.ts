/**
 * @file Attention block by block in plain tensor operations, for backends whose products are fast but which take no kernels of
 * ours: some queries at a time against the keys that they see, so that memory grows with the length and not with its square.
 * Rabe and Staats 2021, section 3; the backward pass as in Dao et al. 2022, algorithm 4.
 *
 * Shapes: B batch, H heads, K key/value heads, T queries, U keys, S head size; t and u those of a block.
 */
import { tf, type Tensor, type Tensor4D } from '../../backend/index.ts';
import { dropoutThreshold, rowHash, weightHash } from './dropout.ts';
import type { AttentionGradientInputs, AttentionInputs, AttentionKernel } from './kernel.ts';
import { HIDDEN_BELOW, type AttentionProblem } from './problem.ts';

export interface RowBlockOptions {
  /** What has fewer scores than this is left to the plain path, which keeps them and is faster (default 0). */
  readonly leastScores?: number;
  /** The most scores of one block (default 4 million: 16 MiB). */
  readonly blockScores?: number;
}

/** Some queries, and the keys that any of them sees. */
interface Block {
  readonly start: number;
  readonly t: number;
  readonly firstKey: number;
  readonly u: number;
}

/** What a block's scores are made of, as the backward pass needs it again. */
interface Scores {
  /** [B, H, t, u]; hidden ones at HIDDEN_BELOW or under */
  readonly scores: Tensor4D;
  /** How the scores change with q · k: the soft cap's derivative, or null for 1. */
  readonly slope: Tensor4D | null;
}

export class RowBlockAttention implements AttentionKernel {
  readonly #leastScores: number;
  readonly #blockScores: number;

  constructor({ leastScores = 0, blockScores = 2 ** 22 }: RowBlockOptions = {}) {
    this.#leastScores = leastScores;
    this.#blockScores = blockScores;
  }

  takes({ batch, heads, queries, keys }: AttentionProblem): boolean {
    return batch * heads * queries * keys >= this.#leastScores;
  }

  forward(problem: AttentionProblem, inputs: AttentionInputs): [Tensor, Tensor] {
    const parts = this.#blocks(problem).map((block) => tf.tidy(() => attendBlock(problem, inputs, block)));
    return tf.tidy(() => [tf.concat(parts.map(([output]) => output), 2), tf.concat(parts.map(([, L]) => L), 2)]);
  }

  backward(problem: AttentionProblem, inputs: AttentionGradientInputs): [Tensor, Tensor, Tensor] {
    const [dq, dk, dv] = tf.tidy(() => {
      const ofQueries: Tensor[] = [];
      let ofKeys: [Tensor, Tensor] = [tf.zeros(inputs.k.shape), tf.zeros(inputs.v.shape)];
      for (const block of this.#blocks(problem)) {
        const [dqBlock, dkBlock, dvBlock] = tf.tidy(() => differentiateBlock(problem, inputs, block));
        ofQueries.push(dqBlock);
        const sums = [dkBlock, dvBlock].map((part, i) => tf.tidy(() => tf.add(ofKeys[i]!, part)));
        tf.dispose([dkBlock, dvBlock, ...ofKeys]);
        ofKeys = sums as [Tensor, Tensor];
      }
      return [tf.concat(ofQueries, 2), ...ofKeys];
    });
    return [dq!, dk!, dv!];
  }

  biasGradient(problem: AttentionProblem, inputs: AttentionGradientInputs): Tensor {
    const shape = problem.biasShape!;
    return tf.tidy(() => {
      const parts = this.#blocks(problem).map((block) =>
        tf.tidy(() => {
          const padded = tf.pad(scoreGradient(problem, inputs, block).dScores, keyPadding(problem, block));
          const axes = [0, 1, 2, 3].filter((axis) => shape[axis] === 1);
          return tf.sum(padded, axes, true);
        }),
      );
      const whole = shape[2] === 1 ? tf.addN(parts) : tf.concat(parts, 2);
      return tf.reshape(whole, inputs.bias!.shape);
    });
  }

  /** As many queries as the scores of a block allow. Where they see nothing, one key stays, and the mask hides it. */
  #blocks({ batch, heads, queries, keys, mask }: AttentionProblem): Block[] {
    const rows = Math.max(1, Math.min(queries, Math.floor(this.#blockScores / (batch * heads * keys))));
    return Array.from({ length: Math.ceil(queries / rows) }, (_, i) => {
      const start = i * rows;
      const t = Math.min(rows, queries - start);
      let [first, end] = [keys - 1, 1];
      for (let row = 0; row < mask.rows; row++) {
        first = Math.min(first, mask.ofQueries[3 * (row * queries + start)]!);
        end = Math.max(end, mask.ofQueries[3 * (row * queries + start + t - 1) + 1]!);
      }
      const firstKey = Math.min(first, end - 1);
      return { start, t, firstKey, u: end - firstKey };
    });
  }
}

const queriesOf = (x: tf.TensorInfo, { start, t }: Block): Tensor4D => tf.slice(x as Tensor, [0, 0, start], [-1, -1, t]) as Tensor4D;
const keysOf = (x: tf.TensorInfo, { firstKey, u }: Block): Tensor4D => tf.slice(x as Tensor4D, [0, 0, firstKey], [-1, -1, u]);
const keyPadding = ({ keys }: AttentionProblem, { firstKey, u }: Block): [number, number][] => [
  [0, 0], [0, 0], [0, 0], [firstKey, keys - firstKey - u],
];

/** The query heads of one key/value head become rows of one matrix. @returns [B, K, H/K · t, ...] */
function group(x: Tensor, { batch, keyValueHeads }: AttentionProblem): Tensor4D {
  return tf.reshape(x, [batch, keyValueHeads, -1, x.shape[3]!]) as Tensor4D;
}

/** And back. @returns [B, H, t, ...] */
function ungroup(x: Tensor, { batch, heads }: AttentionProblem): Tensor4D {
  return tf.reshape(x, [batch, heads, -1, x.shape[3]!]) as Tensor4D;
}

/** The output [B, H, t, S], and log Σ exp(score) [B, H, t], 0 for a query that sees nothing. */
function attendBlock(problem: AttentionProblem, { q, k, v, bias }: AttentionInputs, block: Block): [Tensor, Tensor] {
  const { scores } = scoresOf(problem, queriesOf(q, block), keysOf(k, block), bias, block);
  const m = tf.max(scores, -1, true);
  const seesSome = tf.step(tf.sub(m, HIDDEN_BELOW));
  const exponentials = tf.exp(tf.sub(tf.maximum(scores, 2 * HIDDEN_BELOW), tf.maximum(m, HIDDEN_BELOW)));
  const l = tf.maximum(tf.sum(exponentials, -1, true), 1); // the largest is exp(0): only a query that sees nothing has less
  const used = problem.dropout ? tf.mul(exponentials, keptFactors(problem, block)) : exponentials;
  const sums = ungroup(tf.matMul(group(used, problem), keysOf(v, block)), problem);
  const logSumExp = tf.mul(seesSome, tf.add(tf.maximum(m, HIDDEN_BELOW), tf.log(l)));
  return [tf.mul(tf.div(sums, l), seesSome), tf.squeeze(logSumExp, [3])];
}

/** dS [B, H, t, u], the weights as they met the values, and what the gradients of q and k need of them. */
function scoreGradient(problem: AttentionProblem, inputs: AttentionGradientInputs, block: Block) {
  const { q, k, v, bias, output, outputGradient, logSumExp } = inputs;
  const [kBlock, dO] = [keysOf(k, block), queriesOf(outputGradient, block)];
  const { scores, slope } = scoresOf(problem, queriesOf(q, block), kBlock, bias, block);
  const L = tf.expandDims(queriesOf(logSumExp, block), 3);
  // A query that sees nothing has L = 0 and scores far below it.
  const weights = tf.exp(tf.sub(tf.maximum(scores, 2 * HIDDEN_BELOW), L));
  const kept = problem.dropout ? keptFactors(problem, block) : null;
  const dUsed = ungroup(tf.matMul(group(dO, problem), keysOf(v, block), false, true), problem);
  const dWeights = kept ? tf.mul(dUsed, kept) : dUsed;
  const D = tf.sum(tf.mul(dO, queriesOf(output, block)), -1, true);
  const dScores = tf.mul(weights, tf.sub(dWeights, D));
  return { dScores, dProducts: slope ? tf.mul(dScores, slope) : dScores, used: kept ? tf.mul(weights, kept) : weights, kBlock, dO };
}

/** dq of the block [B, H, t, S], and what it adds to dk and dv, both [B, K, U, S]. */
function differentiateBlock(problem: AttentionProblem, inputs: AttentionGradientInputs, block: Block): [Tensor, Tensor, Tensor] {
  const { dProducts, used, kBlock, dO } = scoreGradient(problem, inputs, block);
  const [grouped, q] = [group(tf.mul(dProducts, problem.scale), problem), group(queriesOf(inputs.q, block), problem)];
  const dq = ungroup(tf.matMul(grouped, kBlock), problem);
  const dk = tf.matMul(grouped, q, true, false);
  const dv = tf.matMul(group(used, problem), group(dO, problem), true, false);
  const { firstKey, u } = block;
  const padding: [number, number][] = [[0, 0], [0, 0], [firstKey, problem.keys - firstKey - u], [0, 0]];
  return [dq, tf.pad(dk, padding), tf.pad(dv, padding)];
}

/** Scaled, capped, ALiBi, bias, mask: in this order. @param q [B, H, t, S] @param k [B, K, u, S] */
function scoresOf(problem: AttentionProblem, q: Tensor4D, k: Tensor4D, bias: tf.TensorInfo | undefined, block: Block): Scores {
  const { scale, softCap, slopes } = problem;
  const products = ungroup(tf.matMul(group(tf.mul(q, scale), problem), k, false, true), problem);
  const bent = softCap > 0 ? tf.tanh(tf.div(products, softCap)) : null;
  let scores: Tensor = bent ? tf.mul(bent, softCap) : products;
  if (slopes) scores = tf.sub(scores, tf.mul(tf.reshape(slopes, [1, -1, 1, 1]), distances(problem, block)));
  if (bias) scores = tf.add(scores, biasBlock(problem, bias, block));
  const mask = maskBlock(problem, block);
  if (mask) scores = tf.add(scores, mask);
  return { scores: scores as Tensor4D, slope: bent && tf.sub<Tensor4D>(1, tf.square(bent)) };
}

/** Calls back for each query of the block in each row of the mask, with the query's range and the place of its first score. */
function eachQuery({ mask }: AttentionProblem, { start, t, u }: Block, visit: (range: Int32Array, query: number, at: number) => void): void {
  for (let row = 0; row < mask.rows; row++) {
    for (let i = 0; i < t; i++) {
      const at = 3 * (row * mask.queries + start + i);
      visit(mask.ofQueries.subarray(at, at + 3), start + i, (row * t + i) * u);
    }
  }
}

/** 0 where a query sees a key, far below everything where not; null where all see all. @returns [rows, 1, t, u] */
function maskBlock(problem: AttentionProblem, block: Block): Tensor4D | null {
  const { t, u, firstKey } = block;
  const { rows } = problem.mask;
  const values = new Float32Array(rows * t * u);
  let hides = false;
  eachQuery(problem, block, ([from, to], _, at) => {
    if (from! <= firstKey && firstKey + u <= to!) return;
    hides = true;
    values.fill(2 * HIDDEN_BELOW, at, at + u);
    values.fill(0, at + from! - firstKey, at + Math.max(from!, to!) - firstKey);
  });
  return hides ? tf.tensor4d(values, [rows, 1, t, u]) : null;
}

/** How far each query's own place is from each key. @returns [rows, 1, t, u] */
function distances(problem: AttentionProblem, block: Block): Tensor4D {
  const { t, u, firstKey } = block;
  const values = new Float32Array(problem.mask.rows * t * u);
  eachQuery(problem, block, ([, , offset], query, at) => {
    for (let key = 0; key < u; key++) values[at + key] = Math.abs(query + offset! - firstKey - key);
  });
  return tf.tensor4d(values, [problem.mask.rows, 1, t, u]);
}

function biasBlock({ biasShape }: AttentionProblem, bias: tf.TensorInfo, { start, t, firstKey, u }: Block): Tensor {
  const [b, h, queries, keys] = biasShape!;
  const from = [0, 0, queries === 1 ? 0 : start, keys === 1 ? 0 : firstKey];
  return tf.slice(tf.reshape(bias as Tensor, [b, h, queries, keys]), from, [b, h, queries === 1 ? 1 : t, keys === 1 ? 1 : u]);
}

/** The block's part of `dropoutFactors`. @returns [B, H, t, u] */
function keptFactors({ batch, heads, dropout }: AttentionProblem, { start, t, firstKey, u }: Block): Tensor4D {
  const { rate, seed } = dropout!;
  const [threshold, kept] = [dropoutThreshold(rate), 1 / (1 - rate)];
  const values = new Float32Array(batch * heads * t * u);
  for (let row = 0; row < batch * heads * t; row++) {
    const hash = rowHash(seed, Math.floor(row / t), start + (row % t));
    for (let key = 0; key < u; key++) values[row * u + key] = weightHash(hash, firstKey + key) >= threshold ? kept : 0;
  }
  return tf.tensor4d(values, [batch, heads, t, u]);
}
