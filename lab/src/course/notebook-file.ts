/**
 * @file Saved notebooks: the cells that are tagged as set-up or as the answer to an exercise, and putting answers in.
 */
import { basename } from 'node:path';
import { readFileSync } from 'node:fs';
import { LabError, messageOf } from '../base/index.ts';

/** A cell as nbformat 4 keeps it. */
export interface NotebookCell {
  readonly cell_type: string;
  readonly metadata?: { readonly lab?: { readonly setup?: boolean; readonly exercise?: string; readonly check?: string } };
  readonly source: string | readonly string[];
}

export interface NotebookDocument {
  readonly cells: readonly NotebookCell[];
}

export interface TaggedCell {
  /** The exercise; undefined for the set-up cell. */
  readonly exercise?: string;
  readonly source: string;
}

function isNotebook(value: unknown): value is NotebookDocument {
  const cells = (value as { cells?: unknown } | null)?.cells;
  return (
    Array.isArray(cells) && cells.every((c: unknown) => typeof c === 'object' && c !== null && 'cell_type' in c && 'source' in c)
  );
}

/** @throws LabError when the file is missing or is no notebook */
export function readNotebook(file: string): NotebookDocument {
  let document: unknown;
  try {
    document = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw new LabError(`There is no notebook ${file}.`);
    throw new LabError(`${basename(file)} is not a notebook that can be read: ${messageOf(error)}`);
  }
  if (!isNotebook(document)) throw new LabError(`${basename(file)} is not a notebook: it has no list of cells.`);
  return document;
}

export function sourceOf({ source }: NotebookCell): string {
  return typeof source === 'string' ? source : source.join('');
}

/** The set-up cell and the exercises' cells, in the notebook's order. */
export function taggedCells(notebook: NotebookDocument): TaggedCell[] {
  return notebook.cells.flatMap((cell): TaggedCell[] => {
    const { exercise, setup } = cell.metadata?.lab ?? {};
    if (cell.cell_type !== 'code') return [];
    if (typeof exercise === 'string') return [{ exercise, source: sourceOf(cell) }];
    return setup === true ? [{ source: sourceOf(cell) }] : [];
  });
}

/** The regions of a solution by exercise: what stands between `// #region 3.1 …` and `// #endregion`, without `export`. */
export function solutionRegions(solution: string): ReadonlyMap<string, string> {
  const regions = new Map<string, string>();
  for (const [, id, body] of solution.matchAll(/^\/\/ #region (\d+\.\d+)\b.*\n([\s\S]*?)^\/\/ #endregion/gm)) {
    regions.set(id!, body!.replace(/^export /gm, '').trim());
  }
  return regions;
}

/**
 * The notebook of a reader who has solved everything: each exercise's cell holds the solution's region of the same id.
 *
 * @throws LabError that names an exercise without a region, or a region without a cell
 */
export function solvedNotebook<N extends NotebookDocument>(notebook: N, solution: string): N {
  const regions = solutionRegions(solution);
  const placed = new Set<string>();
  const cells = notebook.cells.map((cell) => {
    const id = cell.metadata?.lab?.exercise;
    if (id === undefined) return cell;
    const source = regions.get(id);
    if (source === undefined) throw new LabError(`The solution has no region for exercise ${id}.`);
    placed.add(id);
    return { ...cell, source };
  });
  for (const id of regions.keys()) if (!placed.has(id)) throw new LabError(`The notebook has no cell for exercise ${id}.`);
  return { ...notebook, cells };
}
