/**
 * @file Chapter 13, hallucination: what each answer must do, and what the usual mistakes look like.
 * Expected values are written by hand or come from the definitions; where answers are words, a mistake is recognised by what it
 * says in all cases together.
 */
import { describe, expect, it } from 'vitest';
import { Diagnosis, expectClose, Random, type Hints } from 'lab';
import {
  atomicPrecision,
  brokenRules,
  entityRatio,
  factualNucleusStep,
  foundProbability,
  judgeFact,
  mixture,
  signature,
} from '../solutions/13-hallucination.ts';

/** @throws Diagnosis when it does not hold. */
function expectThat(holds: boolean, hint: string, say: string): void {
  if (!holds) throw new Diagnosis(hint, say);
}

/** A mistake by what it says in every case. */
type Voices<Result> = Readonly<Record<string, readonly [say: string, said: readonly Result[]]>>;

/** Passes when all cases have the expected result, else names the mistake that says exactly what was said. */
function expectCases<Result>(received: readonly Result[], expected: readonly Result[], names: readonly string[], voices: Voices<Result>): void {
  const same = (other: readonly Result[]): boolean => JSON.stringify(received) === JSON.stringify(other);
  if (same(expected)) return;
  for (const [hint, [say, said]] of Object.entries(voices)) if (same(said)) throw new Diagnosis(hint, say);
  const wrong = names.findIndex((_, i) => JSON.stringify(received[i]) !== JSON.stringify(expected[i]));
  expect(received[wrong], names[wrong]!).toEqual(expected[wrong]);
}

interface Statement {
  subject: string;
  relation: string;
  object: string;
  period?: string;
}

