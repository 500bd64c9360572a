/**
 * @file What is asked of an attention kernel: the options as a caller writes them, and the same checked and resolved into
 * plain numbers, as every kernel reads them.
 *
 * Shapes: B batch, H heads, K key/value heads, T queries, U keys, S head size.
 */
import { tf, type Tensor, type Tensor4D } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import type { AttentionDropout } from './dropout.ts';
import { visibility, type MaskRule, type Visibility } from './mask-rule.ts';

export interface FusedAttentionOptions extends MaskRule {
  /** Multiplies the scores; 1/√S unless told. */
  readonly scale?: number;
  /** Bends the scaled scores into (−cap, cap): cap · tanh(score / cap). Gemma Team 2024, section 2. None unless told. */
  readonly softCap?: number;
  /** [H]: −slope · |distance| is added to the scores. Press et al. 2021. */
  readonly alibiSlopes?: ArrayLike<number>;
  /**
   * Added to the scores after all else, broadcast to [B, H, T, U]; below −1e30 (also −∞) it hides the key. It has a gradient.
   */
  readonly bias?: Tensor;
  readonly dropout?: AttentionDropout;
  /** How many of the keys and values count: what lies behind them is a cache's room for more. All unless told. */
  readonly keys?: number;
}

/** The checked problem: what a kernel needs to know besides the tensors. */
export interface AttentionProblem {
  readonly batch: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly queries: number;
  readonly keys: number;
  /** What k and v have room for along the axis of keys: at least `keys`, and more only where no gradient is wanted. */
  readonly keyCapacity: number;
  readonly headSize: number;
  readonly scale: number;
  /** 0 for none */
  readonly softCap: number;
  /** [H], or null for none */
  readonly slopes: Float32Array | null;
  /** The bias tensor's shape filled up to four axes, each 1 or that of [B, H, T, U]; null for no bias. */
  readonly biasShape: readonly [number, number, number, number] | null;
  /** null for none */
  readonly dropout: AttentionDropout | null;
  readonly mask: Visibility;
}

/** A score below this counts as hidden, whatever hid it. */
export const HIDDEN_BELOW = -1e30;

/** @throws RangeError when shapes or options do not belong together, naming the axis or the option. */
export function attentionProblem(q: Tensor4D, k: Tensor4D, v: Tensor4D, options: FusedAttentionOptions): AttentionProblem {
  checkShapes(q, k, v);
  const [batch, heads, queries, headSize] = q.shape;
  const [, keyValueHeads, keyCapacity] = k.shape;
  const { keys = keyCapacity } = options;
  const { scale = 1 / Math.sqrt(headSize), softCap = 0, alibiSlopes, bias, dropout } = options;
  invariant(Number.isFinite(scale), () => `fusedAttention: scale must be a finite number, got ${scale}`);
  invariant(softCap >= 0 && Number.isFinite(softCap), () => `fusedAttention: softCap must be positive, got ${softCap}`);
  invariant(
    Number.isInteger(keys) && keys > 0 && keys <= keyCapacity,
    () => `fusedAttention: keys must be 1 … ${keyCapacity}, as many as there are, got ${keys}`,
  );
  invariant(
    !alibiSlopes || alibiSlopes.length === heads,
    () => `fusedAttention: there are ${heads} heads and ${alibiSlopes!.length} alibiSlopes`,
  );
  return {
    batch,
    heads,
    keyValueHeads,
    queries,
    keys,
    keyCapacity,
    headSize,
    scale,
    softCap,
    slopes: alibiSlopes ? Float32Array.from(alibiSlopes) : null,
    biasShape: bias ? biasShape(bias, [batch, heads, queries, keys]) : null,
    dropout: dropout && dropout.rate > 0 ? checkDropout(dropout) : null,
    mask: maskOf(options, queries, keys, batch),
  };
}

/** The first `keys` along the axis of keys of k or v [B, K, U, S]: the tensor itself where these are all. */
export function firstKeys(x: Tensor4D, keys: number): Tensor4D {
  const [batch, heads, all, headSize] = x.shape;
  return keys === all ? x : tf.slice(x, [0, 0, 0, 0], [batch, heads, keys, headSize]);
}

/** The last mask: every layer of a model asks for the same one. */
let last: { readonly key: string; readonly mask: Visibility } | undefined;

function maskOf({ causal, window, documents }: MaskRule, queries: number, keys: number, batch: number): Visibility {
  const key = JSON.stringify([causal, `${window?.left} ${window?.right}`, documents, queries, keys, batch]);
  if (last?.key !== key) {
    const rule = { ...(causal && { causal }), ...(window && { window }), ...(documents && { documents }) };
    last = { key, mask: visibility(rule, queries, keys, batch) };
  }
  return last.mask;
}

function checkShapes(q: Tensor4D, k: Tensor4D, v: Tensor4D): void {
  for (const [name, x] of Object.entries({ query: q, key: k, value: v })) {
    invariant(x.rank === 4, () => `fusedAttention: the ${name} must have four axes [B, H, T, S], got [${x.shape}]`);
    invariant(x.dtype === 'float32', () => `fusedAttention: the ${name} must be float32, got ${x.dtype}`);
    invariant(x.size > 0, () => `fusedAttention: the ${name} is empty: [${x.shape}]`);
  }
  const text = `query [${q.shape}], key [${k.shape}]`;
  invariant(
    k.shape.join() === v.shape.join(),
    () => `fusedAttention: key [${k.shape}], value [${v.shape}]; they must be equal`,
  );
  invariant(q.shape[0] === k.shape[0], () => `fusedAttention: the batches differ: ${text}`);
  invariant(q.shape[3] === k.shape[3], () => `fusedAttention: the head sizes differ: ${text}`);
  invariant(q.shape[1] % k.shape[1] === 0, () => `fusedAttention: heads must be a multiple of keyValueHeads: ${text}`);
}

function biasShape(bias: Tensor, full: readonly number[]): [number, number, number, number] {
  invariant(bias.dtype === 'float32', () => `fusedAttention: the bias must be float32, got ${bias.dtype}`);
  const shape = [...Array<number>(Math.max(0, 4 - bias.rank)).fill(1), ...bias.shape];
  invariant(
    shape.length === 4 && shape.every((size, axis) => size === 1 || size === full[axis]),
    () => `fusedAttention: the bias [${bias.shape}] cannot be broadcast to the scores [${full.join()}]`,
  );
  return shape as [number, number, number, number];
}

function checkDropout(dropout: AttentionDropout): AttentionDropout {
  const { rate, seed } = dropout;
  invariant(rate > 0 && rate < 1, () => `fusedAttention: the dropout rate must be at least 0 and below 1, got ${rate}`);
  invariant(
    Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32,
    () => `fusedAttention: the dropout seed must be an integer from 0 to 2³² − 1, got ${seed}`,
  );
  return dropout;
}
