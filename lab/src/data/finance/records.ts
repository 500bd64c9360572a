/**
 * @file What a sentence with a sentiment and a conversation about a table are, whichever data set they come from; and what is
 * done with records that are broken.
 */
import { LabError } from '../../base/index.ts';

/** In the order of their scores. */
export const SENTIMENTS = ['negative', 'neutral', 'positive'] as const;

export type Sentiment = (typeof SENTIMENTS)[number];

/** A sentence of financial news, or a post, and how it speaks. */
export interface SentimentRecord {
  readonly sentence: string;
  readonly label: Sentiment;
  /** About whom; the sentence may speak well of one and badly of another. */
  readonly target?: string;
  /** How strongly, from −1 to 1. */
  readonly score?: number;
  /** What about the target: `Corporate/Appointment`. */
  readonly aspect?: string;
  /** News, unless it is a post of a social network. */
  readonly source?: 'news' | 'post';
}

/** One question of a conversation. */
export interface ConversationTurn {
  readonly question: string;
  /** Computes the answer: `subtract(206588, 181001)`, or a number alone. */
  readonly program: string;
  /** What the program gives, rounded to 5 digits. */
  readonly answer: number | 'yes' | 'no';
  /** Which of the original questions the turn belongs to: 0, or 1 in conversations made of two. */
  readonly part: number;
}

/** A report with a table, and questions about it that follow one from another. */
export interface TableConversation {
  readonly id: string;
  /** The sentences before the table. */
  readonly preText: readonly string[];
  /** Rows of cells: the first row is the header, the first cell of a row its name. */
  readonly table: readonly (readonly string[])[];
  /** The sentences after it. */
  readonly postText: readonly string[];
  readonly turns: readonly ConversationTurn[];
  /** Which turn is asked, in files that have an entry for each. */
  readonly turn?: number;
}

export interface ReadRecordsOptions {
  /** 'refuse' (default) stops at the first broken record; 'skip' leaves broken ones out and tells which. */
  readonly broken?: 'refuse' | 'skip';
}

export interface BrokenRecord {
  /** `line 12`, `entry 3 (id "…")` */
  readonly place: string;
  readonly reason: string;
}

export interface RecordsRead<T> {
  readonly records: readonly T[];
  /** What was left out. */
  readonly broken: readonly BrokenRecord[];
}

/** What makes one record unusable; the others may be fine. */
export class RecordError extends Error {}

/**
 * Reads records one by one.
 *
 * @param name of the file, for errors
 * @param read the records of one entry
 * @throws LabError at the first broken one unless they are skipped, and when none is left.
 */
export function collectRecords<Entry, T>(
  name: string,
  entries: Iterable<readonly [place: string, entry: Entry]>,
  read: (entry: Entry) => readonly T[],
  { broken: choice = 'refuse' }: ReadRecordsOptions = {},
): RecordsRead<T> {
  const records: T[] = [];
  const broken: BrokenRecord[] = [];
  for (const [place, entry] of entries) {
    try {
      records.push(...read(entry));
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      if (choice === 'refuse') {
        const advice = "Mend it, or leave broken records out with { broken: 'skip' }.";
        throw new LabError(`${name}, ${place}: ${error.message}. ${advice}`, { cause: error });
      }
      broken.push({ place, reason: error.message });
    }
  }
  if (records.length === 0) {
    const why = broken.length > 0 ? `; ${broken.length} are broken, the first (${broken[0]!.place}): ${broken[0]!.reason}` : '';
    throw new LabError(`${name} holds no records${why}.`);
  }
  return { records, broken };
}

/** How many records are broken, by reason, the most frequent first: for a report. */
export function brokenReasons(broken: readonly BrokenRecord[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const { reason } of broken) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([, a], [, b]) => b - a));
}