describe('13.1 the judge', () => {
  const say = (subject: string, relation: string, object: string, period?: string): Statement =>
    period === undefined ? { subject, relation, object } : { subject, relation, object, period };
  const facts = [
    say('Valdora', 'founded', '1987'),
    say('Valdora', 'headquarters', 'Ashford'),
    say('Valdora', 'revenue', '$1,240 million', '2021'),
    say('Valdora', 'revenue', '$1,300 million', '2022'),
    say('Valdora', 'competitor', 'Corlex'),
    say('Valdora', 'competitor', 'Merlune'),
    say('Valdora', 'product', 'Zephix'),
    say('Valdora', 'ticker', 'VLDR'),
    say('Corlex', 'founded', '1990'),
    say('Corlex', 'product', 'Lumora'),
    say('Corlex', 'ticker', 'CRLX'),
  ];
  const rules = { many: ['competitor', 'product'], exclusive: ['product', 'ticker'] };
  const cases: [name: string, statement: Statement, verdict: string][] = [
    ['a fact', say('Valdora', 'founded', '1987'), 'supported'],
    ['another year', say('Valdora', 'founded', '1990'), 'contradicted'],
    ['somebody whom nobody knows', say('Pelgard', 'founded', '1987'), 'unsupported'],
    ['something of which nothing is known', say('Valdora', 'employees', '5,200', '2021'), 'unsupported'],
    ['a fact of a year', say('Valdora', 'revenue', '$1,240 million', '2021'), 'supported'],
    ['the figure of another year', say('Valdora', 'revenue', '$1,300 million', '2021'), 'contradicted'],
    ['a year without a fact', say('Valdora', 'revenue', '$1,240 million', '2023'), 'unsupported'],
    ['one of several values', say('Valdora', 'competitor', 'Corlex'), 'supported'],
    ['the second of several values', say('Valdora', 'competitor', 'Merlune'), 'supported'],
    ['one more of several values', say('Valdora', 'competitor', 'Dellquist'), 'unsupported'],
    ['a product that nobody has', say('Valdora', 'product', 'Vexara'), 'unsupported'],
    ["somebody else's product", say('Valdora', 'product', 'Lumora'), 'contradicted'],
    ["somebody else's ticker", say('Pelgard', 'ticker', 'CRLX'), 'contradicted'],
    ['a seat that somebody else has, too', say('Pelgard', 'headquarters', 'Ashford'), 'unsupported'],
    ['a founding year that somebody else has, too', say('Dellquist', 'founded', '1990'), 'unsupported'],
  ];
  const names = cases.map(([name]) => name);
  const truth = cases.map(([, , verdict]) => verdict);

  /** What a judge says who does one thing differently. */
  const saysWho = (change: {
    period?: boolean;
    many?: readonly string[];
    exclusive?: readonly string[];
    own?: number;
    unknown?: string;
    subject?: boolean;
  }): string[] =>
    cases.map(([, { subject, relation, object, period }]) => {
      const { many = rules.many, exclusive = rules.exclusive, unknown = 'unsupported' } = change;
      const own = facts
        .filter((fact) => (change.subject === false || fact.subject === subject) && fact.relation === relation)
        .filter((fact) => change.period === false || fact.period === period)
        .slice(0, change.own ?? facts.length);
      if (own.some((fact) => fact.object === object)) return 'supported';
      if (own.length > 0 && !many.includes(relation)) return 'contradicted';
      const taken = facts.some((fact) => fact.relation === relation && fact.object === object);
      return exclusive.includes(relation) && taken ? 'contradicted' : unknown;
    });
  const all = ['founded', 'headquarters', 'revenue', 'competitor', 'product', 'ticker'];
  const voices: Voices<string> = {
    'time-ignored': [
      'The figure of 2022 is taken for a fact of 2021. What changes with time is known for a period: compare it, too.',
      saysWho({ period: false }),
    ],
    'one-value-only': [
      'One more competitor is called a contradiction. A company can have several: where `rules.many` has the relation, another ' +
        'value rules nothing out.',
      saysWho({ many: [] }),
    ],
    'theft-overlooked': [
      "Somebody else's product or ticker passes. Where `rules.exclusive` has the relation, a value that anybody else has is " +
        'contradicted.',
      saysWho({ exclusive: [] }),
    ],
    'unknown-is-false': [
      'What nobody knows is called a contradiction. A statement is contradicted when a fact rules it out; without one it is ' +
        'unsupported, and may well be true.',
      saysWho({ unknown: 'contradicted' }),
    ],
    'first-fact-only': [
      'The second competitor is not found: there may be several facts for the same subject and relation. Look at all of them.',
      saysWho({ own: 1 }),
    ],
    'everything-is-exclusive': [
      'Two companies cannot have their seat in the same city, says your judge. Only the relations of `rules.exclusive` are ' +
        'like that.',
      saysWho({ exclusive: all }),
    ],
    'whose-it-is-ignored': [
      'Your judge does not ask whom a statement is about: what is true of one company passes for another.',
      saysWho({ subject: false }),
    ],
  };

  it('supports facts, and tells what is ruled out from what is not known', () => {
    const given = cases.map(([, statement]) => ({ ...statement }));
    const received = given.map((statement) => judgeFact(statement, [...facts], { many: [...rules.many], exclusive: [...rules.exclusive] }));
    expectCases<string>(received, truth, names, voices);
  });

  it('does not mind the order of the facts', () => {
    const backwards = [...facts].reverse();
    const received = cases.map(([, statement]) => judgeFact(statement, backwards, rules));
    expect(received).toEqual(truth);
  });
});

