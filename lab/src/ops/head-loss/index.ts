/**
 * @file The model's head and its cross-entropy as one operation, which never holds the logits of all tokens at once: with a
 * vocabulary of 50,257 they, and their gradient, would outweigh the rest of a small model's training step. Some rows at a time,
 * the logits are computed, turned into their own gradient, and that into the rows' share of the gradients of the hidden states
 * and of the weights, all in the forward pass: a softmax needs whole rows and nothing else, so nothing is computed twice.
 * Hsu et al. 2024 (Liger Kernel), section 3.2. (Pieces of the vocabulary, as in Wijmans et al. 2024, "Cut Your Losses", need
 * even less memory, and a third product more.)
 *
 * Shapes: N rows (any leading axes multiplied), D width, V vocabulary.
 */
import { tf, type Scalar, type Tensor, type Tensor1D, type Tensor2D } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { countedTargets, crossEntropy, lossOfRows } from '../cross-entropy/index.ts';
import { fusedKernel } from '../fused.ts';
import { checkLinear, linear, linearGradients, linearReference } from '../linear/index.ts';
import { withGradient } from '../with-gradient.ts';
import { LOGITS_AT_ONCE, rowsInChunk } from './chunks.ts';
import { rowsOf } from '../rows.ts';
import './wasm.ts';

export interface LinearCrossEntropyOptions {
  /** Targets with this value count for nothing: padding, prompts. −100 in PyTorch; none unless told. */
  readonly ignoreIndex?: number;
  /** 'mean' (over the targets that count; 0 when none does) or 'sum'. */
  readonly reduction?: 'mean' | 'sum';
  /** [V], added to the logits. */
  readonly bias?: Tensor1D | null;
  /** How many logits may be held at once, one row's at least (default 2^23, 32 MiB). Fewer take less memory and more time. */
  readonly logitsAtOnce?: number;
}

/** What the chunks are computed from. */
interface Head {
  /** [N, D] */
  readonly x: Tensor2D;
  /** [V, D] */
  readonly weight: Tensor2D;
  readonly bias: Tensor1D | null;
  /** [N] */
  readonly ids: Tensor1D;
  /** [N]: what each row's loss counts for in the sum. */
  readonly shares: Tensor1D;
  readonly rowsInChunk: number;
}

/**
 * crossEntropy(x Wᵀ + b, targets), without the logits. When there is a tape the gradients are made at once, and only they kept.
 *
 * @param x [..., D]
 * @param weight [V, D]
 * @param targets [...] int32, each 0 … V − 1 or `ignoreIndex` (not checked here: the values are on the device)
 * @returns a scalar, in nats
 * @throws RangeError when the shapes do not belong together, or the targets are not int32.
 */
export function linearCrossEntropy(
  x: Tensor,
  weight: Tensor2D,
  targets: Tensor,
  { ignoreIndex, reduction = 'mean', bias = null, logitsAtOnce = LOGITS_AT_ONCE }: LinearCrossEntropyOptions = {},
): Scalar {
  checkLinear('linearCrossEntropy', x, weight, bias);
  checkTargets(x, weight, targets);
  invariant(logitsAtOnce > 0, () => `linearCrossEntropy: logitsAtOnce must be positive, got ${logitsAtOnce}`);
  return withGradient<Scalar>(bias ? [x, weight, bias] : [x, weight], (save, wanted) => {
    const { ids, counts } = countedTargets(targets, ignoreIndex);
    const shares = sharesOf(counts, targets.size, reduction);
    const step = rowsInChunk(targets.size, weight.shape[0], logitsAtOnce);
    const head = { x: rowsOf(x), weight, bias, ids, shares, rowsInChunk: step };
    const any = wanted.includes(true);
    const [losses, dx, ...rest] = (fusedKernel('linearCrossEntropy') ? fusedChunks : plainChunks)(head, any);
    if (any) save(tf.reshape(dx!, x.shape), ...rest);
    return {
      value: tf.sum(tf.mul(losses!, shares)),
      gradient: (dy, saved) => saved.map((gradient) => () => scaled(gradient, dy)),
    };
  });
}

