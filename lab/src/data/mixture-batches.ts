/**
 * @file Batches from several corpora by weight, with account of what was drawn from each.
 *
 * Shapes: B sequences of T tokens; every row of a batch is from one source, so shares of rows are shares of tokens.
 */
import { invariant, LabError, Random, type RandomState } from '../base/index.ts';
import { batchOf, type BatchOptions, type Batches } from './batches.ts';
import type { TokenDataset } from './dataset.ts';
import { mixtureShares, type MixtureShare } from './mixture.ts';

export interface MixtureDataset {
  readonly name: string;
  readonly dataset: TokenDataset;
  /** As in `MixtureSource`. */
  readonly weight?: number;
}

export interface MixtureBatchOptions extends BatchOptions {
  readonly seed?: number;
}

/** Batches that say what has been drawn from each source so far. */
export interface MixtureBatches extends Batches {
  /** Tokens and epochs so far. */
  readonly drawn: readonly MixtureShare[];
}

interface MixtureState {
  readonly random: RandomState;
  /** Windows drawn so far from each source. */
  readonly windows: readonly number[];
}

/**
 * Batches for `train`: each row is a window of one source, drawn by weight; inside a source the windows follow each other in an
 * order that is shuffled anew in each epoch, so that none is seen twice before all have been seen once. What is left at the end
 * of a source, shorter than a window, is not seen.
 *
 * @throws LabError when a source is shorter than one context and the token after it.
 */
export function mixtureBatches(sources: readonly MixtureDataset[], options: MixtureBatchOptions): MixtureBatches {
  const { batchSize, contextLength, seed = 0 } = options;
  for (const [name, size] of Object.entries({ batchSize, contextLength })) {
    invariant(Number.isInteger(size) && size > 0, `mixtureBatches: ${name} must be a positive integer, got ${size}`);
  }
  const shares = mixtureShares(sources.map((source) => ({ ...source, tokens: source.dataset.length })));
  const used = sources.filter((_, i) => shares[i]! > 0);
  const decks = used.map(({ name, dataset }, i) => new Deck(name, dataset, contextLength, seed + i));
  const weights = shares.filter((share) => share > 0);
  const random = new Random(seed);
  return {
    next() {
      return batchOf(Array.from({ length: batchSize }, () => decks[indexByWeight(random, weights)]!.next()));
    },
    get drawn() {
      return drawnFrom(decks, contextLength);
    },
    get state() {
      return { random: random.state, windows: decks.map((deck) => deck.drawn) } satisfies MixtureState;
    },
    set state(state: unknown) {
      const saved = state as MixtureState;
      const count = saved.windows.length;
      invariant(count === decks.length, `mixtureBatches: the state is of ${count} sources, not ${decks.length}`);
      random.state = saved.random;
      for (const [i, deck] of decks.entries()) deck.drawn = saved.windows[i]!;
    },
  };
}

function drawnFrom(decks: readonly Deck[], contextLength: number): MixtureShare[] {
  const all = decks.reduce((sum, deck) => sum + deck.drawn, 0);
  return decks.map(({ name, dataset, drawn, windows }) => ({
    name,
    available: dataset.length,
    share: all === 0 ? 0 : drawn / all,
    trained: drawn * contextLength,
    epochs: drawn / windows,
  }));
}

/** An index drawn by weight; the weights sum to 1. */
function indexByWeight(random: Random, weights: readonly number[]): number {
  let left = random.uniform();
  for (let i = 0; i < weights.length - 1; i++) if ((left -= weights[i]!) < 0) return i;
  return weights.length - 1;
}

/** The windows of one source as a deck of cards that is shuffled when it is empty: 4 bytes a window. */
class Deck {
  readonly name: string;
  readonly dataset: TokenDataset;
  readonly windows: number;
  /** Windows so far: the position, which may be set. */
  drawn = 0;
  readonly #contextLength: number;
  readonly #seed: number;
  #order: Uint32Array = new Uint32Array(0);
  #epoch = -1;

  constructor(name: string, dataset: TokenDataset, contextLength: number, seed: number) {
    this.name = name;
    this.dataset = dataset;
    this.#contextLength = contextLength;
    this.#seed = seed;
    this.windows = Math.floor((dataset.length - 1) / contextLength);
    if (this.windows >= 1) return;
    throw new LabError(
      `mixtureBatches: '${name}' has ${dataset.length} tokens, but a context of ${contextLength} and the token after it need ` +
        `${contextLength + 1}. Give more text, a shorter context or the weight 0.`,
    );
  }

  /** contextLength + 1 tokens. */
  next(): Int32Array {
    const epoch = Math.floor(this.drawn / this.windows);
    if (epoch !== this.#epoch) this.#shuffle(epoch);
    const start = this.#order[this.drawn++ % this.windows]! * this.#contextLength;
    return this.dataset.ids.subarray(start, start + this.#contextLength + 1);
  }

  /** The order of an epoch depends on seed and epoch alone: a position is all that has to be saved. */
  #shuffle(epoch: number): void {
    const random = new Random(Math.imul(this.#seed + 1, 0x9e3779b1) ^ Math.imul(epoch + 1, 0x85ebca6b));
    this.#order = Uint32Array.from({ length: this.windows }, (_, i) => i);
    for (let i = this.windows - 1; i > 0; i--) {
      const j = random.integer(i + 1);
      [this.#order[i], this.#order[j]] = [this.#order[j]!, this.#order[i]!];
    }
    this.#epoch = epoch;
  }
}
