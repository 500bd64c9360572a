/**
 * @file Mixtures: several corpora by weight, how often a model sees each of them, and batches drawn from all of them.
 *
 * Shapes: B sequences of T tokens; every row of a batch is from one source, so shares of rows are shares of tokens.
 */
import { invariant, LabError, Random, type RandomState } from '../base/index.ts';
import type { Batch, Batches } from './batches.ts';
import type { TokenDataset } from './dataset.ts';

export interface MixtureSource {
  readonly name: string;
  /** How many tokens there are. */
  readonly tokens: number;
  /** Its share of what is trained on, in any unit: only ratios count. Its tokens unless told, so that each is seen as often. */
  readonly weight?: number;
}

export interface MixtureShare {
  readonly name: string;
  /** Tokens that there are. */
  readonly available: number;
  /** The share of the training, 0 … 1. */
  readonly share: number;
  /** Tokens of the source that are trained on. */
  readonly trained: number;
  /** How often each token of the source is seen. */
  readonly epochs: number;
}

/**
 * What a training on so many tokens makes of its sources.
 *
 * @param tokens in all (default: as many as there are)
 * @throws LabError when a source has no tokens but a weight, or weights make no sense.
 */
export function planMixture(sources: readonly MixtureSource[], tokens?: number): MixtureShare[] {
  const weights = sharesOf(sources);
  const all = tokens ?? sources.reduce((sum, source) => sum + source.tokens, 0);
  invariant(Number.isFinite(all) && all >= 0, `planMixture: tokens must be 0 or more, got ${all}`);
  return sources.map((source, i) => {
    const trained = weights[i]! * all;
    return {
      name: source.name,
      available: source.tokens,
      share: weights[i]!,
      trained,
      epochs: trained === 0 ? 0 : trained / source.tokens,
    };
  });
}

/** Weights that sum to 1. */
function sharesOf(sources: readonly MixtureSource[]): number[] {
  for (const { name, tokens, weight } of sources) {
    if (!Number.isFinite(tokens) || tokens < 0) throw new LabError(`The source '${name}' has ${tokens} tokens: that is no size.`);
    if (weight !== undefined && !(Number.isFinite(weight) && weight >= 0)) {
      throw new LabError(`The source '${name}' has the weight ${weight}; a weight is a number, 0 or more.`);
    }
    if (tokens === 0 && (weight ?? 0) > 0) throw new LabError(`The source '${name}' is empty: give it the weight 0, or leave it out.`);
  }
  const weights = sources.map(({ weight, tokens }) => weight ?? tokens);
  const sum = weights.reduce((a, b) => a + b, 0);
  if (!(sum > 0)) throw new LabError('A mixture needs at least one source with a weight above 0.');
  return weights.map((weight) => weight / sum);
}

/**
 * What BloombergGPT was trained on (Wu et al. 2023, table 1): 709 billion tokens, a good half of them FinPile, by their shares of
 * the whole. It saw 569 billion: `planMixture(bloombergGPT, 569e9)`.
 */
export const bloombergGPT: readonly MixtureSource[] = (
  [
    ['FinPile: web', 42.01],
    ['FinPile: news', 5.31],
    ['FinPile: filings', 2.04],
    ['FinPile: press', 1.21],
    ['FinPile: Bloomberg', 0.7],
    ['The Pile', 25.9],
    ['C4', 19.48],
    ['Wikipedia', 3.35],
  ] as const
).map(([name, percent]) => ({ name, tokens: (percent / 100) * 709e9 }));

/** The plan as a table for a terminal. */
export function formatMixture(shares: readonly MixtureShare[]): string {
  const rows = [['', 'available', 'share', 'trained on', 'epochs']];
  const total = { available: 0, share: 0, trained: 0 };
  for (const { name, available, share, trained, epochs } of shares) {
    rows.push([name, tokenCount(available), `${(100 * share).toFixed(2)}%`, tokenCount(trained), epochs.toFixed(2)]);
    total.available += available;
    total.share += share;
    total.trained += trained;
  }
  rows.push(['in all', tokenCount(total.available), `${(100 * total.share).toFixed(2)}%`, tokenCount(total.trained), '']);
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows
    .map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ').trimEnd())
    .join('\n');
}

