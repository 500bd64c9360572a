/**
 * @file Which query may see which key, for every mask of the lab that has a structure: causal, sliding window, packed
 * documents.
 *
 * All of them have one thing in common: the keys that a query sees are neighbours. So a mask is not a matrix [T, U] but two
 * numbers for each query, and whether a tile of scores must be computed at all follows from the numbers of its corners
 * (Dao 2023, section 3.1.1, for the causal mask; here for all).
 *
 * Shapes: B batch, T queries, U keys.
 */
import { invariant } from '../../base/index.ts';

/** How far a query sees, in tokens to the left and to the right of its own place; without end unless told. */
export interface AttentionWindow {
  readonly left?: number;
  readonly right?: number;
}

/** Where the documents end that were packed one behind the other into a row of the batch; none sees another. */
export interface PackedDocuments {
  /**
   * Cumulative lengths, one list for each row of the batch or one for all: [[0, 5, 9]] are documents of 5 and of 4 tokens.
   * Tokens behind the last document are padding: they see nothing and nothing sees them.
   */
  readonly queries: readonly (readonly number[])[];
  /** The same of the keys, as many documents in each list; as the queries unless told. */
  readonly keys?: readonly (readonly number[])[];
}

export interface MaskRule {
  /** Hide the future; aligned at the end of the document: its last query sees all of its keys. */
  readonly causal?: boolean;
  readonly window?: AttentionWindow;
  readonly documents?: PackedDocuments;
}

/**
 * A mask as ranges. Row r (of `rows`: 1 for the whole batch, or B) and query t own three numbers at 3 · (r · T + t):
 * the query sees keys `from` ≤ u < `to`, and its own place among the keys is t + `offset` (for ALiBi). Both ends never
 * decrease with t. The ranges of keys say the same from the other side: key u is seen by queries `from` ≤ t < `to`.
 */
export interface Visibility {
  readonly rows: number;
  readonly queries: number;
  readonly keys: number;
  /** [rows, T, 3]: from, to, offset */
  readonly ofQueries: Int32Array;
  /** [rows, U, 3]: from, to, offset */
  readonly ofKeys: Int32Array;
}

/** What is to be done with a tile of scores: nothing, all of it, or all of it and then hide some. */
export type TileKind = 'skipped' | 'full' | 'partial';

/** The queries and keys of one document, or of a whole row. */
interface Document {
  readonly queryStart: number;
  readonly queryEnd: number;
  readonly keyStart: number;
  readonly keyEnd: number;
}

/**
 * @param queries T
 * @param keys U
 * @param batch B, which the lists of documents are checked against
 * @throws RangeError when the window is negative or the documents do not fit.
 */
export function visibility(rule: MaskRule, queries: number, keys: number, batch = 1): Visibility {
  const { window: { left = Infinity, right = Infinity } = {}, causal = false } = rule;
  for (const [side, reach] of Object.entries({ left, right })) {
    const fits = reach >= 0 && (reach === Infinity || Number.isInteger(reach));
    invariant(fits, () => `attention: a window must reach a whole number of tokens or Infinity, got ${side} ${reach}`);
  }
  const reach = { left, right: causal ? 0 : right }; // causal is a window that ends here
  const packed = rule.documents && documentsOf(rule.documents, queries, keys, batch);
  const rows = packed ?? [[{ queryStart: 0, queryEnd: queries, keyStart: 0, keyEnd: keys }]];
  const ofQueries = new Int32Array(rows.length * queries * 3);
  const ofKeys = new Int32Array(rows.length * keys * 3);
  for (const [row, documents] of rows.entries()) {
    for (const document of documents) {
      fillQueries(ofQueries, row * queries, document, reach);
      fillKeys(ofKeys, row * keys, document, reach);
    }
    const { queryEnd, keyEnd } = documents.at(-1)!;
    pad(ofQueries, row * queries, [queryEnd, queries], keyEnd);
    pad(ofKeys, row * keys, [keyEnd, keys], queryEnd);
  }
  return { rows: rows.length, queries, keys, ofQueries, ofKeys };
}

const clamp = (x: number, low: number, high: number): number => Math.min(Math.max(x, low), high);

function setRange(ranges: Int32Array, index: number, from: number, to: number, offset: number): void {
  ranges[3 * index] = from;
  ranges[3 * index + 1] = to;
  ranges[3 * index + 2] = offset;
}

