/** @file Duplicates: equal texts are found always, similar ones with the probability that MinHash promises. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  cleanDocuments,
  collisionProbability,
  documentsOf,
  exactDuplicates,
  jaccard,
  MinHash,
  nearDuplicates,
  Random,
} from 'lab';
import { afterAll, describe, expect, it } from 'vitest';
import { Collisions } from '../../lab/dist/data/quality/collisions.js';
import { Groups } from '../../lab/dist/data/quality/groups.js';

const folder = mkdtempSync(join(tmpdir(), 'quality-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const random = new Random(7);
const newWords = (count: number): string[] => Array.from({ length: count }, () => `w${random.uint32().toString(36)}`);

/** Two texts of `words` words each, the first `shared` of them the same: the Jaccard similarity of their 5-grams is known. */
function pair(words: number, shared: number): [string, string] {
  const same = newWords(shared);
  return [0, 1].map(() => [...same, ...newWords(words - shared)].join(' ')) as [string, string];
}

const similarityOf = (words: number, shared: number): number => (shared - 4) / (2 * (words - 4) - (shared - 4));

/** Whether `hits` of `trials` are within four standard deviations of what the probabilities say: 1 in 16,000 is not. */
function expectBinomial(hits: number, probabilities: readonly number[]): void {
  const mean = probabilities.reduce((a, p) => a + p, 0);
  const deviation = Math.sqrt(probabilities.reduce((a, p) => a + p * (1 - p), 0));
  expect(hits).toBeGreaterThanOrEqual(mean - 4 * deviation - 1e-9);
  expect(hits).toBeLessThanOrEqual(mean + 4 * deviation + 1e-9);
}

/** The numbers of the documents that are removed, and of those that stay in their place. */
function removals(texts: readonly string[], filter = nearDuplicates({ folder })): [number, number][] {
  const { removed } = cleanDocuments(documentsOf(texts), { filters: [filter] });
  return removed.map(({ document, removal }) => [document.number, removal.of!]);
}

describe('the Jaccard similarity of 5-grams', () => {
  it.each([[64, 4], [64, 5], [64, 44], [64, 63], [64, 64], [30, 20]])('of %i words, the first %i the same', (words, shared) => {
    const [a, b] = pair(words, shared);
    expect(jaccard(a, b)).toBeCloseTo(similarityOf(words, shared), 12);
    expect(jaccard(b, a)).toBe(jaccard(a, b));
  });

  it('counts an n-gram once however often it comes', () => {
    expect(jaccard('a b c d e a b c d e', 'a b c d e')).toBeCloseTo(1 / 5, 12);
  });

  it('does not see case and punctuation', () => {
    expect(jaccard('“The cat – sat”, on the MAT.', 'the cat sat on the mat')).toBe(1);
    expect(jaccard('ÉTÉ à la plage', 'été à la plage!')).toBe(1);
  });

  it('sees Chinese characters as words', () => {
    expect(jaccard('今天天气很好啊', '今天天气很好吗')).toBeCloseTo(2 / 4, 12);
    expect(jaccard('今天天气', '今天天気')).toBe(0);
    expect([jaccard('𠀀𠀁', '𠀀𠀁'), jaccard('𠀀𠀁', '𠀀𠀂')]).toEqual([1, 0]);
  });

  it('takes short texts as a whole, and nothing for like nothing', () => {
    expect(jaccard('one two', 'One, two!')).toBe(1);
    expect(jaccard('one two', 'one two three')).toBe(0);
    expect(jaccard('', '')).toBe(0);
    expect(jaccard('😀 …', '😀 …')).toBe(0);
  });
});

