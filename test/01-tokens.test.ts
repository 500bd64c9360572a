/**
 * @file Chapter 01, tokens: what each answer must do, and what the usual mistakes look like.
 *
 * An answer that is wrong somewhere is tried on all cases of its exercise; a mistake is named when it explains all that
 * came out. Pairs, ranks and segmentations are judged by counting and by trying everything.
 */
import { describe, expect, it } from 'vitest';
import { Diagnosis, NotWrittenYet, Random } from 'lab';
import {
  codePoints,
  decode,
  encode,
  learnMerges,
  mergePair,
  pairCounts,
  preTokenize,
  utf8,
  viterbi,
} from '../solutions/01-tokens.ts';

type Pair = [number, number];

/** What an answer did with one case. */
interface Trial<C, R> {
  readonly given: C;
  readonly expected: R;
  /** What it returned, or the error that it ended in. */
  readonly outcome: R | Error;
  readonly right: boolean;
  /** Whether what was passed in is not what it was before. */
  readonly changed: boolean;
}

interface Mistake<C, R> {
  readonly hint: string;
  readonly say: string;
  /** What the mistake computes: it is recognised when this came out in every case. */
  readonly does?: (given: C) => unknown;
  /** Recognised when true. */
  readonly is?: (wrong: readonly Trial<C, R>[], all: readonly Trial<C, R>[]) => boolean;
}

interface Examination<C, R> {
  readonly cases: readonly C[];
  readonly answer: (given: C) => R;
  readonly truth: (given: C) => R;
  /** How right answers are known where there are several; being equal to the truth, unless told. */
  readonly accepts?: (outcome: R, given: C) => boolean;
  readonly mistakes: readonly Mistake<C, R>[];
}

/** Plain numbers, texts and lists, typed arrays as arrays, as one text that can be compared. */
function plain(value: unknown): string {
  return (
    JSON.stringify(value, (_, part: unknown) => (ArrayBuffer.isView(part) ? Array.from(part as Uint8Array) : part)) ??
    'undefined'
  );
}

/** @returns a function that fails unless the answer is right for a case, and names the mistake if it is a known one */
function examiner<C, R>({ cases, answer, truth, accepts, mistakes }: Examination<C, R>): (given: C) => void {
  const attempt = (given: C): Trial<C, R> => {
    const passed = structuredClone(given);
    const expected = truth(given);
    let outcome: R | Error;
    try {
      outcome = answer(passed);
    } catch (error) {
      if (error instanceof NotWrittenYet || error instanceof ReferenceError) throw error;
      outcome = error instanceof Error ? error : new Error(String(error));
    }
    const changed = plain(passed) !== plain(given);
    const same = !(outcome instanceof Error) && (accepts ? accepts(outcome, given) : plain(outcome) === plain(expected));
    return { given, expected, outcome, right: same && !changed, changed };
  };
  return (given) => {
    const trial = attempt(given);
    if (trial.right) return;
    const all = cases.map(attempt);
    const wrong = all.filter(({ right }) => !right);
    const known = mistakes.find(
      ({ does, is }) => is?.(wrong, all) ?? all.every(({ given: c, outcome }) => plain(outcome) === plain(does?.(c))),
    );
    if (known) throw new Diagnosis(known.hint, known.say);
    if (trial.outcome instanceof Error) throw trial.outcome;
    expect(trial.outcome, `the answer for ${plain(given)}`).toEqual(trial.expected);
    throw new Error(`The answer for ${plain(given)} is not right: ${plain(trial.outcome)}`);
  };
}

/** All wrong ones, of which there is one, are so: for predicates. */
function onlyWrongWhere<C, R>(holds: (given: C) => boolean): (wrong: readonly Trial<C, R>[]) => boolean {
  return (wrong) => wrong.length > 0 && wrong.every(({ given }) => holds(given));
}

function outcomes<R>(trials: readonly { readonly outcome: R | Error }[]): R[] {
  return trials.flatMap(({ outcome }) => (outcome instanceof Error ? [] : [outcome]));
}

const bytesOf = (text: string): number[] => [...new TextEncoder().encode(text)];
const points = (text: string): number[] => Array.from(text, (character) => character.codePointAt(0)!);

const changesItsArguments = {
  hint: 'changes-its-arguments',
  say:
    'The array that was passed in is not the same afterwards. Others still need it: build a new one, or work on a copy, ' +
    '[...ids].',
  is: (_: readonly unknown[], all: readonly { readonly changed: boolean }[]) => all.some(({ changed }) => changed),
};