describe('13.2 atomic precision', () => {
  const texts = [
    ['supported', 'supported', 'contradicted', 'supported', 'unsupported'],
    ['abstained'],
    ['unsupported', 'contradicted', 'abstained'],
    ['supported'],
    [],
  ];
  const both = ({ supported, contradicted }: { supported: number; contradicted: number }): number[] => [supported, contradicted];
  const hints: Hints = {
    'mean-of-texts': {
      say:
        'You take the share of each text and average these: a text of one statement weighs as much as one of five. Pool all ' +
        'statements first.',
      looksLike: [(0.6 + 0 + 1) / 3, (0.2 + 0.5 + 0) / 3],
    },
    'abstentions-counted': {
      say:
        'Abstentions are in your denominator. Who says that he does not know states nothing, and is neither right nor wrong.',
      looksLike: [4 / 10, 2 / 10],
    },
    'unsupported-left-out': {
      say:
        'What is unsupported is missing in your denominator: then a model that invents companies of its own has a precision of 1.',
      looksLike: [4 / 6, 2 / 6],
    },
    'unsupported-is-contradicted': {
      say: 'contradicted is everything that is not supported in your answer. Unsupported statements are neither.',
      looksLike: [4 / 8, 4 / 8],
    },
    'a-count-of-texts': {
      say: 'You divide by the number of texts. The shares are of all statements.',
      looksLike: [4 / 5, 2 / 5],
    },
    'counts-not-divided': { say: 'These are counts. Divide them by the number of statements.', looksLike: [4, 2] },
  };

  it('is of all statements together', async () => {
    await expectClose(both(atomicPrecision(texts.map((text) => [...text]))), [4 / 8, 2 / 8], { what: 'the shares', hints });
  });

  it('of nothing said is NaN', async () => {
    const hint = { say: 'Where nothing is stated there is no share: NaN, not a number that looks like one.', when: true };
    await expectClose(both(atomicPrecision([['abstained'], []])), [NaN, NaN], { what: 'the shares', hints: { 'nothing-is-something': hint } });
  });
});

describe('13.3 names from nowhere', () => {
  const known = ['Valdora Systems', 'Mara Belland', '2021', '1212', 'Ashford', 'June 2020'];
  const [parts, outsiders] = [
    ['Valdora', 'Belland', 'Systems'],
    ['$1,240 million', 'Ostwick', 'Pelgard', 'Quinor'],
  ];
  const entities = ['Mara Belland', '2021', ...parts, 'Ashford', 'Val', '12', 'Mara Belland', 'June 2020'].concat(outsiders, [
    'Valdora Systems Europe',
    '2021 Report',
  ]);
  const share = (unknown: number, of = 15): number => unknown / of;
  const hints: Hints = {
    'repeats-counted': {
      say: 'Mara Belland is counted twice. Each entity counts once, however often it is named.',
      looksLike: share(8, 16),
    },
    'parts-of-words': {
      say:
        "'Val' passes because the letters stand in 'Valdora', and '12' because they stand in '1212'. A part must consist of whole " +
        'words.',
      looksLike: share(6),
    },
    'whole-names-only': {
      say: "'Valdora' and 'Belland' are taken for inventions. A known name may be shortened by whole words.",
      looksLike: share(11),
    },
    'share-of-the-known': { say: 'This is the share that is known. The ratio is that of what comes from nowhere.', looksLike: share(7) },
    'divided-by-the-reference': {
      say: 'You divide by what the reference names. The ratio is of what the text names.',
      looksLike: share(8, 6),
    },
    'wrong-way-round': {
      say:
        "'Valdora Systems Europe' passes, because a known name stands in it. It is the other way round: the entity must stand in a " +
        'known name.',
      looksLike: share(9),
    },
  };

  it('is the share of different entities that the reference lacks', async () => {
    await expectClose(entityRatio([...entities], [...known]), share(8), { what: 'the ratio', hints });
  });

  it('is 0 for the reference itself, 1 for strangers, and NaN for a text that names nothing', async () => {
    await expectClose(entityRatio([...known], known), 0, { what: 'the ratio of the reference to itself', hints: {} });
    await expectClose(entityRatio(['Ostwick'], []), 1, { what: 'the ratio of a stranger', hints: {} });
    const hint = { say: 'A text that names nobody has no ratio: return NaN.', when: true };
    await expectClose(entityRatio([], known), NaN, { what: 'the ratio', hints: { 'nothing-is-something': hint } });
  });
});

