/**
 * @file A corpus as one long row of token ids.
 */
import { invariant } from '../base/index.ts';

export class TokenDataset {
  readonly ids: Int32Array;
  readonly vocabSize: number;

  /** @throws RangeError when an id is outside 0 … vocabSize − 1, saying which and where. */
  constructor(ids: ArrayLike<number>, vocabSize: number) {
    invariant(
      Number.isInteger(vocabSize) && vocabSize > 0,
      `TokenDataset: vocabSize must be a positive integer, got ${vocabSize}`,
    );
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      invariant(
        Number.isInteger(id) && id >= 0 && id < vocabSize,
        () => `TokenDataset: token id ${id} at position ${i} is out of range; the vocabulary has 0 … ${vocabSize - 1}`,
      );
    }
    this.ids = ids instanceof Int32Array ? ids : Int32Array.from(ids);
    this.vocabSize = vocabSize;
  }

  get length(): number {
    return this.ids.length;
  }

  /**
   * Two parts by position, not by chance: neighbouring text is alike, so shuffled windows would leak.
   *
   * @param fraction of the tokens that go into the first part, rounded down
   */
  split(fraction: number): [TokenDataset, TokenDataset] {
    invariant(fraction >= 0 && fraction <= 1, `TokenDataset.split: the fraction must be in 0 … 1, got ${fraction}`);
    const cut = Math.floor(this.length * fraction);
    return [this.slice(0, cut), this.slice(cut)];
  }

  /** Tokens from..to − 1 as a dataset that shares their memory. */
  slice(from: number, to: number = this.length): TokenDataset {
    return new TokenDataset(this.ids.subarray(from, to), this.vocabSize);
  }
}
