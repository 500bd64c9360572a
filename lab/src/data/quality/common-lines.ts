/**
 * @file Lines that many documents share: headers, footers, notices, whatever their wording.
 */
import { invariant } from '../../base/index.ts';
import { withoutLines } from './boilerplate.ts';
import type { QualityFilter } from './filter.ts';
import { LineCounts } from './line-counts.ts';

export interface CommonLinesOptions {
  /** A line that stands in so many documents is cut out of all of them; 2 … 255 (default 10). */
  readonly documents?: number;
  /** The largest share of characters in such lines with which a document is still kept, without them (default 0.5). */
  readonly maxShare?: number;
  /** Characters that a line must have to count: short ones are shared by chance (default 15). */
  readonly minLength?: number;
  /** Size of the table of counts: 2^bits cells in each of 4 rows (default 22: 16 MiB). */
  readonly bits?: number;
  readonly seed?: number;
}

/**
 * Put it behind `exactDuplicates`, or all lines of a text that comes ten times are common. Memory: the table of counts, whose
 * size is fixed; the report says how likely it takes a rare line for a common one.
 */
export function commonLines(options: CommonLinesOptions = {}): QualityFilter {
  const { documents = 10, maxShare = 0.5, minLength = 15, bits = 22, seed = 1 } = options;
  invariant(
    Number.isInteger(documents) && documents >= 2 && documents <= 255,
    `commonLines: documents must be a whole number from 2 to 255, got ${documents}`,
  );
  invariant(Number.isInteger(bits) && bits >= 4 && bits <= 28, `commonLines: bits must be in 4 … 28, got ${bits}`);
  let counts: LineCounts | undefined;
  let cut = 0;
  return {
    name: 'common lines',
    settings: { documents, maxShare, minLength, bits, seed },
    look({ text }) {
      counts ??= new LineCounts(bits, seed);
      for (const line of longLines(text, minLength)) counts.add(line);
    },
    judge({ text }) {
      const common = new Set<string>();
      for (const line of longLines(text, minLength)) if (counts && counts.count(line) >= documents) common.add(line);
      if (common.size === 0) return undefined;
      const lines = text.split('\n');
      cut += lines.filter((line) => common.has(line)).length;
      return withoutLines(lines, (i) => common.has(lines[i]!), { maxShare, reason: 'mostly lines that many documents share' });
    },
    notes: () => ({ 'lines cut': cut, 'risk for a rare line': Number((counts?.confusion(documents) ?? 0).toExponential(1)) }),
    reset() {
      counts = undefined;
      cut = 0;
    },
  };
}

/** The different lines of a text that are long enough. */
function longLines(text: string, minLength: number): Iterable<string> {
  if (!text.includes('\n')) return text.length >= minLength ? [text] : [];
  return new Set(text.split('\n').filter((line) => line.length >= minLength));
}