describe('MinHash', () => {
  const similarities = [34, 44, 49, 52, 54, 56, 58, 60, 62].map((shared) => [shared, similarityOf(64, shared)] as const);

  interface Hashed {
    readonly signature: Int32Array;
    readonly keys: readonly string[];
  }

  it.each(similarities)('%i of 64 words shared, s = %f: places agree by s, bands by 1 − (1 − s⁸)¹⁴', (shared, s) => {
    let [places, hits] = [0, 0];
    const trials = 400;
    for (let trial = 0; trial < trials; trial++) {
      const hash = new MinHash({ seed: trial });
      const [a, b] = pair(64, shared).map((text) => {
        const signature = hash.signature(text)!.slice();
        const keys: string[] = [];
        hash.bandKeys(signature, (high, low) => keys.push(`${high},${low}`));
        return { signature, keys };
      }) as unknown as [Hashed, Hashed];
      expect(a.keys).toHaveLength(14);
      for (let i = 0; i < 112; i++) if (a.signature[i] === b.signature[i]) places++;
      const common = a.keys.filter((key) => b.keys.includes(key));
      for (const key of common) expect(a.keys.indexOf(key)).toBe(b.keys.indexOf(key));
      if (common.length > 0) hits++;
    }
    expectBinomial(places, new Array<number>(112 * trials).fill(s));
    expectBinomial(hits, new Array<number>(trials).fill(1 - (1 - s ** 8) ** 14));
  });

  it('has bands that differ from each other when their rows do not', () => {
    const hash = new MinHash({ bands: 6, rows: 2 });
    const halves = { high: new Set<number>(), low: new Set<number>() };
    hash.bandKeys(new Int32Array(12).fill(5), (high, low) => {
      halves.high.add(high);
      halves.low.add(low);
    });
    expect([halves.high.size, halves.low.size]).toEqual([6, 6]);
  });

  it('is decided by its seed, and other sizes follow their own curve', () => {
    const [a, b] = pair(64, 50);
    expect(new MinHash({ seed: 3 }).signature(a)).toEqual(new MinHash({ seed: 3 }).signature(a)!.slice());
    expect(new MinHash({ seed: 4 }).signature(a)).not.toEqual(new MinHash({ seed: 3 }).signature(a)!.slice());
    expect(new MinHash({ bands: 3, rows: 3 }).signature(b)).toHaveLength(9);
    expect(collisionProbability(0.5, { bands: 20, rows: 5 })).toBeCloseTo(1 - (1 - 0.5 ** 5) ** 20, 12);
    expect(collisionProbability(0.72)).toBeCloseTo(1 - (1 - 0.72 ** 8) ** 14, 12);
    expect(new MinHash().signature('… – !')).toBeUndefined();
  });

  it.each([[{ bands: 0 }], [{ rows: 1.5 }], [{ ngram: -5 }]])('refuses %j', (options) => {
    expect(() => new MinHash(options)).toThrow(/must be a whole number, 1 or more/);
  });
});

