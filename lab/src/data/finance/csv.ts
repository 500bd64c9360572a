/**
 * @file Comma-separated values (RFC 4180): cells in quotes may hold commas, line ends and doubled quotes.
 */
import { LabError } from '../../base/index.ts';

export interface CSVRow {
  /** Where it begins, counted from 1. */
  readonly line: number;
  readonly cells: readonly string[];
}

/**
 * @param name of the file, for errors
 * @throws LabError for a quote that is never closed, saying where it was opened.
 */
export function parseCSV(text: string, name: string): CSVRow[] {
  const rows: CSVRow[] = [];
  // A cell, quoted or not, and what ends it; sticky, so that nothing is passed over.
  const cell = /(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n][^,\r\n]*)?)(,|\r\n|\n|\r|$)/y;
  let line = 1;
  let row: { line: number; cells: string[] } = { line, cells: [] };
  while (cell.lastIndex < text.length || row.cells.length > 0) {
    const from = cell.lastIndex;
    const match = cell.exec(text);
    if (!match) throw new LabError(`${name}, line ${line}: a quote is not closed, or text follows one that was.`);
    row.cells.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '');
    line += text.slice(from, cell.lastIndex).match(/\r\n|\n|\r/g)?.length ?? 0;
    if (match[3] === ',') continue;
    if (row.cells.length > 1 || row.cells[0] !== '') rows.push(row);
    row = { line, cells: [] };
  }
  return rows;
}
