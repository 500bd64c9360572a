/** @file Judges that know something: a classifier of good texts, and evaluation sets that nobody may train on. */
import {
  cleanDocuments,
  contamination,
  documentsOf,
  educational,
  judgeClassifier,
  QualityClassifier,
  Random,
  type ClassifierExample,
  type QualityFilter,
} from 'lab';
import { describe, expect, it } from 'vitest';
import { KeyTable } from '../../lab/dist/data/quality/key-table.js';

const random = new Random(12);

/** Why the filter removes each text; undefined for those it keeps. */
function reasons(filter: QualityFilter, ...texts: string[]): (string | undefined)[] {
  const { removed } = cleanDocuments(documentsOf(texts), { filters: [filter] });
  return texts.map((_, i) => removed.find(({ document }) => document.number === i + 1)?.removal.reason);
}

const unlike = (count: number): string[] => Array.from({ length: count }, () => `q${random.uint32().toString(36)}z`);

describe('the classifier', () => {
  const vocabulary = { both: unlike(200), good: unlike(60), bad: unlike(60) };
  /** Texts of common words, every fifth of them from the words of its kind. */
  const example = (good: boolean): ClassifierExample => {
    const own = good ? vocabulary.good : vocabulary.bad;
    const word = (): string => random.pick(random.integer(5) === 0 ? own : vocabulary.both);
    return { text: Array.from({ length: 20 + random.integer(40) }, word).join(' '), good };
  };
  const examples = Array.from({ length: 600 }, (_, i) => example(i % 3 === 0));
  const unseen = Array.from({ length: 300 }, (_, i) => example(i % 2 === 0));
  const classifier = QualityClassifier.train(examples);

  it('tells texts that it has not seen', () => {
    const { accuracy, auc } = judgeClassifier((text) => classifier.score(text), unseen);
    expect(accuracy).toBeGreaterThan(0.95);
    expect(auc).toBeGreaterThan(0.98);
  });

  it('sees the order of words, with pairs', () => {
    const data = ['red', 'blue', 'green'].flatMap((a) =>
      ['fox', 'owl'].flatMap((b) => [
        { text: `${a} ${b} sits`, good: true },
        { text: `${b} ${a} sits`, good: false },
      ]),
    );
    const pairs = QualityClassifier.train(data, { bits: 14, epochs: 20 });
    const single = QualityClassifier.train(data, { bits: 14, ngram: 1 });
    expect(judgeClassifier((text) => pairs.score(text), data).accuracy).toBe(1);
    expect(judgeClassifier((text) => single.score(text), data).auc).toBe(0.5);
  });

  it('is the same for the same seed, and after being saved', () => {
    const again = QualityClassifier.train(examples);
    const loaded = QualityClassifier.fromJSON(JSON.parse(JSON.stringify(classifier)));
    for (const { text } of unseen.slice(0, 50)) {
      expect(again.score(text)).toBe(classifier.score(text));
      expect(loaded.score(text)).toBe(classifier.score(text));
    }
    expect(loaded.digest()).toBe(classifier.digest());
    expect(QualityClassifier.train(examples, { seed: 2 }).digest()).not.toBe(classifier.digest());
  });

  it('the loss it minimises falls with every epoch', () => {
    const loss = (epochs: number): number => {
      const trained = QualityClassifier.train(examples, { epochs });
      return -examples.reduce((sum, { text, good }) => sum + Math.log(good ? trained.score(text) : 1 - trained.score(text)), 0);
    };
    const losses = [0, 1, 2, 4, 8].map(loss);
    expect(losses[0]).toBeCloseTo(examples.length * Math.LN2, 9);
    for (let i = 1; i < losses.length; i++) expect(losses[i]).toBeLessThan(losses[i - 1]!);
  });

  it('is undecided where both kinds write the same, however many there are of each', () => {
    const same = Array.from({ length: 400 }, (_, i) => ({ text: random.pick(['one two', 'two three']), good: i % 10 === 0 }));
    expect(Math.abs(QualityClassifier.train(same, { learningRate: 0.05 }).score('one two') - 0.5)).toBeLessThan(0.15);
  });

  it('looks at which words there are, not at how often', () => {
    const single = QualityClassifier.train(examples.slice(0, 60), { ngram: 1 });
    const { text } = examples[0]!;
    expect(single.score(`${text} ${text}`)).toBe(single.score(text));
  });

  it('knows nothing of a text without words: the bias speaks', () => {
    expect(classifier.score('')).toBe(classifier.score('… !'));
    expect(classifier.score('')).toBeGreaterThan(0);
  });

  it('needs both kinds, and a file of its own', () => {
    expect(() => QualityClassifier.train(examples.filter(({ good }) => good))).toThrow(/200 good and 0 bad/);
    const short = { ...classifier.toJSON(), weights: 'AAAA' };
    expect(() => QualityClassifier.fromJSON(short)).toThrow(/not a saved/);
    expect(() => QualityClassifier.fromJSON(JSON.parse('{"model": 1}'))).toThrow(/not a saved/);
  });

  it('filters by score, which may be any function', () => {
    const filter = educational({ score: (text) => text.length / 10, minScore: 0.3 });
    expect(reasons(filter, 'ab', 'abc')).toEqual(['not textbook-like', undefined]);
    expect(() => reasons(educational({ score: () => NaN }), 'a')).toThrow(/must be a number/);
  });

  it('the area under the curve is what it says', () => {
    const value = (good: boolean): number => Math.floor(random.uniform() * 8 + (good ? 2 : 0));
    const scores = unseen.map(({ good }, i) => ({ text: String(i), good, value: value(good) }));
    const score = (text: string): number => scores[Number(text)]!.value;
    const [good, bad] = [scores.filter((s) => s.good), scores.filter((s) => !s.good)];
    const won = good.flatMap((g) => bad.map((b): number => (g.value > b.value ? 1 : g.value === b.value ? 0.5 : 0)));
    expect(judgeClassifier(score, scores).auc).toBeCloseTo(won.reduce((a, x) => a + x, 0) / won.length, 12);
  });
});

