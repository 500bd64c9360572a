/** @file Measures of hallucination: facts against the truth, texts against their source, and against what was read. */
import {
  atomicFacts,
  byFrequency,
  CopyIndex,
  entityRatio,
  faithfulness,
  marketDocuments,
  marketKnowledge,
  meanOfRuns,
  namedEntities,
  proportionInterval,
  Random,
  sayStatement,
  statedFacts,
  tallyFacts,
  untruth,
} from 'lab';
import { describe, expect, it } from 'vitest';

const knowledge = marketKnowledge({ companies: 12, seed: 3 });
const [company, other] = [knowledge.companies[0]!, knowledge.companies[1]!];
const verdicts = (text: string, options = {}) => atomicFacts(text, knowledge, options).facts.map(({ verdict }) => verdict);

/** The first so many documents of a grade. */
function documents(grade: 'clean' | 'false' | 'garbled', count: number, seed = 1) {
  const source = marketDocuments({ knowledge, grade, seed });
  return Array.from({ length: count }, () => source.next().value);
}

describe('atomic facts', () => {
  it('of clean documents are all supported, and as many as the generator put there', () => {
    for (const { text, facts } of documents('clean', 40)) {
      const judged = atomicFacts(text, knowledge);
      expect(judged.facts.map(({ fact }) => fact?.id)).toEqual(facts.map(({ fact }) => fact));
      expect(judged.facts.every(({ verdict }) => verdict === 'supported')).toBe(true);
      expect(judged.readable).toBe(judged.sentences);
    }
  });

  it('of false documents: exactly the falsehoods are not supported', () => {
    for (const { text, facts, falsehoods } of documents('false', 40)) {
      const tally = tallyFacts([atomicFacts(text, knowledge)]);
      expect(tally.supported).toBe(facts.length);
      expect(tally.contradicted + tally.unsupported).toBe(falsehoods.length);
      expect(tally.contradicted).toBe(falsehoods.length);
    }
  });

  it('stand where their sentence stands', () => {
    const text = `${company.name} works in ${company.sector}. The chief executive of ${company.name} is Nobody Known.`;
    const { facts } = atomicFacts(text, knowledge);
    expect(facts.map(({ start, end }) => text.slice(start, end))).toEqual([
      `${company.name} works in ${company.sector}.`,
      `The chief executive of ${company.name} is Nobody Known.`,
    ]);
    expect(facts.map(({ verdict }) => verdict)).toEqual(['supported', 'contradicted']);
  });

  it('about somebody whom nobody knows are unsupported', () => {
    expect(verdicts('Ulgarbin Foods works in steel.')).toEqual(['unsupported']);
  });

  it('need the prompt to know whom a pronoun means, and do not judge it', () => {
    const prompt = `${company.name}\n${company.name} works in steel and glass. `;
    expect(verdicts(`It was founded in ${company.founded}.`)).toEqual(['unsupported']);
    const judged = atomicFacts(`It was founded in ${company.founded}.`, knowledge, { prompt });
    expect(judged.facts.map(({ verdict, start }) => [verdict, start])).toEqual([['supported', 0]]);
    expect(judged.sentences).toBe(1);
  });

  it('an answer to a question is a fact, and what says that it does not know is an abstention', () => {
    const prompt = `Question: Where is ${company.name} based?\nAnswer:`;
    expect(verdicts(` ${company.headquarters}`, { prompt })).toEqual(['supported']);
    expect(verdicts(' Atlantis', { prompt })).toEqual(['contradicted']);
    const { abstained, facts, readable } = atomicFacts(' I am sorry, I do not know that.', knowledge, { prompt });
    expect([abstained, facts.length, readable]).toEqual([1, 0, 1]);
  });

  it('of an end that was cut off do not count, if that is said', () => {
    const text = `${company.name} works in ${company.sector}. ${company.name} was founded in 19`;
    const half = { supported: 1, sentences: 1 };
    expect(tallyFacts([atomicFacts(text, knowledge, { cutOff: true })])).toMatchObject(half);
    expect(atomicFacts(text, knowledge).sentences).toBe(2);
    expect(atomicFacts(`${text}87.`, knowledge, { cutOff: true }).sentences).toBe(2);
    expect(atomicFacts(`${text}87\n`, knowledge, { cutOff: true }).sentences).toBe(2);
  });

  it('precision and contradicted share are of what is stated, not of sentences or abstentions', () => {
    const text = `${company.name} was founded in 1111. It works in ${company.sector}. I do not know more. Fine weather.`;
    const tally = tallyFacts([atomicFacts(text, knowledge), atomicFacts('', knowledge)]);
    expect(tally).toMatchObject({ supported: 1, contradicted: 1, abstained: 1, sentences: 4, readable: 3 });
    expect([tally.precision, tally.contradictedShare]).toEqual([0.5, 0.5]);
    expect(tallyFacts([]).precision).toBeNaN();
  });
});