describe('1.1 bytes and code points', () => {
  const texts = ['abc', 'é', '語', '👩‍🚀', 'e\u0301', 'a😀b', '\u{10ffff}', 'Ω≈ç√∫', ''].map((text) => ({ text }));
  const expectPoints = examiner<{ text: string }, number[]>({
    cases: texts,
    answer: ({ text }) => codePoints(text),
    truth: ({ text }) => points(text),
    mistakes: [
      {
        hint: 'characters-not-numbers',
        say: 'These are characters, not their numbers: character.codePointAt(0) gives the number.',
        is: (_, all) => outcomes(all).some((outcome) => Array.isArray(outcome) && outcome.some((x) => typeof x === 'string')),
      },
      {
        hint: 'halves-of-characters',
        say:
          'Characters above 0xFFFF come out in two halves (0xD800 to 0xDFFF, "surrogates"), as charCodeAt and text[i] give ' +
          'them. A for…of loop, [...text] and Array.from(text) go by whole characters.',
        does: ({ text }) => Array.from({ length: text.length }, (_, i) => text.charCodeAt(i)),
      },
      {
        hint: 'second-half-again',
        say:
          'Characters above 0xFFFF are right, but the second half of each comes once more behind it: such a character is two ' +
          'places long, so the next one begins at i + 2.',
        does: ({ text }) => Array.from({ length: text.length }, (_, i) => text.codePointAt(i)),
      },
      {
        hint: 'first-of-each-sign',
        say:
          'Where several code points make one visible sign, only the first is there. An astronaut is a woman, a joiner and a ' +
          'rocket, and an accent may be a code point of its own: all of them count.',
        does: ({ text }) => [...new Intl.Segmenter().segment(text)].map(({ segment }) => segment.codePointAt(0)),
      },
    ],
  });
  it.each(texts)('codePoints gives the number of each character: $text', (given) => expectPoints(given));

  const sequences: { points: number[] }[] = [
    { points: [0x41, 0x7a] },
    { points: [0xe9] },
    { points: [0x3b1, 0x5d0] },
    { points: [0x8a9e] },
    { points: [0x1f680] },
    { points: [0x1f469, 0x200d, 0x1f680] },
    { points: [0, 0x7f] },
    { points: [0x80, 0x7ff] },
    { points: [0x800, 0xffff] },
    { points: [0x10000, 0x10ffff] },
    { points: [] },
  ];
  const edges = new Set([0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x10000]);
  const encoded =
    ({ lead = true, mark = 0x80, reversed = false }) =>
    (given: { points: number[] }): number[] =>
      given.points.flatMap((point) => {
        const bytes = bytesOf(String.fromCodePoint(point));
        if (bytes.length === 1) return bytes;
        const rest = bytes.slice(1).map((byte) => (byte & 0x3f) | mark);
        const first = lead ? bytes[0]! : bytes[0]! & (0x7f >> bytes.length);
        return [first, ...(reversed ? rest.reverse() : rest)];
      });
  const expectBytes = examiner<{ points: number[] }, number[]>({
    cases: sequences,
    answer: ({ points: given }) => utf8(given),
    truth: ({ points: given }) => bytesOf(given.map((point) => String.fromCodePoint(point)).join('')),
    mistakes: [
      changesItsArguments,
      {
        hint: 'one-number-a-character',
        say:
          'Every character became one number. A byte ends at 255 and characters do not: from 0x80 on, UTF-8 spreads the bits ' +
          'of a character over two, three or four bytes.',
        is: (wrong, all) =>
          wrong.length > 0 &&
          all.every(({ given, outcome }) => !(outcome instanceof Error) && outcome?.length === given.points.length),
      },
      {
        hint: 'off-at-the-edges',
        say:
          'Only characters at the edges of the ranges are wrong: one byte is for points below 0x80 (0x7F is the last), ' +
          'two for those below 0x800, three for those below 0x10000.',
        is: onlyWrongWhere(({ points: given }) => given.some((point) => edges.has(point))),
      },
      {
        hint: 'no-fourth-byte',
        say:
          'Characters up to 0xFFFF are right, those above are not: they need four bytes, 0xF0 with the three ' +
          'highest bits and three continuation bytes.',
        is: onlyWrongWhere(({ points: given }) => given.some((point) => point > 0xffff)),
      },
      {
        hint: 'bits-left-over',
        say:
          'There are numbers above 255, which are no bytes. A continuation byte takes six bits of the point: ' +
          'cut off the others with & 0x3f before 0x80 is put in.',
        is: (_, all) => outcomes(all).some((outcome) => Array.from(outcome ?? []).some((byte) => byte > 255)),
      },
      {
        hint: 'no-continuation-mark',
        say: 'The six bits are right, but the continuation bytes lack their mark: each is 10xxxxxx, so put in 0x80 with |.',
        does: encoded({ mark: 0 }),
      },
      {
        hint: 'no-length-mark',
        say:
          'The first byte lacks its mark, from which a reader knows how many bytes follow: 110xxxxx (0xC0), 1110xxxx (0xE0) ' +
          'or 11110xxx (0xF0).',
        does: encoded({ lead: false }),
      },
      {
        hint: 'low-bits-first',
        say: 'The continuation bytes come in the wrong order: the highest bits come first, the lowest six last.',
        does: encoded({ reversed: true }),
      },
    ],
  });
  it.each(sequences.map((given) => [given.points.map((point) => `U+${point.toString(16)}`).join(' '), given] as const))(
    'utf8 writes %s',
    (_, given) => expectBytes(given),
  );
});

/** Pairs of one word, or of many, by the definition. */
function countedPairs(words: readonly (readonly number[])[], counts: readonly number[]): Map<string, number> {
  const pairs = new Map<string, number>();
  words.forEach((ids, w) =>
    ids.slice(1).forEach((right, i) => pairs.set(`${ids[i]},${right}`, (pairs.get(`${ids[i]},${right}`) ?? 0) + counts[w]!)),
  );
  return pairs;
}

/** The same where every word occurs once. */
function countedOnce(words: readonly (readonly number[])[]): Map<string, number> {
  return countedPairs(words, Array<number>(words.length).fill(1));
}

