/**
 * @file N-gram models: the next token by how often it followed the last few ones.
 * Smoothing: Chen and Goodman 1999, An empirical study of smoothing techniques for language modeling, sections 2 and 3.
 */
import { invariant, Random } from '../../base/index.ts';
import { sampleFrom } from '../sampling.ts';
import { checkToken, NGramCounts, root } from './counts.ts';
import { estimateDiscounts, type Discounts } from './discounts.ts';

export interface NGramOptions {
  /** n: the token and the n − 1 before it. */
  readonly order: number;
  readonly vocabSize: number;
  /**
   * What is done about n-grams that were never seen. `kneser-ney` (unless told): interpolated and modified, down to the uniform
   * distribution. `add-k`: k is added to every count. `maximum-likelihood`: nothing.
   */
  readonly smoothing?: 'kneser-ney' | 'add-k' | 'maximum-likelihood';
  /** What add-k adds (default 1: Laplace). */
  readonly k?: number;
  /**
   * What Kneser–Ney takes off the counts 1, 2, and 3 or more of n-grams of length 1, of length 2, …; estimated from the counts
   * of counts unless told.
   */
  readonly discounts?: readonly Discounts[];
}

export interface NGramSampleOptions {
  /** What stands before. */
  readonly context?: ArrayLike<number>;
  /** Decides what is drawn (default 1). */
  readonly seed?: number;
}

export class NGramModel {
  readonly order: number;
  readonly vocabSize: number;
  /** By length of the n-gram, from 1 on; all zeros without Kneser–Ney. */
  readonly discounts: readonly Discounts[];
  readonly #counts: NGramCounts;
  /** What is added to each count. */
  readonly #k: number;
  /** By node: the count that stands for it, occurrences or predecessors. */
  readonly #weights: readonly number[];
  /** By node: the sum of the children's counts. */
  readonly #totals: Float64Array;
  /** By node: the share of probability that its discounted children leave to the shorter n-gram; without Kneser–Ney none. */
  readonly #left: Float64Array | undefined;

