/**
 * @file Mixtures: several corpora by weight, and how often a model sees each of them.
 */
import { invariant, LabError } from '../base/index.ts';

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

export interface MixtureOptions {
  /**
   * How often a token may be seen at most: what a source cannot give, the others give by their weights (default: any number of
   * times). Up to four are nearly as good as new text: Muennighoff et al. 2023.
   */
  readonly maxEpochs?: number;
}

/**
 * What a training on so many tokens makes of its sources.
 *
 * @param tokens in all (default: as many as there are); with `maxEpochs` there may be fewer than are asked for
 * @throws LabError when a source has no tokens but a weight, or weights make no sense.
 */
export function planMixture(
  sources: readonly MixtureSource[],
  tokens?: number,
  { maxEpochs = Infinity }: MixtureOptions = {},
): MixtureShare[] {
  const weights = mixtureShares(sources);
  const all = tokens ?? sources.reduce((sum, source) => sum + source.tokens, 0);
  invariant(Number.isFinite(all) && all >= 0, `planMixture: tokens must be 0 or more, got ${all}`);
  invariant(maxEpochs > 0, `planMixture: maxEpochs must be above 0, got ${maxEpochs}`);
  const drawn = capped(weights.map((weight) => weight * all), sources.map((source) => maxEpochs * source.tokens));
  const total = drawn.reduce((sum, some) => sum + some, 0);
  return sources.map((source, i) => {
    const trained = drawn[i]!;
    return {
      name: source.name,
      available: source.tokens,
      share: maxEpochs === Infinity || total === 0 ? weights[i]! : trained / total,
      trained,
      epochs: trained === 0 ? 0 : trained / source.tokens,
    };
  });
}

/** What is wanted, up to limits; what one cannot give, the others give in proportion. Whoever has least for its share is first. */
function capped(wanted: readonly number[], limits: readonly number[]): number[] {
  const taken = wanted.map(() => 0);
  const order = [...wanted.keys()].filter((i) => wanted[i]! > 0).sort((a, b) => limits[a]! / wanted[a]! - limits[b]! / wanted[b]! || 0);
  let factor = 1; // by how much those that are left give more
  let open = order.reduce((sum, i) => sum + wanted[i]!, 0);
  for (const i of order) {
    taken[i] = Math.min(limits[i]!, factor * wanted[i]!);
    const missing = factor * wanted[i]! - taken[i]!;
    open -= wanted[i]!;
    if (missing > 0) factor += missing / open;
  }
  return taken;
}

/** The weights, scaled so that they sum to 1. */
export function mixtureShares(sources: readonly MixtureSource[]): number[] {
  for (const { name, tokens, weight } of sources) {
    if (!Number.isFinite(tokens) || tokens < 0) {
      throw new LabError(`The source '${name}' has ${tokens} tokens: that is no size.`);
    }
    if (weight !== undefined && !(Number.isFinite(weight) && weight >= 0)) {
      throw new LabError(`The source '${name}' has the weight ${weight}; a weight is a number, 0 or more.`);
    }
    if (tokens === 0 && (weight ?? 0) > 0) {
      throw new LabError(`The source '${name}' is empty: give it the weight 0, or leave it out.`);
    }
  }
  const weights = sources.map(({ weight, tokens }) => weight ?? tokens);
  const sum = weights.reduce((a, b) => a + b, 0);
  if (!(sum > 0)) throw new LabError('A mixture needs at least one source with a weight above 0.');
  return weights.map((weight) => weight / sum);
}

/**
 * What BloombergGPT was trained on (Wu et al. 2023, table 1): 709 billion tokens, a good half of them FinPile, by their shares.
 * It saw 569 billion: `planMixture(bloombergGPT, 569e9)`.
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
  for (const source of shares) {
    const { name, available, trained, epochs } = source;
    const share = `${(100 * source.share).toFixed(2)}%`;
    rows.push([name, tokenCount(available), share, tokenCount(trained), epochs.toFixed(2)]);
    total.available += available;
    total.share += source.share;
    total.trained += trained;
  }
  const share = `${(100 * total.share).toFixed(2)}%`;
  rows.push(['in all', tokenCount(total.available), share, tokenCount(total.trained), '']);
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