/** `linearCrossEntropy` by way of the logits, differentiated by the tape: what it is tested against. */
export function linearCrossEntropyReference(
  x: Tensor,
  weight: Tensor2D,
  targets: Tensor,
  { bias = null, ...options }: Omit<LinearCrossEntropyOptions, 'logitsAtOnce'> = {},
): Scalar {
  return tf.tidy(() => crossEntropy(linearReference(x, weight, bias), targets, options));
}

/** One for each that counts, or one part of the mean. */
function sharesOf(counts: Tensor1D | null, rows: number, reduction: 'mean' | 'sum'): Tensor1D {
  if (!counts) return tf.mul(tf.ones([rows]), reduction === 'sum' ? 1 : 1 / rows);
  return reduction === 'sum' ? counts : tf.div(counts, tf.maximum(tf.sum(counts), 1));
}

/** [losses [N]], and the gradients [N, D], [V, D] and [V] for the bias if they are wanted. */
function fusedChunks({ rowsInChunk: step, ...inputs }: Head, wanted: boolean): Tensor[] {
  return fusedKernel('linearCrossEntropy')!(inputs, { gradients: wanted, rowsInChunk: step });
}

/** The same in operations that every backend has. */
function plainChunks({ x, weight, bias, ids, shares, rowsInChunk: step }: Head, wanted: boolean): Tensor[] {
  const [rows] = x.shape;
  const [losses, dx]: [Tensor1D[], Tensor2D[]] = [[], []];
  let sums: Tensor[] | undefined; // dW, and db if there is a bias
  for (let start = 0; start < rows; start += step) {
    const count = Math.min(step, rows - start);
    const [chunkLosses, chunkDx, ...more] = tf.tidy(() => {
      const part = <T extends Tensor>(tensor: T): T => tf.slice(tensor, start, count);
      const logits = linear(part(x), weight, bias);
      const { losses: found, kept, gradient } = lossOfRows(logits, part(ids));
      if (!wanted) return [found];
      const dLogits = gradient(part(shares), kept);
      const all = { x: true, weight: true, bias: bias !== null };
      return [found, ...linearGradients(dLogits, [part(x), weight], all).filter((tensor) => tensor !== null)];
    });
    losses.push(chunkLosses as Tensor1D);
    if (!wanted) continue;
    dx.push(chunkDx as Tensor2D);
    const before = sums;
    sums = before ? more.map((gradient, i) => tf.add(gradient, before[i]!)) : more;
    if (before) tf.dispose([before, more]);
  }
  return wanted ? [tf.concat(losses), tf.concat(dx), ...sums!] : [tf.concat(losses)];
}

/** gradient · dy. The loss of a training step has dy = 1, and its largest gradients need no second copy for that. */
function scaled(gradient: Tensor, dy: Scalar): Tensor {
  const fused = fusedKernel('scaled');
  return fused ? fused({ x: gradient, factor: dy })[0]! : tf.mul(gradient, dy);
}

function checkTargets(x: Tensor, weight: Tensor2D, targets: Tensor): void {
  const rows = x.shape.slice(0, -1);
  invariant(weight.shape[0] >= 2, () => `linearCrossEntropy: weight must be [V, D] with V ≥ 2, got [${weight.shape}]`);
  invariant(
    rows.join() === targets.shape.join(),
    () => `linearCrossEntropy: x is [${x.shape}], so targets must be [${rows}], got [${targets.shape}]`,
  );
  invariant(targets.dtype === 'int32', () => `linearCrossEntropy: targets must be int32 token ids, got ${targets.dtype}`);
  invariant(targets.size > 0, () => `linearCrossEntropy: there is no target: x is [${x.shape}]`);
}