describe('1.2 pair counts', () => {
  interface Words {
    readonly words: number[][];
    readonly counts: number[];
  }
  type Entries = [string, number][];

  const cases: Words[] = [
    { words: [[1, 2, 3, 1, 2]], counts: [1] },
    {
      words: [
        [1, 2],
        [2, 1],
        [3, 1, 2],
      ],
      counts: [5, 3, 2],
    },
    { words: [[7, 7, 7]], counts: [4] },
    { words: [[9], [], [4, 4]], counts: [6, 2, 3] },
    {
      words: [
        [1, 23],
        [12, 3],
      ],
      counts: [2, 5],
    },
    {
      words: [
        [300, 5, 300, 5],
        [5, 300, 8, 300],
      ],
      counts: [10, 7],
    },
    { words: [], counts: [] },
  ];
  const sorted = (map: ReadonlyMap<string, number>): Entries =>
    [...map].filter(([, count]) => count !== 0).sort(([a], [b]) => (a < b ? -1 : 1));
  const ones = ({ words }: Words): number[] => words.map(() => 1);
  const relabelled = ({ words, counts }: Words, name: (left: number, right: number) => string): Entries => {
    const pairs = new Map<string, number>();
    for (const [pair, count] of countedPairs(words, counts)) {
      const [left, right] = pair.split(',').map(Number) as Pair;
      pairs.set(name(left, right), (pairs.get(name(left, right)) ?? 0) + count);
    }
    return sorted(pairs);
  };

  const expectRight = examiner<Words, Entries>({
    cases,
    answer: ({ words, counts }) => {
      const pairs: unknown = pairCounts(words, counts);
      if (!(pairs instanceof Map)) throw new TypeError('pairCounts should return a Map.');
      return sorted(pairs as Map<string, number>);
    },
    truth: ({ words, counts }) => sorted(countedPairs(words, counts)),
    mistakes: [
      changesItsArguments,
      {
        hint: 'key-without-comma',
        say: 'The key of a pair is its two numbers with a comma between them. Without it 1,23 and 12,3 would be the same pair.',
        is: (wrong, all) =>
          wrong.length > 0 &&
          outcomes(all)
            .flat()
            .every(([pair]) => !pair.includes(',')),
      },
      {
        hint: 'words-count-once',
        say: 'Every word was counted once. A word that occurs counts[w] times brings each of its pairs counts[w] times.',
        does: (given) => sorted(countedPairs(given.words, ones(given))),
      },
      {
        hint: 'crosses-words',
        say: 'There are pairs of the last token of one word and the first of the next. Count within each word only.',
        is: (wrong) =>
          wrong.length > 0 &&
          wrong.every(({ given, outcome }) => {
            const known = new Set(countedPairs(given.words, given.counts).keys());
            const bridges = new Set(
              given.words
                .flat()
                .slice(1)
                .map((right, i) => `${given.words.flat()[i]},${right}`),
            );
            return outcomes([{ outcome }])
              .flat()
              .some(([pair]) => !known.has(pair) && bridges.has(pair));
          }),
      },
      {
        hint: 'misses-the-last-pair',
        say:
          'The last pair of every word is missing: the loop over i ends where i + 1 is the last token, and that pair still ' +
          'counts.',
        does: ({ words, counts }) =>
          sorted(
            countedPairs(
              words.map((ids) => ids.slice(0, -1)),
              counts,
            ),
          ),
      },
      {
        hint: 'overwrites',
        say:
          'A pair that was seen before starts anew: add to what the map holds, pairs.get(key) ?? 0, instead of replacing ' +
          'it.',
        does: ({ words, counts }) => {
          const pairs = new Map<string, number>();
          words.forEach((ids, w) => ids.slice(1).forEach((right, i) => pairs.set(`${ids[i]},${right}`, counts[w]!)));
          return sorted(pairs);
        },
      },
      {
        hint: 'no-overlaps',
        say:
          'In 7 7 7 the pair (7, 7) stands twice, although the two share a token: every neighbour counts here, merging ' +
          'comes later.',
        is: onlyWrongWhere(({ words }) => words.some((ids) => ids.some((id, i) => id === ids[i + 1] && id === ids[i + 2]))),
      },
      {
        hint: 'order-ignored',
        say: 'The pairs (1, 2) and (2, 1) were counted as one. They are different: "th" is not "ht".',
        is: (wrong, all) =>
          wrong.length > 0 &&
          all.every(({ given, outcome }) => {
            const unordered = (left: number, right: number): string => [left, right].sort((a, b) => a - b).join();
            const got = new Map<string, number>();
            for (const [pair, count] of outcomes([{ outcome }]).flat()) {
              const key = unordered(...(pair.split(',').map(Number) as Pair));
              if (got.has(key)) return false;
              got.set(key, count);
            }
            return plain(sorted(got)) === plain(relabelled(given, unordered));
          }),
      },
    ],
  });
  it.each([
    ['one word', 0],
    ['several words with their counts', 1],
    ['the same token three times', 2],
    ['words without a pair', 3],
    ['numbers of several digits', 4],
    ['pairs that come in several words', 5],
    ['no words', 6],
  ])('counts %s', (_, i) => expectRight(cases[i]!));
});

/** All places of the pair from left to right, by the definition. */
function mergedPair(ids: readonly number[], [left, right]: readonly [number, number], id: number): number[] {
  const merged: number[] = [];
  for (let i = 0; i < ids.length; i++) {
    const fits = ids[i] === left && ids[i + 1] === right;
    merged.push(fits ? id : ids[i]!);
    if (fits) i++;
  }
  return merged;
}

describe('1.3 merge', () => {
  interface Merge {
    readonly ids: number[];
    readonly pair: Pair;
    readonly id: number;
  }
  const cases: Merge[] = [
    { ids: [5, 1, 2, 6, 1, 2, 7], pair: [1, 2], id: 256 },
    { ids: [1, 2, 1, 2, 9], pair: [1, 2], id: 257 },
    { ids: [4, 3, 1, 2], pair: [1, 2], id: 256 },
    { ids: [7, 7, 7, 8], pair: [7, 7], id: 300 },
    { ids: [7, 7, 7, 7], pair: [7, 7], id: 300 },
    { ids: [2, 1, 3], pair: [1, 2], id: 256 },
    { ids: [11, 2, 1, 22, 11, 22], pair: [1, 2], id: 256 },
    { ids: [256, 101, 256, 101], pair: [256, 101], id: 258 },
    { ids: [1], pair: [1, 2], id: 256 },
    { ids: [], pair: [1, 2], id: 256 },
  ];
  const reversed = (given: Merge): number[] => {
    const [left, right] = given.pair;
    return mergedPair([...given.ids].reverse(), [right, left], given.id).reverse();
  };

  const expectRight = examiner<Merge, number[]>({
    cases,
    answer: ({ ids, pair, id }) => mergePair(ids, pair, id),
    truth: ({ ids, pair, id }) => mergedPair(ids, pair, id),
    mistakes: [
      changesItsArguments,
      {
        hint: 'merged-as-text',
        say:
          'The numbers were joined to a text and replaced there. In the text "11,2" stands "1,2", too, so a token ' +
          'is cut in two. Compare numbers with numbers.',
        is: onlyWrongWhere(({ ids }) => ids.includes(11)),
      },
      {
        hint: 'keeps-the-second',
        say:
          'The new token is there, but the second of the pair still stands behind it: after a merge go on two places ' +
          'further.',
        does: ({ ids, pair, id }) => ids.map((token, i) => (token === pair[0] && ids[i + 1] === pair[1] ? id : token)),
      },
      {
        hint: 'only-the-first',
        say: 'Only the first place of the pair was merged. Go on to the end: every one of them is.',
        does: ({ ids, pair, id }) => {
          const at = ids.findIndex((token, i) => token === pair[0] && ids[i + 1] === pair[1]);
          return at < 0 ? ids : [...ids.slice(0, at), id, ...ids.slice(at + 2)];
        },
      },
      {
        hint: 'from-the-right',
        say: 'In 7 7 7 the left two are merged, and the third is left over: go from left to right.',
        does: reversed,
      },
      {
        hint: 'loses-the-last',
        say: 'The last token is lost where it belongs to no pair: the loop must reach it, although it has no right neighbour.',
        is: (wrong) =>
          wrong.length > 0 && wrong.every(({ outcome, expected }) => plain(outcome) === plain(expected.slice(0, -1))),
      },
      {
        hint: 'order-ignored',
        say: 'The pair was merged in the wrong order, too: (2, 1) is not (1, 2).',
        is: onlyWrongWhere(({ ids, pair }) => ids.some((id, i) => id === pair[1] && ids[i + 1] === pair[0] && id !== pair[0])),
      },
    ],
  });
  it.each(cases.map((given) => [given.ids.join(' ') || 'nothing', given.pair.join(' '), given] as const))(
    'in %s merges %s',
    (_, __, given) => expectRight(given),
  );
});

