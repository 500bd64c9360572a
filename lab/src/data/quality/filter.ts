/**
 * @file What passes through the pipeline, and what a filter is: something that keeps a document, rewrites it or removes it,
 * and says why.
 */

/** One text with whatever else its record held. */
export interface QualityDocument {
  /** Its place in the input, from 1; in a JSON Lines file the number of its line. */
  readonly number: number;
  readonly id: string;
  readonly text: string;
  /** The other fields of its record, which are passed on untouched. */
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface Removal {
  /** The rule that removed it, in few words, the same for all documents: the report counts by it. */
  readonly reason: string;
  /** What was measured in this document: `0.42 of the lines are repeated; at most 0.30`. */
  readonly detail?: string;
  /** The number of the document that stays in its place, for duplicates. */
  readonly of?: number;
}

/** Nothing: it stays as it is. A text: it goes on with that one. */
export type FilterVerdict = undefined | { readonly text: string } | Removal;

/** A value of a setting or a note in the report: plain data. */
export type PlainData = string | number | boolean | null | readonly PlainData[] | { readonly [name: string]: PlainData };

/**
 * One step of the pipeline. A filter that has to know the whole corpus before it can judge (which documents are duplicates?)
 * has a `look`: it then sees every document that has come so far, is told that this was all, and judges the same documents in
 * the same order.
 */
export interface QualityFilter {
  readonly name: string;
  /** Everything that decides what it does; stands in the report, and a run is resumed only with the same. */
  readonly settings: PlainData;
  look?(document: QualityDocument): void;
  /** Called once between the last look and the first verdict. */
  settle?(): void;
  judge(document: QualityDocument): FilterVerdict;
  /** Further results for the report, asked for after the last verdict. */
  notes?(): PlainData;
  /** Gives back memory and files. It may look again afterwards, at another corpus. */
  reset?(): void;
}

export function isRemoval(verdict: FilterVerdict): verdict is Removal {
  return verdict !== undefined && 'reason' in verdict;
}

/** Texts as documents, for a corpus that fits into memory. */
export function documentsOf(texts: readonly string[]): QualityDocument[] {
  return texts.map((text, i) => ({ number: i + 1, id: String(i + 1), text, fields: {} }));
}