describe('13.4 MinHash', () => {
  const random = new Random(134);
  const hashes = Array.from({ length: 5 }, () => {
    const [offset, factor] = [random.uint32(), random.uint32() | 1];
    return (x: number): number => Math.imul(x ^ offset, factor) >>> 0;
  });
  const shingles = Array.from({ length: 9 }, () => random.uint32());
  const values = hashes.map((hash) => shingles.map(hash));
  const truth = values.map((row) => Math.min(...row));
  const scaled = (numbers: readonly number[]): number[] => numbers.map((x) => x / 2 ** 32);
  const hints: Hints = {
    'largest-value': {
      say: 'You take the largest value of each function. That would do as well, but the signature is of the smallest.',
      looksLike: scaled(values.map((row) => Math.max(...row))),
    },
    'smallest-shingle-hashed': {
      say: 'You hash the smallest shingle. Each function puts the set in an order of its own: hash first, then look for the smallest.',
      looksLike: scaled(hashes.map((hash) => hash(Math.min(...shingles)))),
    },
    'a-value-for-each-shingle': {
      say: 'There is a value for each shingle. The signature has one for each function, however large the set is.',
      looksLike: scaled(shingles.map((_, j) => Math.min(...values.map((row) => row[j]!)))),
    },
    'first-shingle-alone': {
      say: 'Only the first shingle is hashed.',
      looksLike: scaled(values.map((row) => row[0]!)),
    },
  };

  it('has the smallest value of each function', async () => {
    const received = signature([...shingles], hashes);
    await expectClose(Array.isArray(received) ? scaled(received) : received, scaled(truth), { what: 'the signature', hints, tolerance: 1e-9 });
  });

  it('is that of a set: order and repetition do not matter', () => {
    const again = signature([...shingles].reverse().concat(shingles.slice(0, 4)), hashes);
    expect(again).toEqual(truth);
  });

  const curve = (f: (s: number, b: number, r: number) => number): number[] =>
    [0, 0.3, 0.6, 0.72, 0.9, 1].flatMap((s) => [[14, 8], [20, 5], [3, 2]].map(([b, r]) => f(s, b!, r!)));
  const curveHints: Hints = {
    'bands-and-rows-exchanged': {
      say: 'Bands and rows are exchanged: all rows of a band must agree (s^rows), in at least one of the bands.',
      looksLike: curve((s, b, r) => 1 - (1 - s ** b) ** r),
    },
    'every-band-must-agree': {
      say: 'This is the probability that all bands agree. One is enough.',
      looksLike: curve((s, b, r) => s ** (b * r)),
    },
    'one-band': { say: 'This is the probability that one given band agrees. There are several chances.', looksLike: curve((s, _, r) => s ** r) },
    'one-row-is-enough': {
      say: 'This is the probability that any two values agree. A band agrees when all of its rows do.',
      looksLike: curve((s, b, r) => 1 - (1 - s) ** (b * r)),
    },
    'none-found': {
      say: 'This is the probability that no band agrees. Take it from 1.',
      looksLike: curve((s, b, r) => (1 - s ** r) ** b),
    },
  };

  it('is found with the probability of the S-curve', async () => {
    const expected = curve((s, b, r) => {
      // No band agrees, band by band.
      let none = 1;
      for (let band = 0; band < b; band++) none *= 1 - s ** r;
      return 1 - none;
    });
    await expectClose(curve(foundProbability), expected, { what: 'the curve', hints: curveHints, tolerance: 1e-9 });
  });
});

