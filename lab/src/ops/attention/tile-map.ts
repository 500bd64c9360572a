/**
 * @file How much work a mask saves: its tiles counted by what has to be done with them. The tiles themselves come from
 * `tileMap` in mask-rule.ts.
 */
import type { TileKind } from './mask-rule.ts';

export interface TileCounts extends Readonly<Record<TileKind, number>> {
  readonly all: number;
  /** The share of the tiles that must be computed, from 0 to 1. */
  readonly work: number;
}

/** @param map lists of kinds, as `tileMap` gives them */
export function countTiles(map: readonly (readonly TileKind[])[]): TileCounts {
  const counts: Record<TileKind, number> = { skipped: 0, partial: 0, full: 0 };
  for (const kind of map.flat()) counts[kind]++;
  const all = counts.skipped + counts.partial + counts.full;
  return { ...counts, all, work: all === 0 ? 0 : (counts.partial + counts.full) / all };
}
