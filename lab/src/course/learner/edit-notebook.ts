/**
 * @file Writing a saved notebook: as Jupyter would write it, whole or not at all.
 */
import { writeAtomically } from '../../files/index.ts';
import type { NotebookCell, NotebookDocument } from '../notebook-file.ts';

/** A source in the form that Jupyter saves: a list of lines that keep their ends. */
export function sourceLines(source: string): string[] {
  return source.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

/** The cell with another source, in the form that it had, and without what the old one put out. */
export function withSource<C extends NotebookCell>(cell: C, source: string): C {
  const kept = { ...cell, source: typeof cell.source === 'string' ? source : sourceLines(source) };
  return cell.cell_type === 'code' ? { ...kept, outputs: [], execution_count: null } : kept;
}

/** @throws LabError when it cannot be saved; the old file is there then */
export async function saveNotebook(file: string, notebook: NotebookDocument): Promise<void> {
  await writeAtomically(file, [Buffer.from(`${JSON.stringify(notebook, null, 1)}\n`)]);
}