describe('13.5 Gopher’s rules', () => {
  const cases: [name: string, text: string, broken: string[]][] = [
    ['prose', 'The tower of the company stands in Ashford and has many windows.', []],
    ['short words', 'a b of c d to e f', ['word length']],
    ['long words', 'Internationalization and telecommunications of multinationals', ['word length']],
    ['words of three letters on average', 'the and cat dog', []],
    ['numbers', 'the 1234 5678 9012 of 3456 7890 hundred', ['letters']],
    ['four of five with a letter', 'the 1234 of windows glass', []],
    ['no stop words', 'Green apples taste better than yellow pears', ['stop words']],
    ['the same stop word three times', 'The cat saw the dog near the house', ['stop words']],
    ['capital letters', 'Of course THE company works', []],
    ['punctuation', 'Works of art, and (of course) nothing that, however, matters', []],
    ['a comma behind each stop word', 'Made for, of, sold by them, and, bought', []],
    ['stop words inside of words', 'Other handsome weather becomes together', ['stop words']],
    ['dashes between blanks', 'the - house - stands - of - stone', ['letters']],
    ['everything at once', '1 2 3 4', ['word length', 'letters', 'stop words']],
    ['nothing', '', ['word length', 'letters', 'stop words']],
  ];
  const stopWords = ['the', 'be', 'to', 'of', 'and', 'that', 'have', 'with'];

  const saysWho = (change: {
    plain?: (word: string) => string;
    stops?: (words: readonly string[], text: string) => number;
    words?: (token: string) => boolean;
    letters?: (tokens: readonly string[]) => number;
    enough?: (share: number) => boolean;
    fits?: (length: number) => boolean;
  }): string[][] =>
    cases.map(([, text]) => {
      const tokens = text.split(/\s+/).filter((token) => token !== '');
      const words = tokens.filter(change.words ?? ((token) => /[a-z0-9]/i.test(token)));
      const length = words.reduce((sum, word) => sum + word.length, 0) / Math.max(1, words.length);
      const share = change.letters?.(tokens) ?? tokens.filter((token) => /[a-z]/i.test(token)).length / Math.max(1, tokens.length);
      const plain = words.map(change.plain ?? ((word) => word.toLowerCase().replace(/[^a-z]/g, '')));
      const found = change.stops?.(plain, text) ?? stopWords.filter((word) => plain.includes(word)).length;
      const kept = [
        change.fits?.(length) ?? (length >= 3 && length <= 10),
        change.enough?.(share) ?? share >= 0.8,
        found >= 2,
      ];
      return ['word length', 'letters', 'stop words'].filter((_, i) => !kept[i]);
    });
  const voices: Voices<string[]> = {
    'occurrences-counted': [
      "'the' three times is one stop word. Count how many different ones there are.",
      saysWho({ stops: (words) => words.filter((word) => stopWords.includes(word)).length }),
    ],
    'capitals-missed': ["'THE' and 'Of' are not recognised. Compare in small letters.", saysWho({ plain: (word) => word.replace(/[^A-Za-z]/g, '') })],
    'punctuation-sticks': [
      "A stop word with a comma behind it is not recognised. Take away what is no letter before you compare.",
      saysWho({ plain: (word) => word.toLowerCase() }),
    ],
    'letters-inside-words': [
      "'other' is no stop word, though the letters of 'the' are in it. Compare whole words.",
      saysWho({ stops: (_, text) => stopWords.filter((word) => text.toLowerCase().includes(word)).length }),
    ],
    'dashes-are-words': [
      'A dash between blanks counts as a word in your mean length. A word has a letter or a digit in it.',
      saysWho({ words: () => true }),
    ],
    'share-of-characters': [
      'You take the share of characters that are letters. The rule is about what stands between blanks: does it have a letter in it?',
      saysWho({
        letters: (tokens) => {
          const text = tokens.join('');
          return text.replace(/[^a-z]/gi, '').length / Math.max(1, text.length);
        },
      }),
    ],
    'bounds-excluded': [
      'Exactly 80%, or a mean of exactly 3, is still kept: the rules name the last values that are fine.',
      saysWho({ enough: (share) => share > 0.8, fits: (length) => length > 3 && length < 10 }),
    ],
    'no-upper-bound': ['Very long words pass. The mean must be at most 10.', saysWho({ fits: (length) => length >= 3 })],
  };

  it('finds what is no prose', () => {
    const names = cases.map(([name]) => name);
    const received = cases.map(([, text]) => brokenRules(text));
    expectCases(received, cases.map(([, , broken]) => broken), names, voices);
  });
});

