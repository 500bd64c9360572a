/** @file N-gram models: the same numbers as nltk, probabilities that sum to one, and honest edges. */
import { readFileSync } from 'node:fs';
import { NGramModel, Random, type NGramOptions } from 'lab';
import { describe, expect, it } from 'vitest';

interface Fixture {
  readonly vocabSize: number;
  readonly order: number;
  readonly discount: number;
  readonly k: number;
  readonly ids: readonly number[];
  readonly contexts: readonly (readonly number[])[];
  readonly kneserNey: readonly (readonly number[])[];
  readonly addK: readonly (readonly number[])[];
  readonly maximumLikelihood: readonly (readonly number[])[];
}

const fixture = JSON.parse(readFileSync(new URL('../fixtures/ngram.json', import.meta.url), 'utf8')) as Fixture;
const { ids, vocabSize, order, contexts, k } = fixture;

/** Tokens with favourites, so that counts of every size come up. */
function zipf(length: number, size: number, seed: number): Int32Array {
  const random = new Random(seed);
  return Int32Array.from({ length }, () => Math.min(random.integer(size), random.integer(size), random.integer(size)));
}

const sum = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b, 0);

describe('nltk agrees', () => {
  function expectTable(model: NGramModel, table: readonly (readonly number[])[], size = vocabSize): void {
    for (const [row, context] of contexts.entries()) {
      const next = model.next(context);
      for (let token = 0; token < size; token++) {
        expect(next[token], `P(${token} | ${context.join(' ')})`).toBeCloseTo(table[row]![token]!, 12);
      }
    }
  }

  it('on interpolated Kneser–Ney with one discount', () => {
    const d = fixture.discount;
    const discounts = Array.from({ length: order }, (_, i) => (i === 0 ? [0, 0, 0] : [d, d, d]) as [number, number, number]);
    expectTable(NGramModel.train(ids, { order, vocabSize, discounts }), fixture.kneserNey);
  });

  it('on add-k', () => {
    expectTable(NGramModel.train(ids, { order, vocabSize: vocabSize + 1, smoothing: 'add-k', k }), fixture.addK);
  });

  it('on maximum likelihood', () => {
    expectTable(NGramModel.train(ids, { order, vocabSize, smoothing: 'maximum-likelihood' }), fixture.maximumLikelihood);
  });
});

const smoothings = ['kneser-ney', 'add-k', 'maximum-likelihood'] as const;

describe.each(smoothings)('with %s', (smoothing) => {
  const options: NGramOptions = { order: 3, vocabSize: 12, smoothing };
  const text = zipf(3000, 12, 1);
  const model = NGramModel.train(text, options);

  it('what follows sums to one', () => {
    for (let i = 0; i < 100; i++) expect(sum(model.next(text.subarray(i, i + (i % 4))))).toBeCloseTo(1, 12);
  });

  it('says the same token by token and as a distribution', () => {
    const nats = model.surprisal(text.subarray(0, 200));
    for (let i = 0; i < 200; i++) {
      expect(nats[i]).toBeCloseTo(-Math.log(model.next(text.subarray(0, i))[text[i]!]!), 12);
    }
    expect(model.logProbability(text.subarray(0, 200))).toBeCloseTo(-sum(nats), 9);
  });

  it('looks at the last order − 1 tokens only', () => {
    expect(model.next([3, 1, 2])).toEqual(model.next([0, 7, 1, 2]));
    expect(model.next([3, 1])).not.toEqual(model.next([0, 1]));
  });

  it('samples what it predicts', () => {
    const drawn = model.sample(40_000, { context: [1, 2], seed: 4 });
    const after = new Map<number, number>();
    let seen = 0;
    for (let i = 2; i < drawn.length; i++) {
      if (drawn[i - 2] !== 0 || drawn[i - 1] !== 0) continue;
      seen++;
      after.set(drawn[i]!, (after.get(drawn[i]!) ?? 0) + 1);
    }
    const expected = model.next([0, 0]);
    expect(seen).toBeGreaterThan(500);
    for (const [token, p] of expected.entries()) {
      // Five standard deviations.
      expect(Math.abs((after.get(token) ?? 0) - p * seen)).toBeLessThan(5 * Math.sqrt(seen * p * (1 - p)) + 1);
    }
    expect(model.sample(50, { seed: 9 })).toEqual(model.sample(50, { seed: 9 }));
    expect(model.sample(50, { seed: 9 })).not.toEqual(model.sample(50, { seed: 10 }));
  });

  it('predicts anything after an empty text', () => {
    const empty = NGramModel.train([], options);
    const next = empty.next([3, 4]);
    if (smoothing === 'maximum-likelihood') expect(next).toEqual(new Float64Array(12));
    else for (const p of next) expect(p).toBeCloseTo(1 / 12, 15);
    expect(empty.size).toBe(0);
  });
});

