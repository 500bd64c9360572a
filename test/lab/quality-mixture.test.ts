/** @file Mixtures: shares and epochs add up, batches follow the weights, and can be resumed. */
import {
  bloombergGPT,
  formatMixture,
  mixtureBatches,
  planMixture,
  Random,
  TokenDataset,
  type Batch,
  type MixtureSource,
} from 'lab';
import { describe, expect, it } from 'vitest';

/** Tokens that say from where they are. */
const counting = (length: number, from = 0): TokenDataset =>
  new TokenDataset(Int32Array.from({ length }, (_, i) => from + i), from + length + 1);

const rows = ({ inputs, targets, batchSize, contextLength }: Batch): number[] =>
  Array.from({ length: batchSize }, (_, b) => {
    for (let t = 0; t < contextLength; t++) expect(targets[b * contextLength + t]).toBe(inputs[b * contextLength + t]! + 1);
    return inputs[b * contextLength]!;
  });

describe('a plan', () => {
  it('shares sum to 1 and epochs are tokens seen to tokens there', () => {
    const random = new Random(5);
    for (let trial = 0; trial < 100; trial++) {
      const sources: MixtureSource[] = Array.from({ length: 1 + random.integer(6) }, (_, i) => ({
        name: `s${i}`,
        tokens: 1 + random.integer(1e6),
        ...(random.integer(2) === 0 && { weight: random.uniform() + 0.1 }),
      }));
      const total = random.integer(1e7);
      const plan = planMixture(sources, total);
      expect(plan.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 12);
      expect(plan.reduce((sum, { trained }) => sum + trained, 0) / Math.max(1, total)).toBeCloseTo(total > 0 ? 1 : 0, 12);
      for (const { available, trained, epochs } of plan) expect(epochs).toBeCloseTo(trained / available, 9);
    }
  });

  it('without weights sees every source as often', () => {
    const plan = planMixture([{ name: 'a', tokens: 10 }, { name: 'b', tokens: 90 }], 300);
    expect(plan.map(({ share, epochs }) => [share, epochs])).toEqual([[0.1, 3], [0.9, 3]]);
    expect(planMixture([{ name: 'a', tokens: 10 }, { name: 'b', tokens: 90 }]).map(({ epochs }) => epochs)).toEqual([1, 1]);
  });

  it('reads no source too often, and lets the others give the rest by their weights', () => {
    const random = new Random(6);
    for (let trial = 0; trial < 100; trial++) {
      const sources = Array.from({ length: 1 + random.integer(6) }, (_, i) => {
        return { name: `s${i}`, tokens: 1 + random.integer(500), weight: random.integer(4) === 0 && i > 0 ? 0 : 0.1 + random.uniform() };
      });
      const [budget, maxEpochs] = [random.integer(3000), 1 + random.integer(4)];
      const plan = planMixture(sources, budget, { maxEpochs });
      const given = plan.reduce((sum, { trained }) => sum + trained, 0);
      const all = sources.reduce((sum, { tokens, weight }) => sum + (weight > 0 ? maxEpochs * tokens : 0), 0);
      expect(given).toBeCloseTo(Math.min(budget, all), 6);
      // Whoever is not full gives as much for its weight as the others, and nobody who is full gives more.
      const rates = plan.map(({ trained }, i) => trained / sources[i]!.weight);
      const open = rates.filter((_, i) => sources[i]!.weight > 0 && plan[i]!.epochs < maxEpochs - 1e-9);
      for (const { epochs } of plan) expect(epochs).toBeLessThanOrEqual(maxEpochs + 1e-9);
      for (const rate of open) expect(rate).toBeCloseTo(open[0]!, 6);
      rates.forEach((rate, i) => sources[i]!.weight > 0 && open[0] !== undefined && expect(rate).toBeLessThanOrEqual(open[0] + 1e-6));
      if (given > 0) expect(plan.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 9);
    }
    expect(() => planMixture([{ name: 'a', tokens: 1 }], 1, { maxEpochs: 0 })).toThrow(/maxEpochs must be above 0, got 0/);
  });

  it("of BloombergGPT is the paper's", () => {
    const plan = planMixture(bloombergGPT, 569e9);
    const finPile = plan.filter(({ name }) => name.startsWith('FinPile')).reduce((sum, { share }) => sum + share, 0);
    expect(finPile).toBeCloseTo(0.5127, 4);
    expect(plan.every(({ epochs }) => Math.abs(epochs - 569 / 709) < 1e-9)).toBe(true);
    const table = formatMixture(plan).split('\n');
    expect(table).toHaveLength(10);
    expect(table[1]).toMatch(/^FinPile: web +297\.9 B +42\.01% +239\.0 B +0\.80$/);
    expect(table.at(-1)).toMatch(/^in all +709\.0 B +100\.00% +569\.0 B$/);
  });

  it.each([
    [[{ name: 'a', tokens: 5, weight: -1 }], /'a' has the weight -1/],
    [[{ name: 'a', tokens: 5, weight: NaN }], /'a' has the weight NaN/],
    [[{ name: 'a', tokens: 0, weight: 1 }], /'a' is empty/],
    [[{ name: 'a', tokens: -2 }], /'a' has -2 tokens/],
    [[{ name: 'a', tokens: 5, weight: 0 }], /at least one source with a weight above 0/],
    [[], /at least one source/],
  ])('refuses %j', (sources, message) => {
    expect(() => planMixture(sources)).toThrow(message);
  });
});

