/**
 * @file What a run did: for each filter how much came, how much it removed and why, with examples; as data and as a table.
 */
import { Random } from '../../base/index.ts';
import { isRemoval, type QualityFilter, type PlainData, type QualityDocument, type FilterVerdict } from './filter.ts';
import type { Unreadable } from './source.ts';

export interface TextAmount {
  readonly documents: number;
  /** UTF-8 bytes of the texts. */
  readonly bytes: number;
}

export interface RemovalExample {
  /** The document's number in the input. */
  readonly document: number;
  readonly id: string;
  readonly reason: string;
  readonly detail?: string;
  /** How its text begins. */
  readonly excerpt: string;
  /** For a duplicate: the document that stayed in its place, and how its text begins in the end. */
  readonly of?: { readonly document: number; readonly excerpt: string };
}

export interface FilterReport {
  readonly name: string;
  readonly settings: PlainData;
  /** What came to the filter. */
  readonly came: TextAmount;
  readonly removed: TextAmount;
  /** Documents that go on with another text, and by how many bytes they became shorter. */
  readonly rewritten: TextAmount;
  readonly reasons: Readonly<Record<string, TextAmount>>;
  /** Some of those it removed for each reason, drawn by chance. */
  readonly examples: readonly RemovalExample[];
  readonly notes?: PlainData;
}

export interface QualityReport {
  readonly source: string;
  /** What could be read. */
  readonly read: TextAmount;
  /** What could not, by reason; bytes of the input. */
  readonly unreadable: Readonly<Record<string, TextAmount>>;
  readonly unreadableExamples: readonly Unreadable[];
  /** Documents with U+FFFD in place of bytes that are not UTF-8. */
  readonly repaired: number;
  readonly filters: readonly FilterReport[];
  readonly kept: TextAmount;
}

/** Counts that grow. */
export class Sum implements TextAmount {
  documents = 0;
  bytes = 0;

  add(bytes: number): void {
    this.documents++;
    this.bytes += bytes;
  }

  toJSON(): TextAmount {
    return { documents: this.documents, bytes: this.bytes };
  }
}

const EXCERPT = 160;

export function excerptOf(text: string): string {
  return text.length <= EXCERPT ? text : `${text.slice(0, EXCERPT)}…`;
}

export interface TallyOptions {
  /** Examples for each reason. */
  readonly examples: number;
  /** Decides which. */
  readonly seed: number;
}

/** Watches one filter judge. */
export class Tally {
  readonly #filter: QualityFilter;
  readonly #options: TallyOptions;
  readonly #random: Random;
  readonly #came = new Sum();
  readonly #removed = new Sum();
  readonly #rewritten = new Sum();
  readonly #reasons = new Map<string, { readonly sum: Sum; readonly examples: RemovalExample[] }>();

  constructor(filter: QualityFilter, options: TallyOptions) {
    this.#filter = filter;
    this.#options = options;
    this.#random = new Random(options.seed);
  }

  add(document: QualityDocument, verdict: FilterVerdict): void {
    const bytes = Buffer.byteLength(document.text);
    this.#came.add(bytes);
    if (verdict === undefined) return;
    if (!isRemoval(verdict)) {
      this.#rewritten.add(bytes - Buffer.byteLength(verdict.text));
      return;
    }
    this.#removed.add(bytes);
    const { reason, detail, of } = verdict;
    const found = this.#reasons.get(reason) ?? { sum: new Sum(), examples: [] };
    this.#reasons.set(reason, found);
    found.sum.add(bytes);
    // Reservoir sampling: after n removals each of them is an example with the same probability.
    const { examples } = found;
    const place = examples.length < this.#options.examples ? examples.length : this.#random.integer(found.sum.documents);
    if (place >= this.#options.examples) return;
    examples[place] = {
      document: document.number,
      id: document.id,
      reason,
      ...(detail !== undefined && { detail }),
      excerpt: excerptOf(document.text),
      ...(of !== undefined && { of: { document: of, excerpt: '' } }),
    };
  }

  report(): FilterReport {
    const notes = this.#filter.notes?.();
    const reasons = [...this.#reasons].sort((a, b) => b[1].sum.documents - a[1].sum.documents);
    return {
      name: this.#filter.name,
      settings: this.#filter.settings,
      came: this.#came.toJSON(),
      removed: this.#removed.toJSON(),
      rewritten: this.#rewritten.toJSON(),
      reasons: Object.fromEntries(reasons.map(([reason, { sum }]) => [reason, sum.toJSON()])),
      examples: reasons.flatMap(([, { examples }]) => examples.toSorted((a, b) => a.document - b.document)),
      ...(notes !== undefined && { notes }),
    };
  }
}

/** The numbers of the documents that examples name as those that stay. */
export function originalsOf(filters: readonly FilterReport[]): Set<number> {
  return new Set(filters.flatMap(({ examples }) => examples.flatMap(({ of }) => (of ? [of.document] : []))));
}

/** The reports with those documents' beginnings in their examples. */
export function withOriginals(filters: readonly FilterReport[], excerpts: ReadonlyMap<number, string>): FilterReport[] {
  return filters.map((filter) => ({
    ...filter,
    examples: filter.examples.map((example) =>
      example.of ? { ...example, of: { ...example.of, excerpt: excerpts.get(example.of.document) ?? '' } } : example,
    ),
  }));
}

const count = (n: number): string => n.toLocaleString('en');
const percent = (part: number, whole: number): string => (whole === 0 ? '' : `${((100 * part) / whole).toFixed(1)}%`);

/** The report as a table for a terminal: a line for each filter, below it one for each reason. */
export function formatQualityReport({ read, unreadable, repaired, filters, kept }: QualityReport): string {
  const rows: string[][] = [['', 'documents', 'share', 'bytes', 'share', 'rewritten']];
  const row = (name: string, { documents, bytes }: TextAmount, rewritten = ''): void => {
    const shares = [percent(documents, read.documents), percent(bytes, read.bytes)] as const;
    rows.push([name, count(documents), shares[0], count(bytes), shares[1], rewritten]);
  };
  for (const [reason, amount] of Object.entries(unreadable)) row(`unreadable: ${reason}`, amount);
  row('read', read, repaired === 0 ? '' : `${count(repaired)} repaired`);
  for (const { name, removed, rewritten, reasons } of filters) {
    const { documents, bytes } = rewritten;
    row(`− ${name}`, removed, documents === 0 ? '' : `${count(documents)}, −${count(bytes)} B`);
    const named = Object.entries(reasons);
    if (named.length > 1) for (const [reason, amount] of named) row(`    ${reason}`, amount);
  }
  row('kept', kept);
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((cells) => cells[i]!.length)));
  const aligned = (cell: string, i: number): string => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!));
  return rows.map((cells) => cells.map(aligned).join('  ').trimEnd()).join('\n');
}