describe('faithfulness', () => {
  const random = new Random(5);
  const [founded, seat, chief] = (['founded', 'headquarters', 'chiefExecutive'] as const).map(
    (relation) => knowledge.lookup(company.name, relation)[0]!,
  );
  const lie = { ...seat!, object: untruth(seat!, knowledge, random) };
  const say = (statement: typeof lie) => sayStatement(statement, knowledge, random);

  it('is told by the source and not by the world', () => {
    const source = `${say(founded!)} ${say(lie)}`;
    const { facts, faithful, intrinsic, extrinsic, share } = faithfulness(source, `${say(lie)} ${say(seat!)} ${say(chief!)}`, knowledge);
    expect(facts.map(({ source: judged, verdict }) => [judged, verdict])).toEqual([
      ['faithful', 'contradicted'],
      ['intrinsic', 'supported'],
      ['extrinsic', 'supported'],
    ]);
    expect([faithful, intrinsic, extrinsic, share]).toEqual([1, 1, 1, 1 / 3]);
  });

  it('of a text to itself is 1, for any document', () => {
    for (const { text, facts } of documents('clean', 20, 9)) {
      const { share, faithful } = faithfulness(text, text, knowledge);
      expect([share, faithful]).toEqual([facts.length > 0 ? 1 : NaN, facts.length]);
    }
  });

  it('knows that a ticker belongs to one company alone', () => {
    const ticker = knowledge.lookup(company.name, 'ticker')[0]!;
    const stolen = { ...ticker, subject: other.name };
    expect(faithfulness(say(ticker), say(stolen), knowledge).intrinsic).toBe(1);
    expect(faithfulness(say(founded!), say(stolen), knowledge).extrinsic).toBe(1);
  });

  it('takes another of several values for something that the source does not say', () => {
    const rivals = { ...knowledge.lookup(company.name, 'competitor')[0]! };
    expect(faithfulness(say(rivals), say({ ...rivals, object: knowledge.companies[5]!.name }), knowledge).extrinsic).toBe(1);
  });

  it('lets pronouns mean whom the source spoke of', () => {
    const text = `It was founded in ${company.founded}.`;
    expect(faithfulness(`${company.name} was founded in ${company.founded}.`, text, knowledge).faithful).toBe(1);
  });
});

describe('by frequency', () => {
  it('counts what texts state, and not their falsehoods', () => {
    const clean = documents('clean', 30);
    const expected = new Map<string, number>();
    for (const { facts } of clean) for (const { fact } of facts) expected.set(fact, (expected.get(fact) ?? 0) + 1);
    expect(statedFacts(clean.map(({ text }) => text), knowledge)).toEqual(expected);
    const [lying] = documents('false', 1);
    expect([...statedFacts([lying!.text], knowledge).keys()].sort()).toEqual([...new Set(lying!.facts.map(({ fact }) => fact))].sort());
  });

  it('sorts outcomes into classes, the edges belonging to the class above', () => {
    const outcomes = [0, 1, 2, 3, 3, 30, 5000].map((seen) => ({ seen, right: seen >= 3 }));
    const rows = byFrequency(outcomes);
    expect(rows.map(({ from, below, count, share }) => [from, below, count, share])).toEqual([
      [0, 1, 1, 0],
      [1, 3, 2, 0],
      [3, 10, 2, 1],
      [30, 100, 1, 1],
      [100, Infinity, 1, 1],
    ]);
    for (const { share, interval } of rows) expect(interval.low <= share && share <= interval.high).toBe(true);
    expect(() => byFrequency(outcomes, [1, 1])).toThrow(/edges must rise, got 1, 1/);
  });
});