function tokenCount(tokens: number): string {
  if (tokens >= 1e9) return `${(tokens / 1e9).toFixed(1)} B`;
  if (tokens >= 1e6) return `${(tokens / 1e6).toFixed(1)} M`;
  return Math.round(tokens).toLocaleString('en');
}

export interface MixtureDataset {
  readonly name: string;
  readonly dataset: TokenDataset;
  /** As in `MixtureSource`. */
  readonly weight?: number;
}

export interface MixtureBatchOptions {
  /** Sequences in a batch. */
  readonly batchSize: number;
  /** Tokens in a sequence. */
  readonly contextLength: number;
  readonly seed?: number;
}

/** Batches that say what has been drawn from each source so far. */
export interface MixtureBatches extends Batches {
  /** Tokens and epochs so far. */
  readonly drawn: readonly MixtureShare[];
}

interface SourceState {
  /** Windows drawn so far. */
  readonly windows: number;
}

interface MixtureState {
  readonly random: RandomState;
  readonly sources: readonly SourceState[];
}

/**
 * Batches for `train`: each row is a window of one source, drawn by weight; inside a source the windows follow each other in an
 * order that is shuffled anew in each epoch, so that no token is seen twice before all have been seen once.
 *
 * @throws LabError when a source is shorter than one context and the token after it.
 */
export function mixtureBatches(sources: readonly MixtureDataset[], options: MixtureBatchOptions): MixtureBatches {
  const { batchSize, contextLength, seed = 0 } = options;
  for (const [name, size] of Object.entries({ batchSize, contextLength })) {
    invariant(Number.isInteger(size) && size > 0, `mixtureBatches: ${name} must be a positive integer, got ${size}`);
  }
  const shares = sharesOf(sources.map(({ name, dataset, weight }) => ({ name, tokens: dataset.length, ...(weight !== undefined && { weight }) })));
  const used = sources.filter((_, i) => shares[i]! > 0);
  const decks = used.map(({ name, dataset }, i) => new Deck(name, dataset, contextLength, seed + i));
  const weights = shares.filter((share) => share > 0);
  const random = new Random(seed);
  return {
    next() {
      const inputs = new Int32Array(batchSize * contextLength);
      const targets = new Int32Array(batchSize * contextLength);
      for (let row = 0; row < batchSize; row++) {
        const window = decks[drawn(random, weights)]!.next();
        inputs.set(window.subarray(0, contextLength), row * contextLength);
        targets.set(window.subarray(1), row * contextLength);
      }
      return { inputs, targets, batchSize, contextLength } satisfies Batch;
    },
    get drawn() {
      const trained = decks.map((deck) => deck.drawn * contextLength);
      const all = trained.reduce((a, b) => a + b, 0);
      return decks.map((deck, i) => ({
        name: deck.name,
        available: deck.dataset.length,
        share: all === 0 ? 0 : trained[i]! / all,
        trained: trained[i]!,
        epochs: deck.drawn / deck.windows,
      }));
    },
    get state() {
      return { random: random.state, sources: decks.map((deck) => ({ windows: deck.drawn })) } satisfies MixtureState;
    },
    set state(state: unknown) {
      const saved = state as MixtureState;
      invariant(saved.sources.length === decks.length, `mixtureBatches: the state is of ${saved.sources.length} sources, not ${decks.length}`);
      random.state = saved.random;
      decks.forEach((deck, i) => deck.goTo(saved.sources[i]!.windows));
    },
  };
}

/** An index drawn by weight; the weights sum to 1. */
function drawn(random: Random, weights: readonly number[]): number {
  let left = random.uniform();
  for (let i = 0; i < weights.length - 1; i++) if ((left -= weights[i]!) < 0) return i;
  return weights.length - 1;
}

/** The windows of one source as a deck of cards that is shuffled when it is empty: 4 bytes a window. */
class Deck {
  readonly name: string;
  readonly dataset: TokenDataset;
  readonly windows: number;
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

  goTo(drawn: number): void {
    this.drawn = drawn;
    this.#epoch = -1;
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
