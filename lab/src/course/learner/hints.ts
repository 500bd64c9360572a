/**
 * @file The hints of an exercise, as they stand folded away (`<details>`) in its notebook.
 */
import { readNotebook, sourceOf, type NotebookCell, type NotebookDocument } from '../notebook-file.ts';

/** The text cells that belong to an exercise: from the code before it to its check, and only its own part of them. */
function textOf(id: string, { cells }: NotebookDocument): string {
  const at = cells.findIndex((cell) => cell.metadata?.lab?.exercise === id);
  if (at < 0) return '';
  const isCode = (cell: NotebookCell): boolean => cell.cell_type === 'code';
  const first = cells.slice(0, at).findLastIndex(isCode) + 1;
  const check = cells.findIndex((cell) => cell.metadata?.lab?.check === id);
  const texts = cells.slice(first, Math.max(at, check)).filter((cell) => cell.cell_type === 'markdown');
  return texts.map(sourceOf).join('\n\n');
}

/** Each hint's text without its markup, the gentlest first. */
export function hintsOf(id: string, notebook: string): string[] {
  const folded = textOf(id, readNotebook(notebook)).matchAll(/<details>\s*<summary>(.*?)<\/summary>([\s\S]*?)<\/details>/g);
  return [...folded].flatMap(([, title = '', body = '']) => (/\bhint\b/i.test(title) ? [body.trim()] : []));
}