describe('1.4 train', () => {
  interface Text {
    readonly name: string;
    readonly words: string[];
    readonly count: number;
  }
  const repeated = (times: Record<string, number>): string[] =>
    Object.entries(times).flatMap(([word, n]) => Array<string>(n).fill(word));
  const prose =
    'a tokenizer cuts a text into tokens and the text of the tokens is the text again so that nothing of the text is lost';
  const cases: Text[] = [
    { name: 'one word', words: ['aaabdaaabac'], count: 3 },
    { name: "the example of Sennrich's paper", words: repeated({ low: 5, lower: 2, newest: 6, widest: 3 }), count: 8 },
    { name: 'a common word before many rare ones', words: repeated({ zz: 9, abc: 1, abd: 1, abe: 1, abf: 1 }), count: 2 },
    { name: 'words that end and begin alike', words: ['xa', 'bx', 'ya', 'bz', 'ca', 'bw', 'cd', 'cd'], count: 2 },
    { name: 'a word with spaces in it', words: ['to be to be to be'], count: 5 },
    { name: 'a sentence', words: prose.split(' ').map((word) => ` ${word}`), count: 20 },
    { name: 'other alphabets', words: repeated({ λόγος: 3, λόγια: 2, 語: 4 }), count: 6 },
    { name: 'more merges than there are pairs', words: ['abab', 'cd'], count: 10 },
    { name: 'no words', words: [], count: 5 },
    { name: 'no merges', words: ['aa', 'aa'], count: 0 },
  ];

  interface Rules {
    readonly words?: (words: readonly string[]) => string[];
    readonly bytes?: (word: string) => number[];
    readonly firstId?: number;
    /** A pair must occur so often. */
    readonly least?: number;
    /** Repeats the counting after each merge. */
    readonly recounts?: boolean;
    readonly count?: (count: number) => number;
  }
  /** Whether these merges can come about by these rules: each pair was, at its time, one of the most frequent. */
  function comesAbout(merges: readonly Pair[], given: Text, rules: Rules = {}): boolean {
    const { words = (all) => [...all], bytes = bytesOf, firstId = 256, least = 2, recounts = true, count = (n) => n } = rules;
    let tokens = words(given.words).map(bytes);
    const wanted = count(given.count);
    let pairs = countedOnce(tokens);
    for (const [i, pair] of merges.entries()) {
      const most = Math.max(...pairs.values(), 0);
      if (!Array.isArray(pair) || most < least || pairs.get(pair.join()) !== most) return false;
      tokens = tokens.map((ids) => mergedPair(ids, pair, firstId + i));
      if (recounts) pairs = countedOnce(tokens);
      else pairs.delete(pair.join());
    }
    return merges.length === wanted || (merges.length < wanted && Math.max(...pairs.values(), 0) < least);
  }
  /** One way that merges may come about. */
  function anyTraining({ words, count }: Text): Pair[] {
    let tokens = words.map(bytesOf);
    const merges: Pair[] = [];
    while (merges.length < count) {
      const [best] = [...countedOnce(tokens)].sort(([, a], [, b]) => b - a);
      if (!best || best[1] < 2) break;
      const pair = best[0].split(',').map(Number) as Pair;
      tokens = tokens.map((ids) => mergedPair(ids, pair, 256 + merges.length));
      merges.push(pair);
    }
    return merges;
  }

  const followed =
    (rules: Rules) =>
    (wrong: readonly Trial<Text, Pair[]>[], all: readonly Trial<Text, Pair[]>[]): boolean =>
      wrong.length > 0 && all.every(({ given, outcome }) => Array.isArray(outcome) && comesAbout(outcome, given, rules));
  const expectRight = examiner<Text, Pair[]>({
    cases,
    answer: ({ words, count }) => learnMerges(words, count),
    truth: anyTraining,
    accepts: (outcome, given) => Array.isArray(outcome) && comesAbout(outcome, given),
    mistakes: [
      changesItsArguments,
      {
        hint: 'never-recounts',
        say:
          'The pairs were counted once, and the most frequent of them taken in order. A merge takes tokens away and ' +
          'makes new neighbours, so count again after each merge: only so can a new token be merged itself.',
        is: followed({ recounts: false }),
      },
      {
        hint: 'repeats-ignored',
        say: 'Every word was taken once, however often it occurs. A pair in a word that occurs nine times counts nine times.',
        is: followed({ words: (all) => [...new Set(all)] }),
      },
      {
        hint: 'crosses-words',
        say: 'Tokens reach from the end of one word into the next: the words were joined before pairs were counted.',
        is: followed({ words: (all) => [all.join('')] }),
      },
      {
        hint: 'cuts-words-again',
        say:
          'The words were cut again at their spaces. A word is whatever comes in as one; how a text is cut into words is for ' +
          'the caller to decide.',
        is: (wrong, all) =>
          [/ /, /(?= )/, /(?<= )/].some((space) =>
            followed({ words: (given) => given.flatMap((word) => word.split(space)) })(wrong, all),
          ),
      },
      {
        hint: 'characters-not-bytes',
        say:
          'Outside of ASCII the merges begin with the numbers of characters. The first tokens are bytes: ' +
          'utf8(codePoints(word)).',
        is: followed({ bytes: points }),
      },
      {
        hint: 'ids-off-by-one',
        say: 'The new tokens have the wrong numbers: the first merge makes 256, the next 257, and so on.',
        is: (wrong, all) => [254, 255, 257, 258].some((firstId) => followed({ firstId })(wrong, all)),
      },
      {
        hint: 'merges-what-occurs-once',
        say:
          'Pairs that occur only once were merged, too. A token that is used once saves next to nothing: end when no pair ' +
          'occurs twice.',
        is: followed({ least: 1 }),
      },
      {
        hint: 'counts-the-bytes',
        say: 'There are too few merges: `count` is the number of merges, not the size of the vocabulary with its 256 bytes.',
        is: followed({ count: (n) => Math.max(0, n - 256) }),
      },
    ],
  });
  it.each(cases)('learns from $name', (given) => expectRight(given));
});

