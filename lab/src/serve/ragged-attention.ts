/**
 * @file Attention of a ragged batch: each request's queries over its own blocks. Yu et al. 2022 (Orca), section 3.3, "selective
 * batching": the linear layers see all rows at once, attention sees each request apart.
 *
 * Shapes: H heads, K key/value heads, N rows, S head size, U keys.
 */
import { tf, type Tensor4D } from '../backend/index.ts';
import type { AttentionOptions, KeysAndValues, MultiHeadAttention } from '../attention/index.ts';
import type { Position } from '../model/index.ts';
import type { BlockStore } from './block-store.ts';
import type { RaggedTile, Segment } from './ragged-batch.ts';

export interface RaggedAttentionContext {
  readonly module: MultiHeadAttention;
  readonly position: Position;
  readonly store: BlockStore;
  readonly layer: number;
  /** Every query apart, as if it were the only one. */
  readonly rowByRow: boolean;
}

/**
 * @param q [1, H, N, S], turned by their positions
 * @returns [1, H, N, S]; rows that belong to nobody get zeros
 */
export function raggedAttention(q: Tensor4D, { segments }: RaggedTile, context: RaggedAttentionContext): Tensor4D {
  const [, heads, rows, size] = q.shape;
  return tf.tidy(() => {
    const parts = segments.flatMap((segment) => attendSegment(q, segment, context));
    const last = segments.at(-1)!;
    const idle = rows - (last.from + last.rows);
    if (idle > 0) parts.push(tf.zeros<tf.Rank.R4>([1, heads, idle, size]));
    return parts.length === 1 ? parts[0]! : tf.concat(parts, 2);
  });
}

/** One request's rows: its blocks are gathered and go through the model's own attention. */
function attendSegment(q: Tensor4D, segment: Segment, context: RaggedAttentionContext): Tensor4D[] {
  const { from, rows, start, table } = segment;
  const { store, layer, rowByRow } = context;
  const used = table.slice(0, Math.ceil((start + rows) / store.options.blockSize));
  const gathered = store.gather(layer, used);
  if (!rowByRow) return [attend(rowsOf(q, from, rows), gathered, start + rows, context)];
  return Array.from({ length: rows }, (_, i) => attend(rowsOf(q, from + i, 1), gathered, start + i + 1, context));
}

/** @param keys how many of the gathered ones count */
function attend(q: Tensor4D, { k, v }: KeysAndValues, keys: number, { module, position }: RaggedAttentionContext): Tensor4D {
  const { heads, slidingWindow, softCap, compute } = module;
  const slopes = compute.takesSlopes ? position.slopes?.(heads) : undefined;
  const bias = slopes ? undefined : position.bias?.(heads, q.shape[2], keys);
  const options: AttentionOptions = {
    causal: true,
    ...(keys < k.shape[2] && { keys }),
    ...(slidingWindow !== undefined && { window: { left: slidingWindow - 1 } }),
    ...(softCap !== undefined && { softCap }),
    ...(slopes && { alibiSlopes: slopes }),
    ...(bias && { bias }),
  };
  return compute(q, k, v, options);
}

/** Some rows of [1, H, N, S]. */
function rowsOf(x: Tensor4D, from: number, rows: number): Tensor4D {
  const [, heads, all, size] = x.shape;
  return rows === all ? x : tf.slice(x, [0, 0, from, 0], [1, heads, rows, size]);
}