function fillQueries(ranges: Int32Array, first: number, document: Document, { left, right }: Required<AttentionWindow>): void {
  const { queryStart, queryEnd, keyStart, keyEnd } = document;
  const offset = keyEnd - queryEnd;
  for (let t = queryStart; t < queryEnd; t++) {
    const from = clamp(t + offset - left, keyStart, keyEnd);
    setRange(ranges, first + t, from, clamp(t + offset + right + 1, from, keyEnd), offset);
  }
}

function fillKeys(ranges: Int32Array, first: number, document: Document, { left, right }: Required<AttentionWindow>): void {
  const { queryStart, queryEnd, keyStart, keyEnd } = document;
  const offset = keyEnd - queryEnd;
  for (let u = keyStart; u < keyEnd; u++) {
    const from = clamp(u - offset - right, queryStart, queryEnd);
    setRange(ranges, first + u, from, clamp(u - offset + left + 1, from, queryEnd), offset);
  }
}

/** Padding gets empty ranges, at the place where the last document ends, so that the ends of the ranges never decrease. */
function pad(ranges: Int32Array, first: number, [start, end]: readonly [number, number], place: number): void {
  for (let i = start; i < end; i++) setRange(ranges, first + i, place, place, 0);
}

function documentsOf({ queries: q, keys: k = q }: PackedDocuments, queries: number, keys: number, batch: number): Document[][] {
  const rows = Math.max(q.length, k.length);
  invariant(
    (rows === 1 || rows === batch) && [1, rows].includes(q.length) && [1, rows].includes(k.length),
    () =>
      `attention: documents need one list of cumulative lengths or one for each of ${batch} rows, got ${rows}`,
  );
  return Array.from({ length: rows }, (_, row) => {
    const [queryEnds, keyEnds] = [q[row] ?? q[0]!, k[row] ?? k[0]!];
    checkCumulative('query', queryEnds, queries);
    checkCumulative('key', keyEnds, keys);
    invariant(
      queryEnds.length === keyEnds.length,
      () => `attention: row ${row} has ${queryEnds.length - 1} documents of queries and ${keyEnds.length - 1} of keys`,
    );
    return queryEnds.slice(1).map((queryEnd, i) => ({
      queryStart: queryEnds[i]!,
      queryEnd,
      keyStart: keyEnds[i]!,
      keyEnd: keyEnds[i + 1]!,
    }));
  });
}

function checkCumulative(what: string, lengths: readonly number[], tokens: number): void {
  const grows = lengths.every((n, i) => Number.isInteger(n) && n >= (lengths[i - 1] ?? 0));
  invariant(
    lengths.length > 1 && lengths[0] === 0 && grows && lengths.at(-1)! <= tokens,
    () => `attention: cumulative ${what} lengths must grow from 0 to at most ${tokens}, got [${lengths.join(', ')}]`,
  );
}

/** Whether query t sees key u, in row r. */
export function isVisible({ rows, queries, ofQueries }: Visibility, row: number, query: number, key: number): boolean {
  const at = 3 * ((rows === 1 ? 0 : row) * queries + query);
  return ofQueries[at]! <= key && key < ofQueries[at + 1]!;
}

/**
 * What the tile of queries t … tEnd − 1 and keys u … uEnd − 1 costs. As the ranges only move forward, the first query sees
 * the earliest keys and the last one the latest, and two comparisons on each side decide.
 */
export function tileKind(
  mask: Visibility,
  row: number,
  [t, tEnd]: readonly [number, number],
  [u, uEnd]: readonly [number, number],
): TileKind {
  const base = (mask.rows === 1 ? 0 : row) * mask.queries;
  const [earliest, earliestEnd] = mask.ofQueries.subarray(3 * (base + t));
  const [latest, latestEnd] = mask.ofQueries.subarray(3 * (base + tEnd - 1));
  if (latestEnd! <= u || uEnd <= earliest!) return 'skipped';
  return latest! <= u && uEnd <= earliestEnd! ? 'full' : 'partial';
}

/**
 * The kinds of all tiles of one row.
 *
 * @returns ⌈T / tileQueries⌉ lists of ⌈U / tileKeys⌉ kinds
 */
export function tileMap(mask: Visibility, tileQueries: number, tileKeys: number, row = 0): TileKind[][] {
  const cuts = (length: number, tile: number): [number, number][] =>
    Array.from({ length: Math.ceil(length / tile) }, (_, i) => [i * tile, Math.min(length, (i + 1) * tile)]);
  return cuts(mask.queries, tileQueries).map((t) => cuts(mask.keys, tileKeys).map((u) => tileKind(mask, row, t, u)));
}
