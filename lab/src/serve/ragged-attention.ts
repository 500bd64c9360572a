/**
 * @file Attention of a ragged batch: each request's queries over its own blocks. Yu et al. 2022 (Orca), section 3.3, "selective
 * batching": the linear layers see all rows at once, attention sees each request apart.
 *
 * Shapes: H heads, K key/value heads, N rows, S head size, U keys.
 */
import { tf, type Tensor3D, type Tensor4D } from '../backend/index.ts';
import { attention, type AttentionOptions, type KeysAndValues, type MultiHeadAttention } from '../attention/index.ts';
import type { Position } from '../model/index.ts';
import { hasFusedPagedAttention, pagedAttention, type PagedRow } from '../ops/index.ts';
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

/** A request with more rows than this has its blocks gathered, which then serve all its rows. */
const FEW_ROWS = 4;

/**
 * @param q [N, H, S], turned by their positions
 * @returns [N, H, S]; rows that belong to nobody get zeros
 */
export function raggedAttention(q: Tensor3D, tile: RaggedTile, context: RaggedAttentionContext): Tensor3D {
  const paged = isPaged(context);
  const isGathered = ({ rows }: Segment): boolean => !paged || (rows > FEW_ROWS && !context.rowByRow);
  const gathered = tile.segments.filter(isGathered);
  return tf.tidy(() => {
    const others = attendBlocks(
      q,
      tile,
      tile.segments.filter((segment) => !isGathered(segment)),
      context,
    );
    const parts: Tensor3D[] = [];
    let at = 0;
    const othersUntil = (end: number): void => {
      if (end > at) parts.push(rowsOf(others, at, end - at));
      at = end;
    };
    for (const segment of gathered) {
      othersUntil(segment.from);
      parts.push(...attendSegment(q, segment, context));
      at += segment.rows;
    }
    othersUntil(q.shape[0]);
    return parts.length === 1 ? parts[0]! : tf.concat(parts);
  });
}

/** Whether attention is of the kind that goes over blocks where they lie. */
function isPaged({ module, position, store }: RaggedAttentionContext): boolean {
  const { heads, keyValueHeads, headSize, slidingWindow, softCap, compute } = module;
  const plain =
    compute === attention && slidingWindow === undefined && softCap === undefined && !position.bias && !position.slopes;
  return plain && hasFusedPagedAttention(heads, keyValueHeads, headSize, store.options.blockSize);
}

/** The rows of these segments over their blocks, all at once; zeros for the other rows. */
function attendBlocks(
  q: Tensor3D,
  tile: RaggedTile,
  segments: readonly Segment[],
  { store, layer }: RaggedAttentionContext,
): Tensor3D {
  if (segments.length === 0) return tf.zerosLike(q);
  const rows = pagedRows.get(tile) ?? rowsOfSegments(q.shape[0], segments);
  pagedRows.set(tile, rows);
  return pagedAttention(q, store.pools(layer), rows, { blockSize: store.options.blockSize });
}

/** The same in every layer. */
const pagedRows = new WeakMap<RaggedTile, readonly PagedRow[]>();

function rowsOfSegments(count: number, segments: readonly Segment[]): PagedRow[] {
  const rows = Array.from({ length: count }, (): PagedRow => ({ keys: 0, table: [] }));
  for (const { from, rows: ofSegment, start, table } of segments) {
    for (let i = 0; i < ofSegment; i++) rows[from + i] = { keys: start + i + 1, table };
  }
  return rows;
}

/** One request's rows: its blocks are gathered and go through the model's own attention. */
function attendSegment(q: Tensor3D, segment: Segment, context: RaggedAttentionContext): Tensor3D[] {
  const { from, rows, start, table } = segment;
  const { store, layer, rowByRow } = context;
  const used = table.slice(0, Math.ceil((start + rows) / store.options.blockSize));
  const kept = store.gather(layer, used);
  const attendRows = (first: number, count: number): Tensor3D => {
    const answers = attend(byHeads(rowsOf(q, from + first, count)), kept, start + first + count, context);
    return tf.reshape(tf.transpose(answers, [0, 2, 1, 3]), [count, q.shape[1], q.shape[2]]);
  };
  return rowByRow ? Array.from({ length: rows }, (_, i) => attendRows(i, 1)) : [attendRows(0, rows)];
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

/** Some rows of [N, H, S]. */
function rowsOf(x: Tensor3D, from: number, rows: number): Tensor3D {
  const [all, heads, size] = x.shape;
  return rows === all ? x : tf.slice(x, [from, 0, 0], [rows, heads, size]);
}

/** [N, H, S] → [1, H, N, S] */
export function byHeads(x: Tensor3D): Tensor4D {
  const [rows, heads, size] = x.shape;
  return tf.reshape(tf.transpose(x, [1, 0, 2]), [1, heads, rows, size]);
}