describe('near duplicates', () => {
  it('are found with the recall and precision of the curve', () => {
    const shares = [44, 48, 52, 54, 56, 58, 60];
    const pairs = Array.from({ length: 1400 }, (_, i) => shares[i % shares.length]!);
    const texts = pairs.flatMap((shared) => pair(64, shared));
    const found = new Set(removals(texts).map(([number, of]) => {
      expect(of).toBe(number - 1);
      return number / 2 - 1;
    }));
    const threshold = 0.72;
    for (const alike of [true, false]) {
      const all = pairs.map((shared, i) => [similarityOf(64, shared), i] as const);
      const those = all.filter(([s]) => s >= threshold === alike);
      expect(those.length).toBeGreaterThan(300);
      expectBinomial(those.filter(([, i]) => found.has(i)).length, those.map(([s]) => collisionProbability(s)));
    }
  });

  it('verified by their true similarity, none below the threshold is removed, and none above it is lost', () => {
    const pairs = Array.from({ length: 600 }, (_, i) => 46 + (i % 15));
    const texts = pairs.flatMap((shared) => pair(64, shared));
    const open = new Set(removals(texts).map(([number]) => number));
    const verified = new Set(removals(texts, nearDuplicates({ folder, verify: 0.75 })).map(([number]) => number));
    const wanted = [...open].filter((number) => similarityOf(64, pairs[number / 2 - 1]!) >= 0.75);
    expect(wanted.length).toBeLessThan(open.size);
    expect(verified).toEqual(new Set(wanted));
  });

  it('verified behind a filter that has removed others, they are the same documents', () => {
    const pairs = Array.from({ length: 80 }, (_, i) => pair(64, i % 2 === 0 ? 60 : 54));
    const texts = pairs.flatMap(([a, b]) => [a, 'again', b, 'again', 'again']);
    const filters = [exactDuplicates({ folder }), nearDuplicates({ folder, verify: 0.85 })];
    const { removed } = cleanDocuments(documentsOf(texts), { filters });
    const near = removed.filter(({ filter }) => filter === 'near duplicates');
    expect(near.length).toBeGreaterThan(25);
    for (const { document, removal } of near) expect([document.number % 10, document.number - removal.of!]).toEqual([3, 2]);
  });

  it('verify says how many pairs it refused', () => {
    const texts = Array.from({ length: 200 }, () => pair(64, 52)).flat();
    const { filters } = cleanDocuments(documentsOf(texts), { filters: [nearDuplicates({ folder, verify: 0.9 })] });
    const notes = filters[0]!.notes as Record<string, number>;
    expect(notes['pairs refused']).toBe(notes['pairs compared']);
    expect(notes['pairs refused']).toBeGreaterThan(20);
    expect(filters[0]!.removed.documents).toBe(0);
  });

  it('are one group when a chain joins them, and the first of the group stays', () => {
    const base = newWords(80);
    const drift = (steps: number): string => base.map((word, i) => (i < steps ? `other${i}` : word)).join(' ');
    const texts = [newWords(40).join(' '), drift(0), drift(2), drift(4), drift(6), drift(8), newWords(40).join(' ')];
    expect(removals(texts)).toEqual([[3, 2], [4, 2], [5, 2], [6, 2]]);
  });

  it('texts without words are like no other', () => {
    expect(removals(['…', '…', '', ''])).toEqual([]);
  });

  it('the same filter works on the next corpus, which it does not confuse with the last', () => {
    const filter = nearDuplicates({ folder, verify: 0.5 });
    const [text] = pair(64, 64);
    expect(removals([text, text], filter)).toEqual([[2, 1]]);
    expect(removals([text, newWords(50).join(' ')], filter)).toEqual([]);
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('exact duplicates', () => {
  it('are those of a set, and the first of each stays', () => {
    const texts = Array.from({ length: 3000 }, () => `text ${random.integer(800)}`);
    const first = new Map<string, number>();
    const expected: [number, number][] = [];
    texts.forEach((text, i) => {
      const of = first.get(text);
      if (of === undefined) first.set(text, i + 1);
      else expected.push([i + 1, of]);
    });
    expect(removals(texts, exactDuplicates({ folder }))).toEqual(expected);
  });

  it('of many thousand texts that are all different are none', () => {
    const texts = Array.from({ length: 200_000 }, (_, i) => `text ${i}`);
    expect(removals(texts, exactDuplicates({ folder }))).toEqual([]);
  });

  it('differ in a single letter, in case, in a space', () => {
    expect(removals(['a b', 'a c', 'A b', 'a  b', ' a b'], exactDuplicates())).toEqual([]);
  });
});

describe('equal keys of more records than memory holds', () => {
  it('are the same as in a Map, and the file goes', () => {
    const spilled = new Collisions(folder);
    const heads = new Map<string, number>();
    const expected: string[] = [];
    const found: string[] = [];
    for (let document = 0; document < 500_000; document++) {
      // The upper halves meet more often than the keys do.
      const high = Math.imul(random.integer(100_000), 0x9e3779b1);
      const low = random.integer(8);
      spilled.add(high, low, document);
      const key = `${high},${low}`;
      const head = heads.get(key);
      if (head === undefined) heads.set(key, document);
      else expected.push(`${head},${document}`);
    }
    spilled.forEach((earlier, later) => found.push(`${earlier},${later}`) > 0);
    spilled.close();
    expect(found.length).toBeGreaterThan(50_000);
    expect(found.sort()).toEqual(expected.sort());
    expect(readdirSync(folder)).toEqual([]);
  });

  it('those that are refused meet all that came before them, up to 16', () => {
    const collisions = new Collisions(folder);
    for (let document = 0; document < 20; document++) collisions.add(1, 2, document);
    const met: number[][] = Array.from({ length: 20 }, () => []);
    collisions.forEach((earlier, later) => {
      met[later]!.push(earlier);
      return false;
    });
    met.forEach((earlier, later) => expect(earlier).toEqual(Array.from({ length: Math.min(later, 16) }, (_, i) => i)));
  });

  it('says so when the file cannot be made', () => {
    const taken = join(folder, 'file');
    writeFileSync(taken, '');
    const collisions = new Collisions(taken);
    expect(() => {
      for (let i = 0; i < 400_000; i++) collisions.add(random.uint32() | 0, i, i);
    }).toThrow(/a part of that path is a file, not a folder/);
    rmSync(taken);
  });
});

describe('groups', () => {
  it('are those of a graph, named by their smallest member, in whatever order they are joined', () => {
    const groups = new Groups();
    const members = Array.from({ length: 3000 }, (_, i) => i);
    const names = [...members];
    for (let i = 0; i < 2500; i++) {
      const [a, b] = [random.integer(3000), random.integer(3000)];
      groups.join(a, b);
      const [x, y] = [Math.min(names[a]!, names[b]!), Math.max(names[a]!, names[b]!)];
      for (const member of members) if (names[member] === y) names[member] = x;
    }
    expect(members.map((member) => groups.first(member))).toEqual(names);
    expect(groups.first(1_000_000)).toBe(1_000_000);
  });
});
