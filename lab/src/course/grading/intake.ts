/**
 * @file A notebook as it was handed in: which exercises it answers, or a sentence about why it cannot be read. Students'
 * notebooks have been through editors, merges and mail; what can be graded of them is.
 */
import { LabError, messageOf } from '../../base/index.ts';
import type { Course } from '../catalog.ts';
import type { Chapter } from '../exercise.ts';
import { taggedCells, type NotebookDocument, type TaggedCell } from '../notebook-file.ts';

export interface HandedIn {
  readonly chapter: Chapter;
  readonly cells: readonly TaggedCell[];
  /** For the student: what was odd about it. */
  readonly notes: readonly string[];
}

/** More than any notebook with its figures. */
export const MOST_BYTES = 256 * 2 ** 20;

/**
 * Reads a notebook out of the bytes of its file.
 *
 * @param name of the file, for messages
 * @throws LabError with a sentence for the student
 */
export function takeIn(name: string, bytes: Buffer, course: Course): HandedIn {
  const notebook = parseNotebook(name, textOf(name, bytes));
  const cells = taggedCells(notebook);
  const notes: string[] = [];
  const ids = cells.flatMap(({ exercise }) => (exercise === undefined ? [] : [exercise]));
  const chapter = chapterOf(name, ids, course);
  const own = new Set(chapter.exercises.map(({ id }) => id));
  const strange = [...new Set(ids.filter((id) => !own.has(id)))];
  if (strange.length > 0)
    notes.push(
      `${name}: cells of other exercises (${strange.join(', ')}) are not part of chapter ${chapter.number} and were left out.`,
    );
  const twice = [...own].filter((id) => ids.filter((other) => other === id).length > 1);
  for (const id of twice)
    notes.push(`${name}: exercise ${id} has more than one cell. They were run in their order, so the last one counts.`);
  const named = course.chapters.find(({ slug }) => name.includes(slug));
  if (named && named !== chapter)
    notes.push(
      `${name}: the file is named after chapter ${named.number}, but its exercises are those of chapter ${chapter.number}.`,
    );
  const language = (notebook as { metadata?: { kernelspec?: { language?: unknown } } }).metadata?.kernelspec?.language;
  if (typeof language === 'string' && language.toLowerCase() !== 'typescript' && language.toLowerCase() !== 'tslab')
    notes.push(`${name}: its kernel is for ${language.slice(0, 40)}. Its cells were read as TypeScript.`);
  return { chapter, notes, cells: cells.filter(({ exercise }) => exercise === undefined || own.has(exercise)) };
}

function textOf(name: string, bytes: Buffer): string {
  if (bytes.length > MOST_BYTES)
    throw new LabError(
      `${name} has ${Math.round(bytes.length / 2 ** 20)} MiB. Clear its outputs, save it, and hand it in again.`,
    );
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return bytes.toString('utf16le', 2);
  if (first === 0xfe && second === 0xff)
    return Buffer.from(bytes.subarray(2, bytes.length & ~1))
      .swap16()
      .toString('utf16le');
  return bytes.toString('utf8').replace(/^\uFEFF/, '');
}

function parseNotebook(name: string, text: string): NotebookDocument {
  if (text.trim() === '') throw new LabError(`${name} is empty. Save the notebook and hand it in again.`);
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    const marker = text.split('\n').findIndex((line) => /^(<{7}|>{7}|={7})( |\r?$)/.test(line));
    if (marker >= 0)
      throw new LabError(
        `${name} has merge markers (<<<<<<<, =======, >>>>>>>) in line ${marker + 1}. Resolve them and hand it in again.`,
      );
    throw new LabError(`${name} is not a notebook that can be read: ${messageOf(error).slice(0, 200)}`);
  }
  const { cells, worksheets } = (document ?? {}) as { cells?: unknown; worksheets?: unknown };
  if (Array.isArray(worksheets))
    throw new LabError(`${name} is a notebook of an old format (nbformat 3). Open and save it with JupyterLab 4.`);
  if (!Array.isArray(cells)) throw new LabError(`${name} is not a notebook: it has no list of cells.`);
  const wrong = cells.findIndex((cell) => !isCell(cell));
  if (wrong >= 0) throw new LabError(`${name} is not a notebook: its cell ${wrong + 1} is malformed.`);
  return document as NotebookDocument;
}

function isCell(value: unknown): boolean {
  const cell = value as { cell_type?: unknown; source?: unknown; metadata?: unknown } | null;
  if (typeof cell !== 'object' || cell === null || typeof cell.cell_type !== 'string') return false;
  const { source } = cell;
  return typeof source === 'string' || (Array.isArray(source) && source.every((line) => typeof line === 'string'));
}

/** The chapter whose exercises most of the cells answer. */
function chapterOf(name: string, ids: readonly string[], course: Course): Chapter {
  const counts = course.chapters.map((chapter) => ({
    chapter,
    count: ids.filter((id) => chapter.exercises.some((exercise) => exercise.id === id)).length,
  }));
  const best = counts.reduce((a, b) => (b.count > a.count ? b : a));
  if (best.count > 0) return best.chapter;
  throw new LabError(
    ids.length > 0
      ? `${name} has no exercise of this course (it has ${[...new Set(ids)].slice(0, 5).join(', ')}).`
      : `${name} has no cell that is tagged with an exercise. Copy your answers into a fresh notebook of the chapter.`,
  );
}

/** A digest's worth of what counts of a notebook: outputs and prose do not. */
export function countsOf(handedIn: HandedIn): unknown {
  return [handedIn.chapter.slug, handedIn.cells, handedIn.notes];
}
