/**
 * @file Cross-entropy: how many nats the right token was worth to a model that gave it probability p: −log p.
 *
 * Shapes: V vocabulary; any leading axes, N of them multiplied.
 */
import { tf, type Tensor, type Tensor1D, type Tensor2D } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { fusedKernel } from '../fused.ts';
import { oneHotRows } from '../one-hot.ts';
import { withGradient } from '../with-gradient.ts';
import './tensorflow.ts';
import './wasm.ts';
import './webgpu.ts';

export interface CrossEntropyOptions {
  /** Targets with this value count for nothing: padding, prompts. −100 in PyTorch; none unless told. */
  readonly ignoreIndex?: number;
  /** 'mean' (over the targets that count; 0 when none does), 'sum', or 'none' for the loss of every target. */
  readonly reduction?: 'mean' | 'sum' | 'none';
}

/**
 * log Σ exp(logits) − logits[target], with the largest logit taken out first so that nothing overflows and no digits are lost.
 *
 * The gradient is softmax(logits) − onehot(target); only the logits and two numbers a row are kept for it, never probabilities.
 *
 * @param logits [..., V]
 * @param targets [...] int32, each 0 … V − 1 or `ignoreIndex` (not checked here: the values are on the device)
 * @returns a scalar, or [...] for reduction 'none'; nats
 * @throws RangeError when the shapes do not belong together, or the targets are not int32.
 */
export function crossEntropy<T extends Tensor = tf.Scalar>(
  logits: Tensor,
  targets: Tensor,
  options: CrossEntropyOptions = {},
): T {
  const { ignoreIndex, reduction = 'mean' } = options;
  const vocabSize = checkShapes(logits, targets);
  return tf.tidy(() => {
    const { ids, counts } = countedTargets(targets, ignoreIndex);
    const losses = rowLosses(tf.reshape(logits, [-1, vocabSize]), ids); // [N]
    const counted = counts ? tf.mul(losses, counts) : losses;
    if (reduction === 'none') return tf.reshape(counted, targets.shape) as T;
    if (reduction === 'sum') return tf.sum(counted) as Tensor as T;
    return (counts ? tf.div(tf.sum(counted), tf.maximum(tf.sum(counts), 1)) : tf.mean(counted)) as Tensor as T;
  });
}

/**
 * Which targets count, 1 or 0 (null: all of them), and the targets with 0 in the place of those that do not.
 *
 * @param targets [...] int32
 * @returns [N] each
 */
export function countedTargets(targets: Tensor, ignoreIndex: number | undefined): { ids: Tensor1D; counts: Tensor1D | null } {
  const flat = tf.reshape(targets, [-1]) as Tensor1D;
  if (ignoreIndex === undefined) return { ids: flat, counts: null };
  const counts = tf.cast(tf.notEqual(flat, tf.scalar(ignoreIndex, 'int32')), 'float32') as Tensor1D;
  return { ids: tf.mul<Tensor1D>(flat, tf.cast(counts, 'int32')), counts };
}

/** The loss of every row. @param logits [N, V] @param ids [N], all in range */
function rowLosses(logits: Tensor2D, ids: Tensor1D): Tensor1D {
  return withGradient<Tensor1D>([logits], (save) => {
    const { losses, kept, gradient } = lossOfRows(logits, ids);
    save(...kept);
    return { value: losses, gradient: (dy, saved) => [gradient(dy, saved)] };
  });
}

/** The losses of some rows of logits, and how their gradient comes from what must be kept for it. */
export interface RowLosses {
  /** [N] */
  readonly losses: Tensor1D;
  readonly kept: readonly Tensor[];
  /** From the gradients of the losses [N] and what was kept to that of the logits [N, V]. */
  readonly gradient: (dy: Tensor1D, kept: readonly Tensor[]) => Tensor2D;
}

/** Off the tape: log Σ exp(logits) − logits[id] for each row. @param logits [N, V] @param ids [N], all in range */
export function lossOfRows(logits: Tensor2D, ids: Tensor1D): RowLosses {
  const [rows, vocabSize] = logits.shape;
  const [forward, backward] = [fusedKernel('crossEntropy'), fusedKernel('crossEntropyGradient')];
  if (forward && backward) {
    const [losses, normalizer] = forward({ logits, ids });
    return {
      losses: losses as Tensor1D,
      kept: [logits, normalizer!, ids],
      gradient: (dy, [savedLogits, savedNormalizer, savedIds]) =>
        backward({ logits: savedLogits!, normalizer: savedNormalizer!, ids: savedIds!, dy })[0] as Tensor2D,
    };
  }
  const largest = tf.max(logits, -1, true);
  const shifted = tf.sub(logits, largest);
  const logSum = tf.log(tf.sum(tf.exp(shifted), -1, true)); // [N, 1]
  const chosen = tf.gatherND(shifted, tf.stack([tf.range(0, rows, 1, 'int32'), ids], 1)) as Tensor1D; // [N]
  return {
    losses: tf.sub(tf.reshape(logSum, [rows]), chosen),
    kept: [logits, largest, logSum, ids],
    gradient: (dy, [savedLogits, savedLargest, savedLogSum, savedIds]) => {
      const probabilities = tf.exp(tf.sub(tf.sub(savedLogits!, savedLargest!), savedLogSum!));
      const onehot = oneHotRows(savedIds as Tensor1D, vocabSize);
      return tf.mul(tf.sub(probabilities, onehot), tf.reshape(dy, [rows, 1]));
    },
  };
}

/** The mean loss in plain tensor operations, differentiated by the tape: what `crossEntropy` is tested against. */
export function crossEntropyReference(logits: Tensor, targets: Tensor): tf.Scalar {
  return tf.tidy(() => {
    const vocabSize = logits.shape.at(-1)!;
    const onehot = oneHotRows(tf.reshape(targets, [-1]), vocabSize);
    return tf
      .logSoftmax(tf.reshape(logits, [-1, vocabSize]))
      .mul(onehot)
      .sum()
      .neg()
      .div(targets.size) as tf.Scalar;
  });
}

function checkShapes(logits: Tensor, targets: Tensor): number {
  const vocabSize = logits.shape.at(-1);
  invariant(
    vocabSize !== undefined && vocabSize >= 2,
    () => `crossEntropy: logits must be [..., V] with V ≥ 2, got [${logits.shape}]`,
  );
  const rows = logits.shape.slice(0, -1);
  invariant(
    rows.join() === targets.shape.join(),
    () => `crossEntropy: logits are [${logits.shape}], so targets must be [${rows}], got [${targets.shape}]`,
  );
  invariant(targets.dtype === 'int32', () => `crossEntropy: targets must be int32 token ids, got ${targets.dtype}`);
  return vocabSize;
}