describe('13.6 a mixture', () => {
  interface Source {
    tokens: number;
    weight: number;
  }
  const of = (...sources: [tokens: number, weight: number][]): Source[] => sources.map(([tokens, weight]) => ({ tokens, weight }));
  const cases: [sources: Source[], budget: number, maxEpochs: number, expected: number[]][] = [
    [of([100, 1], [300, 3]), 80, 4, [20, 60]],
    [of([10, 1], [1000, 1], [1000, 3]), 500, 4, [40, 115, 345]],
    [of([10, 1], [60, 1], [1000, 1]), 300, 2, [20, 120, 160]],
    [of([10, 1], [20, 2]), 1000, 4, [40, 80]],
    [of([50, 0], [100, 2], [100, 6]), 100, 1, [0, 25, 75]],
  ];
  const expected = cases.flatMap(([, , , numbers]) => numbers);
  const by = (rule: (sources: readonly Source[], budget: number, maxEpochs: number) => number[]): number[] =>
    cases.flatMap(([sources, budget, maxEpochs]) => rule(sources, budget, maxEpochs));
  const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
  const shares = (sources: readonly Source[], budget: number): number[] => {
    const weights = total(sources.map(({ weight }) => weight));
    return sources.map(({ weight }) => (budget * weight) / weights);
  };
  const capped = (sources: readonly Source[], wanted: readonly number[], maxEpochs: number): number[] =>
    wanted.map((tokens, i) => Math.min(tokens, maxEpochs * sources[i]!.tokens));
  /** One round in which the rest goes to whoever is not full. */
  const oneRound = (sources: readonly Source[], budget: number, maxEpochs: number, even: boolean): number[] => {
    const taken = capped(sources, shares(sources, budget), maxEpochs);
    const rest = budget - total(taken);
    const open = sources.map(({ tokens, weight }, i) => (weight > 0 && taken[i]! < maxEpochs * tokens ? (even ? 1 : weight) : 0));
    return total(open) === 0 ? taken : taken.map((tokens, i) => tokens + (rest * open[i]!) / total(open));
  };
  const hints: Hints = {
    'limit-forgotten': { say: 'maxEpochs plays no part: a small source is read dozens of times.', looksLike: by((s, budget) => shares(s, budget)) },
    'rest-thrown-away': {
      say: 'What a full source cannot give is lost, and less than the budget is trained on. The others give it.',
      looksLike: by((s, budget, most) => capped(s, shares(s, budget), most)),
    },
    'rest-in-one-round': {
      say: 'When the rest is handed on, further sources can become full: yours are read too often then. Go on until none is.',
      looksLike: by((s, budget, most) => oneRound(s, budget, most, false)),
    },
    'rest-shared-evenly': {
      say: 'The rest is shared out evenly. The others give it by their weights.',
      looksLike: [20, 60, 40, 130, 330, 20, 120, 160, 40, 80, 0, 25, 75],
    },
    'one-epoch-only': {
      say: 'Each source is read once at most. It may be read maxEpochs times.',
      looksLike: [20, 60, 10, 122.5, 367.5, 10, 60, 230, 10, 20, 0, 25, 75],
    },
    'weights-by-size': {
      say: 'You multiply the weights by the sizes. A weight is already the share of the mixture, whatever size the source has.',
      looksLike: () =>
        by((s, budget, most) => reference(s.map(({ tokens, weight }) => ({ tokens, weight: tokens * weight })), budget, most)),
    },
  };
  /** By filling up: the level at which the sources give the budget, found by halving. */
  function reference(sources: readonly Source[], budget: number, maxEpochs: number): number[] {
    const at = (level: number): number[] => sources.map(({ tokens, weight }) => Math.min(level * weight, maxEpochs * tokens));
    let [low, high] = [0, 1e9];
    for (let i = 0; i < 200; i++) {
      const middle = (low + high) / 2;
      if (total(at(middle)) < budget) low = middle;
      else high = middle;
    }
    return at(low);
  }

  it('follows the weights as far as the sources reach', async () => {
    const received = cases.map(([sources, budget, maxEpochs]) => mixture(sources.map((one) => ({ ...one })), budget, maxEpochs));
    await expectClose(received.flat(), expected, { what: 'the tokens of all cases', hints, tolerance: 1e-6 });
  });

  it('is what filling up to a common level gives', async () => {
    const random = new Random(136);
    for (let i = 0; i < 20; i++) {
      const sources = Array.from({ length: 6 }, () => ({ tokens: 1 + random.integer(500), weight: 1 + random.integer(9) }));
      const [budget, most] = [50 + random.integer(3000), 1 + random.integer(4)];
      await expectClose(mixture(sources, budget, most), reference(sources, budget, most), { tolerance: 1e-6, what: 'the tokens' });
    }
  });
});