describe('named entities', () => {
  const text = 'In 2021, the chief executive of Valdora Systems was Mara Belland. It earned $1,240 million, 4.3% more.';

  it('are names without the words before them, and numbers with their units', () => {
    expect(namedEntities(text)).toEqual(['2021', 'Valdora Systems', 'Mara Belland', '$1,240 million', '4.3%']);
    expect(namedEntities('The Company sells it. There is more.')).toEqual(['Company']);
    expect(namedEntities('')).toEqual([]);
  });

  it('that the reference lacks are hallucinated; a part of a name stands for all of it', () => {
    const reference = 'Valdora Systems is led by Mara Belland since 2021.';
    const { hallucinated, ratio } = entityRatio(`${text} Valdora thanks Belland.`, reference);
    expect(hallucinated).toEqual(['$1,240 million', '4.3%']);
    expect(ratio).toBeCloseTo(2 / 7, 12);
    expect(entityRatio('Val thanks Mara.', reference).hallucinated).toEqual(['Val']);
    expect(entityRatio('It earned 1.', 'It earned 12.').hallucinated).toEqual(['1']);
    expect(entityRatio('nothing here', reference).ratio).toBeNaN();
    expect(entityRatio(text, text).ratio).toBe(0);
  });
});

describe('copying', () => {
  const random = new Random(8);
  const words = (count: number) => Array.from({ length: count }, () => `w${random.integer(6)}`);

  /** By trying every pair of places. */
  function longestByHand(corpus: readonly string[][], text: readonly string[], least: number): { longest: number; copied: number } {
    const copied = text.map(() => false);
    let longest = 0;
    for (let i = 0; i < text.length; i++) {
      for (const one of corpus) {
        for (let j = 0; j < one.length; j++) {
          let span = 0;
          while (i + span < text.length && one[j + span] === text[i + span]) span++;
          if (span < least) continue;
          longest = Math.max(longest, span);
          copied.fill(true, i, i + span);
        }
      }
    }
    return { longest, copied: copied.filter(Boolean).length };
  }

  it('finds what trying every place finds, in texts of few words', () => {
    for (const least of [1, 2, 4, 5]) {
      const corpus = Array.from({ length: 5 }, () => words(40));
      const index = new CopyIndex(corpus.map((one) => one.join(' ')), { words: least });
      for (let i = 0; i < 10; i++) {
        const text = words(30);
        const { longest, copied, words: count, rate } = index.copying(text.join('\n'));
        expect({ longest, copied }).toEqual(longestByHand(corpus, text, least));
        expect([count, rate]).toEqual([30, copied / 30]);
      }
    }
  });

  it('does not reach from one text into the next, nor count words that the corpus never had', () => {
    const index = new CopyIndex(['a b c', 'd e f'], { words: 3 });
    expect(index.copying('b c d e').longest).toBe(0);
    expect(index.copying('x y z x y z').longest).toBe(0);
    expect(index.copying('z a b c z')).toEqual({ words: 5, copied: 3, rate: 0.6, longest: 3, longestText: 'a b c' });
    expect(index.copying('').rate).toBeNaN();
  });
});

describe('intervals in closed form', () => {
  it("Wilson's is that of the textbooks", () => {
    // Newcombe 1998, table I, method 3 without continuity correction: 81 of 263, 15 of 148, 0 of 20, 29 of 29.
    const known = [
      [81, 263, 0.2553, 0.3662],
      [15, 148, 0.0624, 0.1605],
      [0, 20, 0, 0.1611],
      [29, 29, 0.883, 1],
    ] as const;
    for (const [successes, count, low, high] of known) {
      const interval = proportionInterval(successes, count);
      expect(interval.low).toBeCloseTo(low, 4);
      expect(interval.high).toBeCloseTo(high, 4);
    }
    expect(proportionInterval(0, 0)).toMatchObject({ low: 0, high: 1 });
    expect(() => proportionInterval(3, 2)).toThrow(/3 of 2 is no share/);
  });

  it("Student's covers the true mean of few runs in 95 of 100 cases", () => {
    const random = new Random(31);
    for (const runs of [2, 3, 12]) {
      let covered = 0;
      for (let i = 0; i < 4000; i++) {
        const { interval } = meanOfRuns(Array.from({ length: runs }, () => 7 + random.normal()));
        if (interval.low <= 7 && 7 <= interval.high) covered++;
      }
      expect(covered / 4000).toBeGreaterThan(0.94);
      expect(covered / 4000).toBeLessThan(0.96);
    }
  });

  it('of one run is endless, and of none there is none', () => {
    expect(meanOfRuns([3]).interval).toMatchObject({ low: -Infinity, high: Infinity });
    expect(() => meanOfRuns([])).toThrow(/no run/);
  });
});