/** 256 + i is what merge i makes; the bytes of each token. */
function spelled(merges: readonly Pair[]): number[][] {
  const tokens = Array.from({ length: 256 }, (_, byte) => [byte]);
  for (const [left, right] of merges) tokens.push([...tokens[left]!, ...tokens[right]!]);
  return tokens;
}

/** Merges of neighbours that a text really has, picked at random, so that any order of ranks comes about. */
function randomMerges(random: Random, text: string, count: number): Pair[] {
  let ids = bytesOf(text);
  const merges: Pair[] = [];
  const known = new Set<string>();
  while (merges.length < count && ids.length > 1) {
    const at = random.integer(ids.length - 1);
    const pair: Pair = [ids[at]!, ids[at + 1]!];
    const spelling = spelled([...merges, pair])
      .at(-1)!
      .join();
    ids = mergedPair(ids, pair, 256 + merges.length);
    if (known.has(spelling)) return merges;
    known.add(spelling);
    merges.push(pair);
  }
  return merges;
}

describe('1.5 encode', () => {
  interface Encoding {
    readonly name: string;
    readonly text: string;
    readonly merges: Pair[];
  }
  const pairs = (...spellings: string[]): Pair[] => {
    const tokens = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte));
    return spellings.map((spelling) => {
      const [left, right] = spelling.split(' ') as [string, string];
      tokens.push(left + right);
      return [tokens.indexOf(left), tokens.indexOf(right)];
    });
  };
  const random = new Random(15);
  const cases: Encoding[] = [
    { name: 'two merges that build on one another', text: 'the', merges: pairs('t h', 'th e') },
    { name: 'two merges that are in each other’s way', text: 'the them', merges: pairs('h e', 't h', 'th e') },
    { name: 'a later merge further left', text: 'abc abc', merges: pairs('b c', 'a b', 'ab c') },
    { name: 'a token whose beginning is one, too', text: 'abcd', merges: pairs('a b', 'c d', 'ab cd', 'ab c') },
    { name: 'the same letter in a row', text: 'aaaaaaa', merges: pairs('a a', 'aa aa') },
    {
      name: 'a character of several bytes',
      text: 'é語',
      merges: [
        [0xc3, 0xa9],
        [0xe8, 0xaa],
      ],
    },
    { name: 'no merge that fits', text: 'xyz', merges: pairs('a b') },
    { name: 'an empty text', text: '', merges: pairs('a b') },
    ...Array.from({ length: 6 }, (_, i) => {
      const text = Array.from({ length: 14 }, () => random.pick(['a', 'b', 'c'])).join('');
      const other = Array.from({ length: 30 }, () => random.pick(['a', 'b', 'c'])).join('');
      return { name: `a random text with random merges, ${i + 1}`, text, merges: randomMerges(random, other, 9) };
    }),
  ];

  /** Merges by rank; or by the leftmost, or the last learned; with other first tokens, or other numbers for the merges. */
  function merged({ text, merges }: Encoding, choose: 'first' | 'leftmost' | 'last' = 'first', first = bytesOf): number[] {
    let ids = first(text);
    for (;;) {
      const ranks = ids.slice(1).flatMap((right, i) => merges.findIndex(([a, b]) => a === ids[i] && b === right));
      const found = ranks.filter((rank) => rank >= 0);
      if (found.length === 0) return ids;
      const rank = choose === 'first' ? Math.min(...found) : choose === 'last' ? Math.max(...found) : found[0]!;
      if (choose === 'leftmost') ids.splice(ranks.indexOf(rank), 2, 256 + rank);
      else ids = mergedPair(ids, merges[rank]!, 256 + rank);
    }
  }
  function longestMatch({ text, merges }: Encoding): number[] {
    const tokens = spelled(merges);
    const bytes = bytesOf(text);
    const ids: number[] = [];
    for (let at = 0; at < bytes.length; at += tokens[ids.at(-1)!]!.length) {
      const fitting = tokens.flatMap((token, id) => (token.every((byte, i) => byte === bytes[at + i]) ? [id] : []));
      ids.push(fitting.reduce((a, b) => (tokens[b]!.length > tokens[a]!.length ? b : a)));
    }
    return ids;
  }
  function mergedOnce({ text, merges }: Encoding): number[] {
    const ids = bytesOf(text);
    const rank = merges.findIndex(([a, b]) => ids.some((id, i) => id === a && ids[i + 1] === b));
    return rank < 0 ? ids : mergedPair(ids, merges[rank]!, 256 + rank);
  }

  const expectRight = examiner<Encoding, number[]>({
    cases,
    answer: ({ text, merges }) => encode(text, merges),
    truth: (given) => merged(given),
    mistakes: [
      changesItsArguments,
      {
        hint: 'longest-match',
        say:
          'At each place the longest token that fits was taken. Byte pair encoding does not look for long tokens: it repeats ' +
          'the merges in the order in which they were learned.',
        does: longestMatch,
      },
      {
        hint: 'leftmost-first',
        say:
          'The leftmost pair that has a merge was merged first. Of all pairs there are, take the one that was learned ' +
          'first.',
        does: (given) => merged(given, 'leftmost'),
      },
      {
        hint: 'last-learned-first',
        say: 'The merge that was learned last was done first. It is the other way round: the smallest rank is the most urgent.',
        does: (given) => merged(given, 'last'),
      },
      {
        hint: 'stops-after-one',
        say: 'Only one merge was done. Go on until no pair of neighbours has one: the new token may merge again.',
        does: mergedOnce,
      },
      {
        hint: 'ranks-not-ids',
        say: 'The merges have their rank as a number, 0, 1, 2, …, but those are bytes: merge i makes the token 256 + i.',
        is: (wrong, all) =>
          wrong.length > 0 &&
          wrong.every(({ given }) => merged(given).some((id) => id >= 256)) &&
          outcomes(all)
            .flat()
            .every((id) => id < 256),
      },
      {
        hint: 'characters-not-bytes',
        say: 'Outside of ASCII the numbers of characters stand where bytes should: begin with utf8(codePoints(text)).',
        does: (given) => merged(given, 'first', points),
      },
    ],
  });
  it.each(cases)('encodes $name', (given) => expectRight(given));
});

