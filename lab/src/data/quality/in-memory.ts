/**
 * @file The usual filters, and filtering what is in memory already: a notebook's examples, a test's.
 */
import { invariant } from '../../base/index.ts';
import { boilerplate } from './boilerplate.ts';
import { commonLines } from './common-lines.ts';
import { exactDuplicates } from './exact.ts';
import { isRemoval, type QualityDocument, type QualityFilter, type Removal } from './filter.ts';
import { gopherQuality } from './gopher.ts';
import { nearDuplicates } from './near.ts';
import { normalisation } from './normalise.ts';
import { gopherRepetition } from './repetition.ts';
import { excerptOf, originalsOf, Tally, withOriginals, type FilterReport, type TallyOptions } from './report.ts';

export interface CleanOptions {
  /** In this order (default: `usualFilters()`). */
  readonly filters?: readonly QualityFilter[];
  /** Examples in the report for each reason (default 3). */
  readonly examples?: number;
  /** Decides which examples (default 1). */
  readonly seed?: number;
  readonly quiet?: boolean;
}

/** All filters but those for a classifier and evaluation sets; `folder` is where they put what memory should not hold. */
export function usualFilters(folder?: string): QualityFilter[] {
  const place = folder === undefined ? {} : { folder };
  return [
    normalisation(),
    exactDuplicates(place),
    boilerplate(),
    commonLines(),
    gopherQuality(),
    gopherRepetition(),
    nearDuplicates(place),
  ];
}

/** The options with their defaults. */
export function settledOptions({ filters = usualFilters(), examples = 3, seed = 1 }: CleanOptions): {
  readonly filters: readonly QualityFilter[];
  readonly tally: TallyOptions;
} {
  invariant(Number.isInteger(examples) && examples >= 0, `examples must be a whole number, 0 or more; got ${examples}`);
  return { filters, tally: { examples, seed } };
}

export interface CleanedInMemory {
  readonly kept: readonly QualityDocument[];
  readonly removed: readonly { readonly document: QualityDocument; readonly filter: string; readonly removal: Removal }[];
  readonly filters: readonly FilterReport[];
}

/** Passes the documents through one filter after another. */
export function cleanDocuments(documents: readonly QualityDocument[], options: CleanOptions = {}): CleanedInMemory {
  const { filters, tally } = settledOptions(options);
  const removed: CleanedInMemory['removed'][number][] = [];
  let left = documents;
  const reports = filters.map((filter) => {
    const watch = new Tally(filter, tally);
    try {
      for (const document of left) filter.look?.(document);
      filter.settle?.();
      left = left.flatMap((document) => {
        const verdict = filter.judge(document);
        watch.add(document, verdict);
        if (verdict === undefined) return [document];
        if (!isRemoval(verdict)) return [{ ...document, text: verdict.text }];
        removed.push({ document, filter: filter.name, removal: verdict });
        return [];
      });
      return watch.report();
    } finally {
      filter.reset?.();
    }
  });
  const originals = originalsOf(reports);
  const excerpts = new Map(documents.filter((d) => originals.has(d.number)).map((d) => [d.number, excerptOf(d.text)]));
  return { kept: left, removed, filters: withOriginals(reports, excerpts) };
}
