/**
 * @file Exact deduplication: of texts that are equal, letter by letter, the first stays.
 */
import { hash as digest } from 'node:crypto';
import { Collisions } from './collisions.ts';
import type { QualityFilter } from './filter.ts';
import { Groups } from './groups.ts';

export interface ExactDuplicatesOptions {
  /** Where keys go that do not fit into memory (default: the system's folder for temporary files). */
  readonly folder?: string;
}

/**
 * Texts are taken for equal when the first 64 bits of their SHA-256 are: among a hundred million different documents two
 * are confused with a probability of 0.0003. Put it behind `normalisation`. Memory: 4 bytes a document and 5 MB.
 */
export function exactDuplicates({ folder }: ExactDuplicatesOptions = {}): QualityFilter {
  let collisions: Collisions | undefined;
  let groups = new Groups();
  return {
    name: 'exact duplicates',
    settings: { hash: 'SHA-256, 64 bits' },
    look({ number, text }) {
      collisions ??= new Collisions(folder);
      const key = digest('sha256', text, 'buffer');
      collisions.add(key.readInt32LE(0), key.readInt32LE(4), number);
    },
    settle() {
      collisions?.forEach((earlier, later) => {
        groups.join(earlier, later);
        return true;
      });
      collisions?.close();
      collisions = undefined;
    },
    judge({ number }) {
      const first = groups.first(number);
      return first === number ? undefined : { reason: 'equal to an earlier document', of: first };
    },
    reset() {
      collisions?.close();
      collisions = undefined;
      groups = new Groups();
    },
  };
}