describe('1.6 decode', () => {
  interface Decoding {
    readonly name: string;
    readonly ids: number[];
    readonly merges: Pair[];
    /** The bytes are no UTF-8. */
    readonly broken?: true;
    /** There is a token made of merged tokens. */
    readonly nested?: true;
    readonly mark?: true;
  }
  const merges: Pair[] = [
    [0x74, 0x68], // 256 th
    [256, 0x65], // 257 the
    [0xe8, 0xaa], // 258 the first two bytes of 語
    [258, 0x9e], // 259 語
    [257, 259], // 260
  ];
  const cases: Decoding[] = [
    { name: 'bytes', ids: bytesOf('plain'), merges },
    { name: 'a merge', ids: [256, 0x69, 0x73], merges },
    { name: 'merges of merges', ids: [257, 0x20, 260], merges, nested: true },
    { name: 'a character in three tokens', ids: [0xf0, 0x9f, 0x9a, 0x80], merges },
    { name: 'a character that begins in one token and ends in the next', ids: [258, 0x9e, 0x21], merges },
    { name: 'a byte order mark', ids: [0xef, 0xbb, 0xbf, 0x61], merges, mark: true },
    { name: 'half a character', ids: [0x61, 258], merges, broken: true },
    { name: 'a byte that begins nothing', ids: [0x61, 0x9e, 0x62], merges, broken: true },
    { name: 'nothing', ids: [], merges: [] },
  ];
  const bytes = ({ ids, merges: own }: Decoding): number[] => ids.flatMap((id) => spelled(own)[id]!);
  const text = (given: readonly number[]): string =>
    new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(given));

  const expectRight = examiner<Decoding, string>({
    cases,
    answer: ({ ids, merges: own }) => decode(ids, own),
    truth: (given) => text(bytes(given)),
    mistakes: [
      changesItsArguments,
      {
        hint: 'token-by-token',
        say:
          'Every token was decoded by itself, and a character that is spread over several of them is lost. Join all bytes ' +
          'first, and decode once.',
        does: (given) => given.ids.map((id) => text(spelled(given.merges)[id]!)).join(''),
      },
      {
        hint: 'bytes-as-characters',
        say: 'Each byte became a character of its own, so 語 comes out as three. The bytes are UTF-8: TextDecoder reads it.',
        does: (given) => String.fromCharCode(...bytes(given)),
      },
      {
        hint: 'refuses-broken-bytes',
        say:
          'Bytes that are no UTF-8 end in an error. A model may stop in the middle of a character; decode to U+FFFD ' +
          '(�) there, as TextDecoder does without `fatal`.',
        is: (wrong) => wrong.length > 0 && wrong.every(({ given, outcome }) => given.broken && outcome instanceof Error),
      },
      {
        hint: 'drops-broken-bytes',
        say: 'Bytes that are no UTF-8 vanish. The reader should see that something is missing: U+FFFD (�) stands for them.',
        is: (wrong) =>
          wrong.length > 0 &&
          wrong.every(({ given, outcome, expected }) => given.broken && outcome === expected.replaceAll('\ufffd', '')),
      },
      {
        hint: 'eats-the-byte-order-mark',
        say:
          'The character U+FEFF at the beginning is lost: TextDecoder takes it for a byte order mark unless it is made with ' +
          '{ ignoreBOM: true }. Any text must come back whole.',
        is: onlyWrongWhere(({ mark }) => mark === true),
      },
      {
        hint: 'merges-undone-once',
        say: 'A merged token may be made of merged tokens: take each apart again until only bytes are left.',
        is: (wrong, all) =>
          wrong.length > 0 && wrong.every(({ given }) => given.nested) && all.every((t) => t.right || t.given.nested),
      },
      {
        hint: 'right-before-left',
        say: 'The two parts of a merge come in the wrong order: left first, then right.',
        does: (given) => {
          const tokens = Array.from({ length: 256 }, (_, byte) => [byte]);
          for (const [left, right] of given.merges) tokens.push([...tokens[right]!, ...tokens[left]!]);
          return text(given.ids.flatMap((id) => tokens[id]!));
        },
      },
    ],
  });
  it.each(cases)('decodes $name', (given) => expectRight(given));
});