  private constructor(counts: NGramCounts, options: NGramOptions) {
    const { order, vocabSize, smoothing = 'kneser-ney', k = 1 } = options;
    this.order = order;
    this.vocabSize = vocabSize;
    this.#counts = counts;
    this.#k = smoothing === 'add-k' ? k : 0;
    const kneserNey = smoothing === 'kneser-ney';
    // Only the longest n-grams count by how often they occur; shorter ones by how many contexts they complete.
    const { occurrences, predecessors, lengths } = counts;
    this.#weights = kneserNey ? lengths.map((n, node) => (n === order ? occurrences : predecessors)[node]!) : occurrences;
    this.discounts = kneserNey ? (options.discounts ?? estimateDiscounts(this.#weights, lengths, order)) : [];
    this.#totals = new Float64Array(counts.nodes);
    this.#left = kneserNey ? new Float64Array(counts.nodes) : undefined;
    for (let node = 0; node < counts.nodes; node++) this.#sumUp(node);
  }

  /**
   * Counts the n-grams of a text.
   *
   * @throws RangeError for ids outside the vocabulary and options that make no sense.
   */
  static train(ids: ArrayLike<number>, options: NGramOptions): NGramModel {
    const { order, vocabSize, k = 1, discounts } = options;
    invariant(Number.isInteger(order) && order >= 1, `NGramModel: the order must be 1 or more, got ${order}`);
    invariant(Number.isInteger(vocabSize) && vocabSize >= 1, `NGramModel: vocabSize must be 1 or more, got ${vocabSize}`);
    invariant(k > 0 && Number.isFinite(k), `NGramModel: k must be above 0, got ${k}`);
    invariant(
      discounts === undefined || discounts.length === order,
      () => `NGramModel: ${order} discounts are wanted, one for each length; got ${discounts?.length}`,
    );
    return new NGramModel(new NGramCounts(ids, order, vocabSize), options);
  }

  /** How many different n-grams it keeps, of all lengths: its size. */
  get size(): number {
    return this.#counts.nodes - 1;
  }

  /**
   * P(next token | context). Only the last order − 1 tokens of the context count; it may be shorter.
   *
   * @returns V numbers that sum to 1; with maximum likelihood V zeros after a context that was never seen
   */
  next(context: ArrayLike<number>): Float64Array {
    const ending = this.#ending(context);
    if (!this.#left) return this.#addK(this.#whole(ending, context.length));
    const probabilities = new Float64Array(this.vocabSize).fill(1 / this.vocabSize);
    for (const node of ending) {
      const total = this.#totals[node]!;
      if (total === 0) continue;
      const left = this.#left[node]!;
      for (let token = 0; token < this.vocabSize; token++) probabilities[token]! *= left;
      this.#counts.forEachChild(node, (token, child) => {
        probabilities[token]! += this.#discounted(child) / total;
      });
    }
    return probabilities;
  }

  /** The sum of log P(id | the ids before it) in nats, of ids that begin a text; −Infinity when one of them is impossible. */
  logProbability(ids: ArrayLike<number>): number {
    return -this.surprisal(ids).reduce((sum, nats) => sum + nats, 0);
  }

  /** −log P(id | the ids before it) in nats, one number for each id. */
  surprisal(ids: ArrayLike<number>): Float64Array {
    const nats = new Float64Array(ids.length);
    let ending = [root];
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      checkToken(id, i, this.vocabSize);
      nats[i] = -Math.log(this.#probability(id, ending, i));
      ending = this.#counts.follow(ending, id);
    }
    return nats;
  }

  /** Draws `length` tokens. Where a context is new, the shorter one decides. */
  sample(length: number, { context = [], seed = 1 }: NGramSampleOptions = {}): Int32Array {
    const random = new Random(seed);
    const ids = Int32Array.from(context);
    const all = new Int32Array(ids.length + length);
    all.set(ids);
    for (let i = ids.length; i < all.length; i++) {
      let from = Math.max(0, i - this.order + 1);
      let probabilities = this.next(all.subarray(from, i));
      while (from < i && !probabilities.some((p) => p > 0)) probabilities = this.next(all.subarray(++from, i));
      all[i] = sampleFrom(probabilities, random);
    }
    return all.slice(ids.length);
  }

  #sumUp(node: number): void {
    let total = 0;
    let taken = 0;
    this.#counts.forEachChild(node, (_, child) => {
      total += this.#weights[child]!;
      taken += this.#weights[child]! - this.#discounted(child);
    });
    this.#totals[node] = total;
    if (this.#left) this.#left[node] = taken / total;
  }

  #discounted(node: number): number {
    const count = this.#weights[node]!;
    const discount = this.discounts[this.#counts.lengths[node]! - 1]?.[Math.min(count, 3) - 1] ?? 0;
    return Math.max(0, count - discount);
  }

  /** The n-grams, shortest first, that the context ends with. */
  #ending(context: ArrayLike<number>): number[] {
    let ending = [root];
    for (let i = Math.max(0, context.length - this.order + 1); i < context.length; i++) {
      checkToken(context[i]!, i, this.vocabSize);
      ending = this.#counts.follow(ending, context[i]!);
    }
    return ending;
  }

  /** The node of the whole context, if that was ever seen. */
  #whole(ending: readonly number[], contextLength: number): number | undefined {
    return ending[Math.min(contextLength, this.order - 1)];
  }

  #addK(node: number | undefined): Float64Array {
    const probabilities = new Float64Array(this.vocabSize).fill(this.#k);
    const total = (node === undefined ? 0 : this.#totals[node]!) + this.#k * this.vocabSize;
    if (total === 0) return probabilities;
    if (node !== undefined) {
      this.#counts.forEachChild(node, (token, child) => {
        probabilities[token]! += this.#weights[child]!;
      });
    }
    return probabilities.map((count) => count / total);
  }

  #probability(id: number, ending: readonly number[], contextLength: number): number {
    if (!this.#left) {
      const node = this.#whole(ending, contextLength);
      const child = node === undefined ? undefined : this.#counts.child(node, id);
      const total = (node === undefined ? 0 : this.#totals[node]!) + this.#k * this.vocabSize;
      return total === 0 ? 0 : ((child === undefined ? 0 : this.#weights[child]!) + this.#k) / total;
    }
    let probability = 1 / this.vocabSize;
    for (const node of ending) {
      const total = this.#totals[node]!;
      if (total === 0) continue;
      const child = this.#counts.child(node, id);
      probability = this.#left[node]! * probability + (child === undefined ? 0 : this.#discounted(child) / total);
    }
    return probability;
  }
}
