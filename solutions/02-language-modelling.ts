/**
 * @file Chapter 02, language modelling: the reference answer of every exercise.
 *
 * Shapes: N predictions, B batch, T tokens, V vocabulary.
 */
import { tf } from 'lab';

// #region 2.1 counts with smoothing
/**
 * How often each token follows each other one.
 *
 * @param ids the text as token ids, 0 … vocabSize − 1
 * @returns [V, V]: row = a token, column = the token after it
 */
export function bigramCounts(ids: ArrayLike<number>, vocabSize: number): number[][] {
  const counts = Array.from({ length: vocabSize }, () => Array.from({ length: vocabSize }, () => 0));
  for (let i = 0; i + 1 < ids.length; i++) counts[ids[i]!]![ids[i + 1]!]! += 1;
  return counts;
}

/**
 * Counts as probabilities with add-k smoothing: (count + k) / (all counts of the row + k · V).
 *
 * @param counts [V, V]; not changed
 * @param k what is added to every count, 0 or more
 * @returns [V, V], every row sums to 1; a row without any count is uniform, also when k is 0
 */
export function smooth(counts: number[][], k: number): number[][] {
  return counts.map((row) => {
    const total = row.reduce((sum, count) => sum + count, 0) + k * row.length;
    return row.map((count) => (total === 0 ? 1 / row.length : (count + k) / total));
  });
}
// #endregion

// #region 2.2 log-softmax
/**
 * log(softmax(logits)) over the last axis, finite for finite logits of any size: x − max − log Σ exp(x − max).
 *
 * @param logits [..., V]
 * @returns log-probabilities, the shape of the logits
 */
export function logSoftmax(logits: tf.Tensor): tf.Tensor {
  const shifted = logits.sub(logits.max(-1, true)); // the largest of each row is 0 now
  return shifted.sub(shifted.exp().sum(-1, true).log());
}
// #endregion

// #region 2.3 cross-entropy and perplexity
/**
 * How surprised a model is by what really came next: the mean of −log p(target), in nats per token.
 *
 * @param logits [..., V]
 * @param targets [...] int32: the id of the right token for each row of logits
 * @returns a scalar
 */
export function crossEntropy(logits: tf.Tensor, targets: tf.Tensor): tf.Scalar {
  const chosen = tf.oneHot(targets as tf.Tensor1D, logits.shape.at(-1)!); // [..., V]: 1 at the target
  return logSoftmax(logits).mul(chosen).sum().div(-targets.size);
}

/**
 * e to the mean surprise: among how many equally likely tokens the model wavers.
 *
 * @param nats −log p of each token of a text
 */
export function perplexity(nats: ArrayLike<number>): number {
  const total = Array.from(nats).reduce((sum, surprise) => sum + surprise, 0);
  return Math.exp(total / nats.length);
}

/**
 * The surprise of a whole text in bits, shared out over its characters: comparable whatever the tokens are.
 *
 * @param nats −log p of each token of a text
 * @param characters how many characters these tokens spell
 */
export function bitsPerCharacter(nats: ArrayLike<number>, characters: number): number {
  const total = Array.from(nats).reduce((sum, surprise) => sum + surprise, 0);
  return total / Math.LN2 / characters;
}
// #endregion

// #region 2.4 its gradient
/**
 * The gradient of the cross-entropy (the mean over N tokens) for the logits, without automatic differentiation.
 *
 * @param logits [N, V]
 * @param targets [N] int32
 * @returns (softmax − one-hot) / N, [N, V]
 */
export function crossEntropyGradient(logits: tf.Tensor2D, targets: tf.Tensor1D): tf.Tensor2D {
  const [N, V] = logits.shape;
  const probabilities = logSoftmax(logits).exp();
  return probabilities.sub(tf.oneHot(targets, V)).div(N);
}
// #endregion

// #region 2.5 a step with momentum
/**
 * One step of gradient descent with momentum (Polyak 1964), in PyTorch's form.
 *
 * @param parameter any shape; gradient and velocity have the same
 * @param velocity what the last step returned; zeros before the first
 * @returns velocity ← momentum · velocity + gradient; parameter ← parameter − learningRate · velocity
 */
export function sgdStep(
  parameter: tf.Tensor,
  gradient: tf.Tensor,
  velocity: tf.Tensor,
  options: { learningRate: number; momentum: number },
): { parameter: tf.Tensor; velocity: tf.Tensor } {
  const moved = velocity.mul(options.momentum).add(gradient);
  return { parameter: parameter.sub(moved.mul(options.learningRate)), velocity: moved };
}
// #endregion

// #region 2.6 batches
/**
 * Windows that begin anywhere in the text: inputs, and as targets the same text one token later.
 *
 * @param ids the text
 * @param random gives uniform numbers in [0, 1); called once for each row, in order. A window starts at
 *   floor(random() · number of possible starts), and every window that fits with its last target is possible
 * @returns inputs and targets, each batchSize rows of contextLength ids
 */
export function randomBatch(
  ids: Int32Array,
  options: { batchSize: number; contextLength: number },
  random: () => number,
): { inputs: number[][]; targets: number[][] } {
  const { batchSize, contextLength } = options;
  const starts = Array.from({ length: batchSize }, () => Math.floor(random() * (ids.length - contextLength)));
  return {
    inputs: starts.map((start) => Array.from(ids.slice(start, start + contextLength))),
    targets: starts.map((start) => Array.from(ids.slice(start + 1, start + 1 + contextLength))),
  };
}
// #endregion

// #region 2.7 a neural bigram
/**
 * Gradient descent on the mean cross-entropy of all bigrams, for a model that is one table of logits:
 * p(next | token) = softmax of the token's row. The whole text enters through its counts.
 *
 * @param logits [V, V], where to start; not changed
 * @param counts [V, V]: row = a token, column = the token after it
 * @returns the table after so many steps, [V, V]
 */
export function trainBigram(
  logits: number[][],
  counts: number[][],
  options: { steps: number; learningRate: number },
): number[][] {
  const { steps, learningRate } = options;
  const totals = counts.map((row) => row.reduce((sum, count) => sum + count, 0));
  const N = totals.reduce((sum, total) => sum + total, 0);
  const table = logits.map((row) => [...row]);
  for (let step = 0; step < steps; step++) {
    for (const [token, row] of table.entries()) {
      const largest = Math.max(...row);
      const weights = row.map((logit) => Math.exp(logit - largest));
      const sum = weights.reduce((a, b) => a + b, 0);
      for (let next = 0; next < row.length; next++) {
        const gradient = (totals[token]! * (weights[next]! / sum) - counts[token]![next]!) / N;
        row[next]! -= learningRate * gradient;
      }
    }
  }
  return table;
}
// #endregion