describe('1.7 pre-tokenize', () => {
  interface Cut {
    readonly text: string;
    readonly pieces: string[];
    readonly contraction?: true;
    readonly spaces?: true;
    readonly alphabet?: true;
  }
  const cases: Cut[] = [
    { text: 'the dog sat', pieces: ['the', ' dog', ' sat'] },
    { text: 'dog. dog! dog?', pieces: ['dog', '.', ' dog', '!', ' dog', '?'] },
    { text: 'in 1984 on route66', pieces: ['in', ' 1984', ' on', ' route', '66'] },
    { text: '$3.50 (net) ...', pieces: ['$', '3', '.', '50', ' (', 'net', ')', ' ...'] },
    { text: 'a    b', pieces: ['a', '   ', ' b'], spaces: true },
    { text: 'end   ', pieces: ['end', '   '], spaces: true },
    { text: 'one\n\n  two\tx', pieces: ['one', '\n\n ', ' two', '\t', 'x'], spaces: true },
    { text: "it's they'll don't", pieces: ['it', "'s", ' they', "'ll", ' don', "'t"], contraction: true },
    { text: "we've I'd 'tis", pieces: ['we', "'ve", ' I', "'d", " '", 'tis'], contraction: true },
    { text: 'naïve λόγος', pieces: ['naïve', ' λόγος'], alphabet: true },
    { text: 'Straße 語 ٣٤', pieces: ['Straße', ' 語', ' ٣٤'], alphabet: true },
    { text: '', pieces: [] },
  ];
  const some = (trials: readonly Trial<Cut, string[]>[], pattern: RegExp): boolean =>
    outcomes(trials).some((pieces) => Array.isArray(pieces) && pieces.some((piece) => pattern.test(piece)));

  const expectRight = examiner<Cut, string[]>({
    cases,
    answer: ({ text }) => preTokenize(text),
    truth: ({ pieces }) => pieces,
    mistakes: [
      {
        hint: 'loses-text',
        say:
          'The pieces, joined, are not the text any more: something is lost between them. Spaces and line breaks belong to ' +
          'pieces, too.',
        is: (_, all) => all.some(({ given, outcome }) => Array.isArray(outcome) && outcome.join('') !== given.text),
      },
      {
        hint: 'space-behind',
        say:
          'The space stands at the end of a word. It belongs to the beginning of the next: " dog", so that a word is the ' +
          'same at the end of a line.',
        is: (wrong) => wrong.length > 0 && some(wrong, /^\p{L}+ $/u),
      },
      {
        hint: 'signs-in-words',
        say:
          '"dog." is one piece. Letters and signs must be apart, or "dog.", "dog!" and "dog?" all become tokens of their ' +
          'own.',
        is: (wrong) => some(wrong, /\p{L}[.!?]/u),
      },
      {
        hint: 'digits-in-words',
        say: '"route66" is one piece. Letters and digits must be apart (\\w takes both, and the underscore, too).',
        is: (wrong) => some(wrong, /\p{L}\p{N}/u),
      },
      {
        hint: 'ascii-only',
        say:
          'Only the letters a to z count as letters, and naïve is cut. \\p{L} is any letter and \\p{N} any digit, with the ' +
          'flag u.',
        is: onlyWrongWhere(({ alphabet }) => alphabet === true),
      },
      {
        hint: 'no-contractions',
        say:
          "Contractions are cut in the wrong place: 's, 't, 'd, 'm, 're, 've and 'll are pieces of their own, before " +
          'anything else is tried.',
        is: onlyWrongWhere(({ contraction }) => contraction === true),
      },
      {
        hint: 'all-spaces-together',
        say:
          'Of several spaces before a word, the last belongs to the word: "a    b" is a, three spaces, " b". ' +
          '\\s+(?!\\S) takes white space as long as no other sign follows, and gives back the last one.',
        is: onlyWrongWhere(({ spaces }) => spaces === true),
      },
      {
        hint: 'space-alone',
        say:
          'A single space before a word is a piece of its own, which would make every text nearly twice as long. It ' +
          'belongs to the word: " ?" in front.',
        is: (wrong) => wrong.length > 0 && outcomes(wrong).some((pieces) => Array.isArray(pieces) && pieces[1] === ' '),
      },
    ],
  });
  it.each(cases.map((given) => [plain(given.text), given] as const))('cuts %s', (_, given) => expectRight(given));
});