describe('contamination', () => {
  const questions = [unlike(30).join(' '), 'too short', unlike(9).join(' '), unlike(13).join(' ')];
  const other = [unlike(20).join(' ')];
  const sets = [{ name: 'quiz', items: questions }, { name: 'nothing', items: [] }, { name: 'exam', items: other }];
  const part = (text: string, from: number, to: number): string => text.split(' ').slice(from, to).join(' ');
  const around = (text: string): string => `${unlike(9).join(' ')} ${text} ${unlike(9).join(' ')}`;

  it('is 13 words in a row in common, in whatever case and punctuation', () => {
    const texts = [
      around(part(questions[0]!, 5, 18)),
      around(part(questions[0]!, 5, 17)),
      around(part(questions[0]!, 17, 30).toUpperCase().replaceAll(' ', ', ')),
      around(questions[3]!),
      around(other[0]!),
      around(part(other[0]!, 0, 12)),
      around('too short'),
    ];
    const { removed, filters } = cleanDocuments(documentsOf(texts), { filters: [contamination({ sets })] });
    expect(removed.map(({ document, removal }) => [document.number, removal.reason, removal.detail])).toEqual([
      [1, 'overlaps with quiz', 'item 1'],
      [3, 'overlaps with quiz', 'item 1'],
      [4, 'overlaps with quiz', 'item 4'],
      [5, 'overlaps with exam', 'item 1'],
    ]);
    expect(filters[0]!.notes).toEqual({
      'items too short to be looked for': 1,
      'documents by item found first': { 'quiz 1': 2, 'quiz 4': 1, 'exam 1': 1 },
    });
  });

  it('of an item shorter than that is the whole item', () => {
    expect(reasons(contamination({ sets }), around(questions[2]!), around(part(questions[2]!, 0, 8)))).toEqual([
      'overlaps with quiz',
      undefined,
    ]);
    expect(reasons(contamination({ sets, shortest: 10 }), around(questions[2]!))).toEqual([undefined]);
    expect(reasons(contamination({ sets, shortest: 9 }), questions[2]!)).toEqual(['overlaps with quiz']);
  });

  it('of 8 words is found with n = 8', () => {
    const texts = [around(part(questions[0]!, 20, 28)), around(part(questions[0]!, 20, 27))];
    expect(reasons(contamination({ sets, ngram: 8 }), ...texts)).toEqual(['overlaps with quiz', undefined]);
  });

  it('is found among many thousand items, and only there', () => {
    const items = Array.from({ length: 4000 }, () => unlike(16).join(' '));
    const filter = contamination({ sets: [{ name: 'large', items }] });
    const texts = Array.from({ length: 300 }, (_, i) => (i % 3 === 0 ? around(items[i * 7]!) : around('')));
    const { removed } = cleanDocuments(documentsOf(texts), { filters: [filter] });
    expect(removed.map(({ document, removal }) => [document.number - 1, removal.detail])).toEqual(
      texts.flatMap((_, i) => (i % 3 === 0 ? [[i, `item ${i * 7 + 1}`]] : [])),
    );
  });

  it('keys that are equal in one half are not equal', () => {
    const table = new KeyTable();
    for (let i = 0; i < 3000; i++) table.addIfNew(i % 50, Math.floor(i / 50), i);
    table.addIfNew(7, 3, 99_999);
    expect(table.size).toBe(3000);
    for (let i = 0; i < 3000; i++) expect(table.get(i % 50, Math.floor(i / 50))).toBe(i);
    expect([table.get(50, 0), table.get(0, 60)]).toEqual([-1, -1]);
  });

  it('cannot be looked for without an item that is long enough', () => {
    const tiny = [{ name: 'tiny', items: ['a b c', 'd'] }];
    expect(() => contamination({ sets: tiny })).toThrow(/no item of 8 words or more, out of 2/);
  });
});
