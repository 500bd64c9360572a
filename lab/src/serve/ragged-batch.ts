/**
 * @file A pass as the model sees it: the tokens of all requests one behind the other, each with its position and the place of its
 * keys and values. Nothing is padded, except where a policy asks for it or a row's numbers must not depend on its neighbours.
 */
import { NO_SLOT } from '../ops/index.ts';
import type { PassPlan } from './scheduler.ts';

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
  /** The rows whose logits are wanted. */
  readonly wanted: readonly number[];
}

interface Row {
  readonly token: number;
  readonly position: number;
  readonly table: readonly number[];
  readonly writes: boolean;
  readonly wanted: boolean;
}

/** @param rowsInTile cut into tiles of exactly so many rows, the last one filled up with rows that nobody looks at; one tile unless told */
export function raggedTiles(plan: PassPlan, blockSize: number, rowsInTile?: number): RaggedTile[] {
  const rows = rowsOf(plan);
  const size = rowsInTile ?? rows.length;
  const tiles: RaggedTile[] = [];
  for (let from = 0; from < rows.length; from += size) tiles.push(tileOf(rows.slice(from, from + size), size, blockSize));
  return tiles;
}

function rowsOf({ entries }: PassPlan): Row[] {
  return entries.flatMap(({ sequence, tokens, padding = 0 }) => {
    const { computed, table, length } = sequence;
    const last = computed + tokens - 1;
    const row = (position: number, isPadding: boolean): Row => ({
      token: sequence.tokens[position]!,
      position,
      table: table.blocks,
      writes: !isPadding,
      wanted: !isPadding && position === length - 1,
    });
    return [
      ...Array.from({ length: tokens }, (_, i) => row(computed + i, false)),
      // Padding does the work of the last token once more, and nobody looks.
      ...Array.from({ length: padding }, () => row(last, true)),
    ];
  });
}

function tileOf(rows: readonly Row[], size: number, blockSize: number): RaggedTile {
  const idle = new Array<number>(size - rows.length).fill(0);
  const slotOf = ({ position, table }: Row): number => table[Math.floor(position / blockSize)]! * blockSize + (position % blockSize);
  return {
    tokens: [...rows.map(({ token }) => token), ...idle],
    positions: [...rows.map(({ position }) => position), ...idle],
    slots: [...rows.map((row) => (row.writes ? slotOf(row) : NO_SLOT)), ...idle.map(() => NO_SLOT)],
    segments: segmentsOf(rows),
    wanted: rows.flatMap(({ wanted }, i) => (wanted ? [i] : [])),
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