describe("1.8 unigram's Viterbi", () => {
  interface Word {
    readonly name: string;
    readonly word: string;
    readonly logProbabilities: [string, number][];
  }
  const random = new Random(18);
  function randomWord(i: number): Word {
    const word = Array.from({ length: 9 }, () => random.pick(['a', 'b', 'c'])).join('');
    const pieces = new Map<string, number>();
    for (let from = 0; from < word.length; from++) {
      for (let to = from + 1; to <= Math.min(word.length, from + 4); to++) {
        if (to > from + 1 && random.uniform() < 0.4) continue;
        pieces.set(word.slice(from, to), -(to === from + 1 ? 1 : 1.5 * (to - from)) * (1 + 2 * random.uniform()));
      }
    }
    return { name: `a random word, ${i + 1}`, word, logProbabilities: [...pieces] };
  }
  const letters = (word: string, score: number): [string, number][] => [...new Set(word)].map((letter) => [letter, score]);
  const cases: Word[] = [
    { name: 'a word that is a piece', word: 'hug', logProbabilities: [...letters('hug', -4), ['hug', -5], ['hu', -4.5]] },
    {
      name: 'a long piece that is too rare',
      word: 'hugs',
      logProbabilities: [...letters('hugs', -2), ['hugs', -30], ['hu', -3]],
    },
    {
      name: 'a long first piece that leaves a bad rest',
      word: 'unable',
      logProbabilities: [...letters('unable', -9), ['una', -5], ['un', -6], ['able', -6], ['ble', -12]],
    },
    {
      name: 'a common piece of common letters',
      word: 'abc',
      logProbabilities: [
        ['a', -0.5],
        ['b', -0.5],
        ['c', -2],
        ['ab', -0.1],
      ],
    },
    { name: 'one letter', word: 'x', logProbabilities: [['x', -1]] },
    { name: 'nothing', word: '', logProbabilities: [['x', -1]] },
    ...Array.from({ length: 8 }, (_, i) => randomWord(i)),
  ];

  /** Every way to cut the word, with what it is worth: by log p of all its pieces, or by another measure. */
  function best({ word, logProbabilities }: Word, worth: (scores: number[]) => number): string[] {
    const scores = new Map(logProbabilities);
    let winner: { pieces: string[]; value: number } | undefined;
    const extend = (pieces: string[], from: number): void => {
      if (from === word.length) {
        const value = worth(pieces.map((piece) => scores.get(piece)!));
        if (!winner || value > winner.value) winner = { pieces, value };
        return;
      }
      for (let to = from + 1; to <= word.length; to++) {
        const piece = word.slice(from, to);
        if (scores.has(piece)) extend([...pieces, piece], to);
      }
    };
    extend([], 0);
    return winner?.pieces ?? [];
  }
  const sum = (scores: readonly number[]): number => scores.reduce((a, b) => a + b, 0);
  /** Whether the pieces make the word and none is worth more; where several are worth the same, any will do. */
  function isBest(pieces: unknown, given: Word, worth: (scores: number[]) => number): boolean {
    if (!Array.isArray(pieces) || pieces.join('') !== given.word) return false;
    const scores = new Map(given.logProbabilities);
    const value = (cut: readonly string[]): number => worth(cut.map((piece) => scores.get(piece) ?? NaN));
    return Math.abs(value(pieces as string[]) - value(best(given, worth))) < 1e-9;
  }
  const alwaysBest =
    (worth: (scores: number[]) => number) =>
    (wrong: readonly Trial<Word, string[]>[], all: readonly Trial<Word, string[]>[]): boolean =>
      wrong.length > 0 && all.every(({ given, outcome }) => isBest(outcome, given, worth));
  /** At each place takes the piece that is worth most. */
  function greedy({ word, logProbabilities }: Word, worth: (piece: string, score: number) => number): string[] {
    const pieces: string[] = [];
    for (let at = 0; at < word.length; at += pieces.at(-1)!.length) {
      const fitting = logProbabilities.filter(([piece]) => word.startsWith(piece, at));
      pieces.push(fitting.reduce((a, b) => (worth(...b) > worth(...a) ? b : a))[0]);
    }
    return pieces;
  }
  /** At each end, the piece that is most probable by itself, whatever comes before it. */
  function withoutPast({ word, logProbabilities }: Word): string[] {
    const pieces: string[] = [];
    for (let end = word.length; end > 0; end -= pieces[0]!.length) {
      const fitting = logProbabilities.filter(([piece]) => word.slice(0, end).endsWith(piece));
      pieces.unshift(fitting.reduce((a, b) => (b[1] > a[1] ? b : a))[0]);
    }
    return pieces;
  }

  const expectRight = examiner<Word, string[]>({
    cases,
    answer: ({ word, logProbabilities }) => viterbi(word, new Map(logProbabilities)),
    truth: (given) => best(given, sum),
    accepts: (outcome, given) => isBest(outcome, given, sum),
    mistakes: [
      {
        hint: 'backwards',
        say: 'The right pieces in the wrong order: going back from the end finds the last piece first, so turn the list round.',
        is: (wrong) =>
          wrong.length > 0 &&
          wrong.every(({ outcome, expected }) => Array.isArray(outcome) && plain([...outcome].reverse()) === plain(expected)),
      },
      {
        hint: 'longest-first',
        say:
          'At each place the longest piece was taken. A long piece may be rare, and it may leave a rest that is hard to ' +
          'cut.',
        does: (given) => greedy(given, (piece) => piece.length),
      },
      {
        hint: 'most-probable-piece-first',
        say:
          'At each place the most probable piece was taken, without regard to what it leaves. The whole product counts: ' +
          'keep the best way to each place, and extend all of them.',
        does: (given) => greedy(given, (_, score) => score),
      },
      {
        hint: 'forgets-the-past',
        say:
          'Only the last piece decided. The best way to `end` is the best way to where its last piece begins, plus that ' +
          'piece’s log p.',
        does: withoutPast,
      },
      {
        hint: 'least-probable',
        say:
          'This is the least probable way to cut. Logarithms of probabilities are negative: the greatest sum is the one ' +
          'nearest to 0.',
        is: alwaysBest((scores) => -sum(scores)),
      },
      {
        hint: 'probabilities-added',
        say:
          'Probabilities were added. Those of pieces that come one after another are multiplied; it is their logarithms ' +
          'that are added.',
        is: alwaysBest((scores) => sum(scores.map(Math.exp))),
      },
      {
        hint: 'fewest-pieces',
        say: 'This is the way with the fewest pieces. That is what all equally probable pieces would give; these are not.',
        is: alwaysBest((scores) => -scores.length),
      },
    ],
  });
  it.each(cases)('cuts $name', (given) => expectRight(given));

  it('does not try every way to cut a long word', () => {
    const say =
      'Every way to cut the word is tried, and each letter more doubles their number. The best way to a place is needed many ' +
      'times but has to be found once: keep it.';
    let lookups = 0;
    const count = (): void => {
      if (++lookups > 50_000) throw new Diagnosis('tries-everything', say);
    };
    class Counted extends Map<string, number> {
      override get(piece: string): number | undefined {
        count();
        return super.get(piece);
      }
      override has(piece: string): boolean {
        count();
        return super.has(piece);
      }
    }
    const pieces = Array.from({ length: 8 }, (_, i) => ['a'.repeat(i + 1), -1 - i / 10] as const);
    const cut = viterbi('a'.repeat(40), new Counted(pieces));
    expectRight(cases[0]!);
    expect(cut).toEqual(Array<string>(5).fill('a'.repeat(8)));
  });
});