describe('13.7 the factual nucleus', () => {
  const probabilities = [0.04, 0.2, 0.1, 0.16, 0.12, 0.06, 0.18, 0.14];
  const options = { topP: 0.95, decay: 0.8, floor: 0.3 };
  const places = [0, 1, 2, 3, 8];
  interface Options {
    topP: number;
    decay: number;
    floor: number;
  }
  const nucleus = (p: number, change: { before?: boolean; scale?: boolean } = {}): number[] => {
    const order = [1, 6, 3, 7, 4, 2, 5, 0];
    let mass = 0;
    const kept: number[] = [];
    for (const token of order) {
      if (kept.length > 0 && (change.before ? mass + probabilities[token]! > p : mass >= p)) break;
      kept.push(token);
      mass += probabilities[token]!;
    }
    return probabilities.map((value, token) => (kept.includes(token) ? value / (change.scale === false ? 1 : mass) : 0));
  };
  const by = (p: (place: number, options: Options) => number, change = {}): number[][] =>
    places.map((place) => nucleus(p(place, options), change));
  const truth = by((place) => Math.max(0.3, 0.95 * 0.8 ** place));
  const hints: Hints = {
    'one-place-too-far': {
      say: 'p has fallen before the first token. At place 0 it is topP itself: the power is the number of tokens that are there.',
      looksLike: by((place) => Math.max(0.3, 0.95 * 0.8 ** (place + 1))),
    },
    'floor-forgotten': {
      say: 'p falls below the floor: late in a sentence only the likeliest token is left.',
      looksLike: by((place) => 0.95 * 0.8 ** place),
    },
    'floor-is-a-ceiling': { say: 'The smaller of floor and p is taken; it is the larger one.', looksLike: by((place) => Math.min(0.3, 0.95 * 0.8 ** place)) },
    'never-falls': { say: 'p does not depend on the place. It is multiplied by decay with each token.', looksLike: by(() => 0.95) },
    'not-scaled': {
      say: 'What is left does not sum to 1. Divide by its sum.',
      looksLike: by((place) => Math.max(0.3, 0.95 * 0.8 ** place), { scale: false }),
    },
    'stops-short-of-p': {
      say: 'The token with which the sum reaches p is left out. It belongs to the nucleus.',
      looksLike: by((place) => Math.max(0.3, 0.95 * 0.8 ** place), { before: true }),
    },
    'falls-by-subtraction': {
      say: 'p falls by the same amount each time. It is multiplied by decay: p, p λ, p λ², …',
      looksLike: by((place) => Math.max(0.3, 0.95 - 0.2 * place)),
    },
  };

  it('shrinks with the place in the sentence, down to the floor', async () => {
    const given = [...probabilities];
    const received = places.map((place) => factualNucleusStep(given, place, { ...options }));
    expectThat(
      JSON.stringify(given) === JSON.stringify(probabilities),
      'changes-its-inputs',
      'The probabilities that your function was given have changed. Work on a copy.',
    );
    await expectClose(received, truth, { what: 'the distributions', hints, tolerance: 1e-6 });
  });

  it('keeps one token at least, and of equally likely ones the first', async () => {
    const even = factualNucleusStep([0.25, 0.25, 0.25, 0.25], 50, { topP: 0.9, decay: 0.5, floor: 0.5 });
    await expectClose(even, [0.5, 0.5, 0, 0], { what: 'the nucleus of four equal tokens', tolerance: 1e-6 });
    const one = factualNucleusStep([0.1, 0.9], 50, { topP: 0.9, decay: 0.5, floor: 0.01 });
    await expectClose(one, [0, 1], { what: 'a nucleus of a hundredth', tolerance: 1e-6 });
  });

  it('is the whole distribution for p = 1', async () => {
    const whole = factualNucleusStep(probabilities, 4, { topP: 1, decay: 1, floor: 0.1 });
    await expectClose(whole, probabilities, { what: 'the distribution', tolerance: 1e-6 });
  });
});
