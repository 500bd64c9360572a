/**
 * @file Near-deduplication: of texts that say almost the same, the first stays. Lee et al. 2022; the sizes are FineWeb's.
 */
import { tmpdir } from 'node:os';
import { invariant } from '../../base/index.ts';
import { Collisions } from './collisions.ts';
import type { QualityFilter } from './filter.ts';
import { Groups } from './groups.ts';
import { MinHash, shingles, sortedSet, type MinHashOptions } from './minhash.ts';
import { ShingleStore } from './shingle-store.ts';

export interface NearDuplicatesOptions extends MinHashOptions {
  /**
   * Join two documents that share a band only if their true Jaccard similarity is at least this. Without it a shared band is
   * enough, as in FineWeb: faster, and wrong for some pairs below the threshold of the curve.
   */
  readonly verify?: number;
  /** Where keys and shingles go that do not fit into memory (default: the system's folder for temporary files). */
  readonly folder?: string;
}

/**
 * Documents that share a band are one group, and so are documents that share one with a member of the group. In a group the
 * first document stays. Memory: 4 bytes a document for the groups and 1.4 for the keys, 8 more with `verify`, and 6 MB.
 */
export function nearDuplicates(options: NearDuplicatesOptions = {}): QualityFilter {
  const { verify, folder = tmpdir(), seed = 1 } = options;
  invariant(verify === undefined || (verify > 0 && verify <= 1), `nearDuplicates: verify must be in (0, 1], got ${verify}`);
  const hash = new MinHash(options);
  const { ngram, bands, rows } = hash;
  let state = new NearState(folder, hash, verify);
  return {
    name: 'near duplicates',
    settings: { ngram, bands, rows, seed, verify: verify ?? null },
    look: ({ number, text }) => state.look(number, text),
    settle: () => state.settle(),
    judge({ number }) {
      const of = state.groups.first(number);
      return of === number ? undefined : { reason: 'near-duplicate of an earlier document', of };
    },
    notes: () => ({
      threshold: Number(((1 / bands) ** (1 / rows)).toFixed(3)),
      'pairs compared': state.compared,
      'pairs refused': state.refused,
    }),
    reset() {
      state.close();
      state = new NearState(folder, hash, verify);
    },
  };
}

class NearState {
  readonly groups = new Groups();
  /** Pairs with a band in common that were not of one group already. */
  compared = 0;
  /** Those of them that are less alike than `verify` asks. */
  refused = 0;
  readonly #folder: string;
  readonly #hash: MinHash;
  readonly #verify: number | undefined;
  #collisions: Collisions | undefined;
  #store: ShingleStore | undefined;

  constructor(folder: string, hash: MinHash, verify: number | undefined) {
    this.#folder = folder;
    this.#hash = hash;
    this.#verify = verify;
  }

  look(number: number, text: string): void {
    const collisions = (this.#collisions ??= new Collisions(this.#folder));
    const signature = this.#hash.signature(text);
    if (signature) this.#hash.bandKeys(signature, (high, low) => collisions.add(high, low, number));
    if (this.#verify === undefined) return;
    this.#store ??= new ShingleStore(this.#folder);
    this.#store.add(number, sortedSet(shingles(text, this.#hash.ngram)));
  }

  settle(): void {
    this.#collisions?.forEach((earlier, later) => {
      if (this.groups.first(earlier) === this.groups.first(later)) return true;
      this.compared++;
      if (this.#verify !== undefined && this.#store!.similarity(earlier, later) < this.#verify) {
        this.refused++;
        return false;
      }
      this.groups.join(earlier, later);
      return true;
    });
    this.close();
  }

  close(): void {
    this.#collisions?.close();
    this.#store?.close();
    this.#collisions = undefined;
    this.#store = undefined;
  }
}