describe('modified Kneser–Ney', () => {
  /** Chen and Goodman's equations once more, slowly: lists of n-grams as texts, nothing shared with the model. */
  function slowly(text: readonly number[], n: number, size: number): (token: number, context: readonly number[]) => number {
    const occurring = (length: number): string[] =>
      Array.from({ length: text.length - length + 1 }, (_, i) => text.slice(i, i + length).join(' '));
    const tally = (items: readonly string[]): Map<string, number> => {
      const counts = new Map<string, number>();
      for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
      return counts;
    };
    const levels = Array.from({ length: n }, (_, i) => {
      const length = i + 1;
      const withoutFirst = [...new Set(occurring(length + 1))].map((gram) => gram.slice(gram.indexOf(' ') + 1));
      const counts = tally(length === n ? occurring(length) : withoutFirst);
      const [n1, n2, n3, n4] = [1, 2, 3, 4].map((c) => [...counts.values()].filter((x) => x === c).length) as [
        number,
        number,
        number,
        number,
      ];
      const y = n1 / (n1 + 2 * n2);
      const few = n1 === 0 || n2 === 0 || n3 === 0;
      const discounts = few ? [0.5, 1, 1.5] : [1 - (2 * y * n2) / n1, 2 - (3 * y * n3) / n2, 3 - (4 * y * n4) / n3];
      return { counts, discounts };
    });
    const probability = (token: number, context: readonly number[]): number => {
      const { counts, discounts } = levels[context.length]!;
      const off = (count: number): number => (count === 0 ? 0 : discounts[Math.min(count, 3) - 1]!);
      const followers = Array.from({ length: size }, (_, w) => counts.get([...context, w].join(' ')) ?? 0);
      const total = sum(followers);
      const shorter = context.length === 0 ? 1 / size : probability(token, context.slice(1));
      if (total === 0) return shorter;
      const count = followers[token]!;
      return (count - off(count)) / total + (sum(followers.map(off)) / total) * shorter;
    };
    return probability;
  }

  it.each([1, 2, 3, 4])('follows the equations at order %i', (n) => {
    const text = [...zipf(900, 14, 3)];
    const model = NGramModel.train(text, { order: n, vocabSize: 14 });
    const probability = slowly(text, n, 14);
    for (let i = 0; i < 40; i++) {
      const context = text.slice(i * 7, i * 7 + n - 1);
      for (const [token, p] of model.next(context).entries()) expect(p).toBeCloseTo(probability(token, context), 12);
    }
    expect(model.discounts).toHaveLength(n);
  });

  it('leaves something to what was never seen', () => {
    const model = NGramModel.train([0, 1, 2, 0, 1, 3, 0, 2, 1], { order: 3, vocabSize: 6 });
    expect(Math.min(...model.next([0, 1]))).toBeGreaterThan(0);
    expect(model.next([0, 1])[5]).toBeLessThan(model.next([0, 1])[2]!);
    expect(model.logProbability([5, 5, 4])).toBeGreaterThan(-Infinity);
  });

  it('knows that a token with one favourite place is unlikely elsewhere', () => {
    // 1 comes often, but only after 0; 2 comes less often, after everything.
    const text = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 3, 2, 4, 2, 5, 2, 6, 2, 7, 2];
    const next = NGramModel.train(text, { order: 2, vocabSize: 9 }).next([8]);
    expect(next[2]).toBeGreaterThan(next[1]!);
  });

  it('predicts new text of the same kind better than the others do, and learns from context', () => {
    const chain = (length: number, seed: number): Int32Array => {
      const random = new Random(seed);
      const tokens = new Int32Array(length);
      for (let i = 2; i < length; i++) {
        const favourite = (5 * tokens[i - 1]! + 3 * tokens[i - 2]! + 1) % 20;
        tokens[i] = random.uniform() < 0.7 ? favourite : random.integer(20);
      }
      return tokens;
    };
    const [train, validation] = [chain(4000, 1), chain(1000, 2)];
    const score = (n: number, smoothing: NGramOptions['smoothing'] = 'kneser-ney'): number =>
      NGramModel.train(train, { order: n, vocabSize: 20, smoothing }).logProbability(validation);
    expect(score(3)).toBeGreaterThan(score(2) + 100);
    expect(score(3)).toBeGreaterThan(score(3, 'add-k') + 100);
    expect(score(3, 'maximum-likelihood')).toBe(-Infinity);
  });
});

describe('edges', () => {
  it('maximum likelihood has nothing to say after a new context, and samples from a shorter one', () => {
    const model = NGramModel.train([0, 1, 2, 0, 1, 2], { order: 3, vocabSize: 4, smoothing: 'maximum-likelihood' });
    expect([...model.next([1, 0])]).toEqual([0, 0, 0, 0]);
    expect([...model.next([0, 1])]).toEqual([0, 0, 1, 0]);
    expect([...model.sample(4, { context: [1, 0] })]).toEqual([1, 2, 0, 1]);
    expect(model.logProbability([0, 1, 3])).toBe(-Infinity);
    expect(model.logProbability([])).toBeCloseTo(0);
  });

  it('counts its n-grams', () => {
    // 0, 1; 0 1, 1 0; 0 1 0, 1 0 1
    expect(NGramModel.train([0, 1, 0, 1], { order: 3, vocabSize: 2 }).size).toBe(6);
  });

  it.each([[-1], [4], [0.5], [NaN]])('refuses the id %s and says where it stands', (id) => {
    const message = `token id ${id} at position 1 is out of range; the vocabulary has 0 … 3`;
    expect(() => NGramModel.train([0, id], { order: 2, vocabSize: 4 })).toThrow(message);
    const model = NGramModel.train([0, 1], { order: 3, vocabSize: 4 });
    expect(() => model.next([0, id])).toThrow(message);
    expect(() => model.logProbability([0, id])).toThrow(message);
  });

  it.each<[Partial<NGramOptions>, RegExp]>([
    [{ order: 0 }, /order must be 1 or more, got 0/],
    [{ order: 1.5 }, /order must be 1 or more, got 1.5/],
    [{ vocabSize: 0 }, /vocabSize must be 1 or more, got 0/],
    [{ k: 0 }, /k must be above 0, got 0/],
    [{ discounts: [[1, 1, 1]] }, /2 discounts are wanted, one for each length; got 1/],
  ])('refuses %j', (wrong, message) => {
    expect(() => NGramModel.train([0], { order: 2, vocabSize: 2, ...wrong })).toThrow(message);
  });
});