describe('batches of a mixture', () => {
  const sources = [
    { name: 'small', dataset: counting(41), weight: 3 },
    { name: 'large', dataset: counting(1001, 1000), weight: 6 },
    { name: 'never', dataset: counting(0), weight: 0 },
    { name: 'middle', dataset: counting(101, 10_000), weight: 1 },
  ];
  const options = { batchSize: 4, contextLength: 10, seed: 7 };
  const nameOf = (first: number): string => (first < 1000 ? 'small' : first < 10_000 ? 'large' : 'middle');

  it('have the shares of the weights', () => {
    const batches = mixtureBatches(sources, options);
    const counts = new Map<string, number>();
    for (const name of Array.from({ length: 1000 }, () => rows(batches.next()).map(nameOf)).flat()) {
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    for (const [name, share] of [['small', 0.3], ['large', 0.6], ['middle', 0.1]] as const) {
      expect(Math.abs(counts.get(name)! - 4000 * share)).toBeLessThan(4 * Math.sqrt(4000 * share * (1 - share)));
    }
    expect(batches.drawn.map(({ name, trained }) => [name, trained])).toEqual(
      ['small', 'large', 'middle'].map((name) => [name, counts.get(name)! * 10]),
    );
    expect(batches.drawn.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 12);
    expect(batches.drawn[0]!.epochs).toBe(counts.get('small')! / 4);
  });

  it('show every window once before any twice, in another order each time', () => {
    const batches = mixtureBatches([sources[3]!], { ...options, batchSize: 10 });
    const epochs = Array.from({ length: 5 }, () => rows(batches.next()));
    const all = Array.from({ length: 10 }, (_, i) => 10_000 + 10 * i);
    for (const epoch of epochs) expect(epoch.toSorted((a, b) => a - b)).toEqual(all);
    expect(new Set(epochs.map(String)).size).toBe(5);
  });

  it('are decided by the seed, and follow again from a state, in the middle of an epoch', () => {
    const batches = mixtureBatches(sources, options);
    for (let i = 0; i < 13; i++) batches.next();
    const state = JSON.parse(JSON.stringify(batches.state)) as unknown;
    const drawn = batches.drawn;
    const further = Array.from({ length: 20 }, () => batches.next());
    const resumed = mixtureBatches(sources, { ...options });
    resumed.next();
    resumed.state = state;
    expect(resumed.drawn).toEqual(drawn);
    expect(Array.from({ length: 20 }, () => resumed.next())).toEqual(further);
    const other = mixtureBatches(sources, { ...options, seed: 8 });
    expect(other.next()).not.toEqual(mixtureBatches(sources, options).next());
  });

  it('refuse a source that is too short, a state of another mixture, and no size', () => {
    const tiny = [{ name: 'tiny', dataset: counting(10) }];
    expect(() => mixtureBatches(tiny, options)).toThrow(/'tiny' has 10 tokens, .* need 11/);
    expect(() => (mixtureBatches(sources, options).state = mixtureBatches(sources.slice(0, 2), options).state)).toThrow(
      /the state is of 2 sources, not 3/,
    );
    expect(() => mixtureBatches(sources, { ...options, batchSize: 0 })).toThrow(/batchSize must be a positive integer/);
  });
});
