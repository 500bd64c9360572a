/**
 * @file A fixed notebook and a student's work in the old one, made one: the answers stay, and so do cells that the student has
 * added; everything else is the new notebook's.
 */
import { sourceOf, type NotebookCell, type NotebookDocument } from '../notebook-file.ts';

export interface MergedNotebook {
  readonly notebook: NotebookDocument;
  /** What the student should know, a sentence each. */
  readonly conflicts: readonly string[];
}

type Cell = NotebookCell & { readonly id?: string; readonly outputs?: unknown; readonly execution_count?: unknown };

/** The cells of one notebook by what makes them the same cell in another one. */
class Cells {
  readonly all: readonly Cell[];
  readonly #byKey = new Map<string, Cell>();

  constructor(notebook: NotebookDocument | undefined, like?: Cells) {
    this.all = notebook?.cells ?? [];
    for (const cell of this.all) {
      const key = keyOf(cell) ?? like?.keyOfSame(cell);
      if (key !== undefined && !this.#byKey.has(key)) this.#byKey.set(key, cell);
    }
  }

  get(key: string | undefined): Cell | undefined {
    return key === undefined ? undefined : this.#byKey.get(key);
  }

  /** The key under which this very cell stands here; undefined for a second cell of the same key. */
  keyOf(cell: Cell): string | undefined {
    for (const [key, other] of this.#byKey) if (other === cell) return key;
    return undefined;
  }

  /** Some programs drop the ids of cells: then a cell is known by what it says. */
  keyOfSame(cell: Cell): string | undefined {
    const same = this.all.find((one) => one.cell_type === cell.cell_type && sourceOf(one) === sourceOf(cell));
    return same && this.keyOf(same);
  }
}

function keyOf({ id, metadata }: Cell): string | undefined {
  const { exercise, check, setup } = metadata?.lab ?? {};
  if (exercise !== undefined) return `exercise ${exercise}`;
  if (check !== undefined) return `check ${check}`;
  return setup === true ? 'set-up' : id;
}

/** How a reader finds the cell: 'the cell that begins with “const words = …”'. */
function nameOf(cell: Cell): string {
  const line = sourceOf(cell).trim().split('\n')[0] ?? '';
  return `the cell that begins with “${line.length > 60 ? `${line.slice(0, 60)}…` : line}”`;
}

/** The new notebook's cell with the student's source, and what Jupyter and running it have put there. */
function withWorkOf(cell: Cell, own: Cell): Cell {
  const kept = { ...cell, source: own.source, metadata: { ...own.metadata, ...cell.metadata } };
  if (cell.cell_type !== 'code') return kept;
  return { ...kept, outputs: own.outputs ?? [], execution_count: own.execution_count ?? null };
}

/**
 * Merges cell by cell: exercises by their number, others by their id.
 *
 * @param base the notebook as it was handed out to the student, if that is known
 * @param fixed the new one
 * @param own the student's
 */
export function mergeNotebook(
  base: NotebookDocument | undefined,
  fixed: NotebookDocument,
  own: NotebookDocument,
): MergedNotebook {
  const before = new Cells(base);
  const after = new Cells(fixed);
  const mine = new Cells(own, base ? before : after);
  const conflicts: string[] = [];
  const become = new Map(
    after.all.map((cell) => {
      const key = after.keyOf(cell);
      return [cell, mergeCell(before.get(key), cell, mine.get(key), conflicts)] as const;
    }),
  );
  const merged = [...become.values()];
  // The student's own cells follow the cell that they followed.
  let anchor: Cell | undefined;
  for (const cell of mine.all) {
    const key = mine.keyOf(cell);
    const successor = after.get(key);
    if (successor) {
      anchor = become.get(successor);
    } else if (isOwn(cell, before.get(key), conflicts)) {
      merged.splice(anchor ? merged.indexOf(anchor) + 1 : 0, 0, cell);
      anchor = cell;
    }
  }
  const metadata = { ...(own as { metadata?: object }).metadata, ...(fixed as { metadata?: object }).metadata };
  return { notebook: { ...fixed, metadata, cells: merged } as NotebookDocument, conflicts };
}

function mergeCell(before: Cell | undefined, fixed: Cell, own: Cell | undefined, conflicts: string[]): Cell {
  if (!own) return fixed;
  if (sourceOf(own) === sourceOf(fixed)) return withWorkOf(fixed, own);
  const touched = !before || sourceOf(own) !== sourceOf(before);
  const exercise = fixed.metadata?.lab?.exercise;
  if (exercise === undefined) {
    if (touched) conflicts.push(`${nameOf(own)} was changed by you; it is the course's again.`);
    return fixed;
  }
  if (!touched) return fixed;
  if (before && sourceOf(before) !== sourceOf(fixed)) {
    conflicts.push(`exercise ${exercise} has a new stub; your answer was kept. Does it still fit? Its check will tell.`);
  }
  return withWorkOf(fixed, own);
}

/** Whether a cell that the new notebook does not have is the student's, and stays. */
function isOwn(cell: Cell, before: Cell | undefined, conflicts: string[]): boolean {
  if (!before) return true;
  if (sourceOf(cell) === sourceOf(before)) return false;
  const exercise = cell.metadata?.lab?.exercise;
  if (exercise === undefined) conflicts.push(`${nameOf(cell)} was changed by you; the course has it no more.`);
  else conflicts.push(`exercise ${exercise} is no longer part of the course; your answer was kept.`);
  return exercise !== undefined;
}
