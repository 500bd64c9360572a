/**
 * @file A pass as the model sees it: the tokens of all requests one behind the other, each with its position and the place of
 * its keys and values. Nothing is padded, except where a policy asks for it or a row's numbers must not depend on its
 * neighbours.
 */
import { NO_SLOT } from '../ops/index.ts';
import type { PassPlan, PlanEntry } from './scheduler.ts';
import type { Sequence } from './sequence.ts';

/** Neighbouring rows of one request: they share a table, and their positions follow each other. */
export interface Segment {
  /** First row. */
  readonly from: number;
  readonly rows: number;
  /** Position of the first row. */
  readonly start: number;
  readonly table: readonly number[];
}

/** Some rows, which go through the linear layers together. */
export interface RaggedTile {
  readonly tokens: readonly number[];
  readonly positions: readonly number[];
  /** Where each row's keys and values go, or NO_SLOT. */
  readonly slots: readonly number[];
  readonly segments: readonly Segment[];
  /** The rows that go through the head, and whether anybody waits for their logits. */
  readonly last: readonly { readonly row: number; readonly wanted: boolean }[];
}

interface Row {
  readonly token: number;
  readonly position: number;
  readonly table: readonly number[];
  readonly isPadding: boolean;
  /** It goes through the head. */
  readonly isLast: boolean;
}

/**
 * @param rowsInTile cut into tiles of exactly so many rows, the last one filled up with rows that nobody looks at; one tile
 * unless told
 */
export function raggedTiles(plan: PassPlan, blockSize: number, rowsInTile?: number): RaggedTile[] {
  const rows = rowsOf(plan);
  const size = rowsInTile ?? rows.length;
  const tiles: RaggedTile[] = [];
  for (let from = 0; from < rows.length; from += size) tiles.push(tileOf(rows.slice(from, from + size), size, blockSize));
  return tiles;
}

function rowsOf({ entries }: PassPlan): Row[] {
  const rowAt = ({ tokens, table }: Sequence, position: number, isPadding: boolean, isLast: boolean): Row => {
    return { token: tokens[position]!, position, table: table.blocks, isPadding, isLast };
  };
  const end = ({ sequence, tokens }: PlanEntry): number => sequence.computed + tokens;
  const longest = entries.reduce((most, entry) => (end(entry) > end(most) ? entry : most));
  return entries.flatMap(({ sequence, tokens, padding = 0 }) => {
    const { computed, length } = sequence;
    return [
      ...Array.from({ length: tokens }, (_, i) => rowAt(sequence, computed + i, false, computed + i === length - 1)),
      // Padding does the work of the longest request's last token once more, and nobody looks.
      ...Array.from({ length: padding }, () => rowAt(longest.sequence, end(longest) - 1, true, tokens === 0)),
    ];
  });
}

function tileOf(rows: readonly Row[], size: number, blockSize: number): RaggedTile {
  const idle = new Array<number>(size - rows.length).fill(0);
  const slotOf = ({ position, table }: Row): number =>
    table[Math.floor(position / blockSize)]! * blockSize + (position % blockSize);
  return {
    tokens: [...rows.map(({ token }) => token), ...idle],
    positions: [...rows.map(({ position }) => position), ...idle],
    slots: [...rows.map((row) => (row.isPadding ? NO_SLOT : slotOf(row))), ...idle.map(() => NO_SLOT)],
    segments: segmentsOf(rows),
    last: rows.flatMap(({ isLast, isPadding }, row) => (isLast ? [{ row, wanted: !isPadding }] : [])),
  };
}

function segmentsOf(rows: readonly Row[]): Segment[] {
  const segments: (Segment & { rows: number })[] = [];
  for (const [from, { position, table }] of rows.entries()) {
    const last = segments.at(-1);
    if (last && last.table === table && last.start + last.rows === position) last.rows++;
    else segments.push({ from, rows: 1, start: position, table });
  }
  return segments;
}
