/**
 * @file How likely a model finds each token of a completion, without the logits [B, T, V] of all tokens: rows that count for
 * nothing are left out, and of the others some at a time are computed, and computed again on the way back.
 *
 * Shapes: B sequences, T tokens, N targets that count, D width, V vocabulary.
 */
import { tf, type Tensor1D, type Tensor2D, type Tensor3D } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import type { Batch } from '../data/index.ts';
import type { Transformer } from '../model/index.ts';
import { checkpoint } from '../nn/index.ts';
import { crossEntropy } from '../ops/index.ts';
import { IGNORED } from './completions.ts';

/** Logits that are held at once, one row's at least. */
const LOGITS_AT_ONCE = 1 << 22;

/** The targets that count, row after row: where they stand and what they are. */
export interface CountedTargets {
  /** [N]: into [B·T] */
  readonly positions: Int32Array;
  /** [N] */
  readonly ids: Int32Array;
  /** [N]: to which sequence each belongs. */
  readonly rows: Int32Array;
  readonly batchSize: number;
}

export function countedTargets({ targets, batchSize, contextLength }: Batch): CountedTargets {
  const positions = Int32Array.from([...targets.keys()].filter((i) => targets[i] !== IGNORED));
  return {
    positions,
    ids: positions.map((i) => targets[i]!),
    rows: positions.map((i) => Math.floor(i / contextLength)),
    batchSize,
  };
}

/** The normed residual stream that the head reads: [B, T, D]. */
export function readBatch(model: Transformer, { inputs, batchSize, contextLength }: Batch): Tensor3D {
  return tf.tidy(() => {
    const tokens = tf.tensor2d(inputs, [batchSize, contextLength], 'int32');
    return model.finalNorm.forward(model.transform(model.embed(tokens)));
  });
}

export interface LogProbabilityOptions {
  /** Divides the logits, as in sampling (default 1). */
  readonly temperature?: number;
  /** Give the entropy of each distribution, too (default false). */
  readonly entropy?: boolean;
}

export interface TokenLogProbabilities {
  /** [N], nats: log p(token | what stands before it). */
  readonly logProbabilities: Tensor1D;
  /** [N], nats, if it was asked for. */
  readonly entropy?: Tensor1D;
}

/** @returns of every target that counts, in the order of `countedTargets` */
export function tokenLogProbabilities(
  model: Transformer,
  hidden: Tensor3D,
  { positions, ids }: CountedTargets,
  { temperature = 1, entropy = false }: LogProbabilityOptions = {},
): TokenLogProbabilities {
  invariant(temperature > 0, `tokenLogProbabilities: temperature must be positive, got ${temperature}`);
  invariant(positions.length > 0, 'tokenLogProbabilities: no target counts');
  const width = hidden.shape[2];
  const step = Math.max(1, Math.floor(LOGITS_AT_ONCE / model.config.vocabSize));
  const rows = tf.gather(tf.reshape(hidden, [-1, width]), tf.tensor1d(positions, 'int32')) as Tensor2D; // [N, D]
  const found: Tensor2D[] = [];
  for (let start = 0; start < positions.length; start += step) {
    const chosen = ids.subarray(start, start + step);
    const part = tf.slice(rows, [start, 0], [chosen.length, width]);
    const judge = (x: Tensor2D): Tensor2D => {
      const targets = tf.tensor1d(chosen, 'int32');
      const logits = tf.mul<Tensor2D>(model.project(x), 1 / temperature);
      const likely = tf.neg(crossEntropy<Tensor1D>(logits, targets, { reduction: 'none' }));
      return tf.stack(entropy ? [likely, entropyOf(logits)] : [likely]) as Tensor2D; // [1 or 2, n]
    };
    found.push(checkpoint(judge, [part]));
  }
  const all = tf.concat(found, 1);
  // Not unstack, whose gradient wants that of every part.
  const part = (row: number): Tensor1D => tf.reshape(tf.slice(all, [row, 0], [1, positions.length]), [-1]);
  return { logProbabilities: part(0), ...(entropy && { entropy: part(1) }) };
}

/** log Σ exp(z) − Σ p z: [n, V] → [n]. */
function entropyOf(logits: Tensor2D): Tensor1D {
  const logP = tf.logSoftmax(logits);
  return tf.neg(tf.sum(tf.mul(tf.exp(logP), logP), -1));
}

/** The sums over each sequence: [N] → [B]. */
export function sequenceSums(values: Tensor1D, { rows, batchSize }: CountedTargets): Tensor1D {
  return tf.tidy(() => {
    // A product with a matrix of ones and zeros, [B, N]: it has a gradient everywhere and the same order of summation.
    const belongs = new Float32Array(batchSize * rows.length);
    for (const [i, row] of rows.entries()) belongs[row * rows.length + i] = 1;
    return tf.reshape(tf.matMul(tf.tensor2d(belongs, [batchSize, rows.length]), tf.reshape(values, [-1, 1])), [batchSize]);
  });
}
