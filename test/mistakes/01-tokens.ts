/** @file Chapter 01, tokens: wrong answers with the hint that each must get, and right ones that are written differently. */
import { preTokenize as libraryPreTokenize, UnigramTokenizer, type ChapterMistakes } from 'lab';
import { codePoints, encode, learnMerges, mergePair, pairCounts, utf8, viterbi } from '../../solutions/01-tokens.ts';

type Pair = [number, number];

/** UTF-8 with its parts open to mistakes: where the ranges end, the marks, and the bits of a continuation byte. */
function utf8With({
  below = [0x80, 0x800, 0x10000],
  lead = [0xc0, 0xe0, 0xf0],
  mark = 0x80,
  mask = 0x3f,
  order = (rest: number[]) => rest,
}) {
  return (points: number[]): number[] =>
    points.flatMap((point) => {
      const more = below.filter((limit) => point >= limit).length;
      if (more === 0) return [point];
      const rest = Array.from({ length: more }, (_, i) => mark | ((point >> (6 * (more - 1 - i))) & mask));
      return [lead[more - 1]! | (point >> (6 * more)), ...order(rest)];
    });
}

/** Pair counts by a loop whose end, key and sum are given. */
function countBy({
  last = 1,
  key = (left: number, right: number) => `${left},${right}`,
  add = (before: number, count: number) => before + count,
}) {
  return (words: number[][], counts: number[]): Map<string, number> => {
    const pairs = new Map<string, number>();
    for (const [w, ids] of words.entries()) {
      for (let i = 0; i < ids.length - last; i++) {
        const name = key(ids[i]!, ids[i + 1]!);
        pairs.set(name, add(pairs.get(name) ?? 0, counts[w]!));
      }
    }
    return pairs;
  };
}

function countWithoutOverlaps(words: number[][], counts: number[]): Map<string, number> {
  const pairs = new Map<string, number>();
  words.forEach((ids, w) => {
    for (let i = 0; i + 1 < ids.length; i++) {
      const name = `${ids[i]},${ids[i + 1]}`;
      pairs.set(name, (pairs.get(name) ?? 0) + counts[w]!);
      if (ids[i] === ids[i + 1] && ids[i] === ids[i + 2]) i++;
    }
  });
  return pairs;
}

/** Training with its parts open to mistakes. */
function trainBy({
  prepare = (words: string[]) => words,
  bytes = (word: string) => utf8(codePoints(word)),
  firstId = 256,
  least = 2,
  recounts = true,
}) {
  return (words: string[], count: number): Pair[] => {
    let tokens = prepare(words).map(bytes);
    const ones = tokens.map(() => 1);
    const merges: Pair[] = [];
    let pairs = pairCounts(tokens, ones);
    while (merges.length < count) {
      const [best] = [...pairs].sort((a, b) => b[1] - a[1]);
      if (!best || best[1] < least) break;
      const pair = best[0].split(',').map(Number) as Pair;
      tokens = tokens.map((ids) => mergePair(ids, pair, firstId + merges.length));
      merges.push(pair);
      if (recounts) pairs = pairCounts(tokens, ones);
      else pairs.delete(best[0]);
    }
    return merges;
  };
}

/** The pair (its place) that is to be merged next, or nothing. */
type Choice = (ids: number[], rank: (left: number, right: number) => number) => number | undefined;

function encodeBy(choose: Choice, { once = false, firstId = 256, bytes = (text: string) => utf8(codePoints(text)) } = {}) {
  return (text: string, merges: Pair[]): number[] => {
    const ids = bytes(text);
    const rank = (left: number, right: number): number => merges.findIndex(([a, b]) => a === left && b === right);
    for (;;) {
      const at = choose(ids, rank);
      if (at === undefined) return ids;
      const found = rank(ids[at]!, ids[at + 1]!);
      if (once) return mergePair(ids, merges[found]!, firstId + found);
      ids.splice(at, 2, firstId + found);
    }
  };
}

/** The places of pairs that have a merge, the best first. */
function bestPlace(better: (a: number, b: number) => number): Choice {
  return (ids, rank) => {
    const ranked = ids.slice(1).map((right, i) => ({ i, r: rank(ids[i]!, right) }));
    return ranked.filter(({ r }) => r >= 0).sort((a, b) => better(a.r, b.r) || a.i - b.i)[0]?.i;
  };
}
const firstLearned = bestPlace((a, b) => a - b);

/** The bytes of all tokens. */
function tokensOf(merges: Pair[], join = (left: number[], right: number[]) => [...left, ...right]): number[][] {
  const tokens = Array.from({ length: 256 }, (_, byte) => [byte]);
  for (const [left, right] of merges) tokens.push(join(tokens[left]!, tokens[right]!));
  return tokens;
}

function longestMatch(text: string, merges: Pair[]): number[] {
  const names = tokensOf(merges).map((token) => token.join());
  const bytes = utf8(codePoints(text));
  const ids: number[] = [];
  for (let at = 0; at < bytes.length;) {
    let length = bytes.length - at;
    while (!names.includes(bytes.slice(at, at + length).join())) length--;
    ids.push(names.indexOf(bytes.slice(at, at + length).join()));
    at += length;
  }
  return ids;
}

function decodeBy(read: (bytes: number[]) => string, tokens = tokensOf) {
  return (ids: number[], merges: Pair[]): string => read(ids.flatMap((id) => tokens(merges)[id]!));
}
const read = (bytes: number[]): string => new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(bytes));

const cutBy =
  (pattern: RegExp) =>
  (text: string): string[] =>
    text.match(pattern) ?? [];

type Scores = Map<string, number>;

/** From the left, at each place the piece that is worth most. */
function greedyBy(worth: (piece: string, score: number) => number) {
  return (word: string, scores: Scores): string[] => {
    const pieces: string[] = [];
    for (let at = 0; at < word.length; at += pieces.at(-1)!.length) {
      const fitting = [...scores].filter(([piece]) => word.startsWith(piece, at));
      pieces.push(fitting.sort((a, b) => worth(...b) - worth(...a))[0]![0]);
    }
    return pieces;
  };
}

/** Viterbi's way with another value of a path. */
function pathBy(value: (before: number, score: number) => number, start = 0) {
  return (word: string, scores: Scores): string[] => {
    const best: { value: number; pieces: string[] }[] = [{ value: start, pieces: [] }];
    for (let end = 1; end <= word.length; end++) {
      for (let from = 0; from < end; from++) {
        const piece = word.slice(from, end);
        if (!scores.has(piece)) continue;
        const way = { value: value(best[from]!.value, scores.get(piece)!), pieces: [...best[from]!.pieces, piece] };
        if (way.value > (best[end]?.value ?? -Infinity)) best[end] = way;
      }
    }
    return best[word.length]!.pieces;
  };
}

/** All ways, one after another. */
function everyWay(word: string, scores: Scores): string[] {
  const bestFrom = (at: number): { value: number; pieces: string[] } => {
    let best = { value: at === word.length ? 0 : -Infinity, pieces: [] as string[] };
    for (let end = at + 1; end <= word.length; end++) {
      const score = scores.get(word.slice(at, end));
      if (score === undefined) continue;
      const rest = bestFrom(end);
      if (score + rest.value > best.value) best = { value: score + rest.value, pieces: [word.slice(at, end), ...rest.pieces] };
    }
    return best;
  };
  return bestFrom(0).pieces;
}

/** The same with every rest kept. */
function fromTheEnd(word: string, scores: Scores): string[] {
  const best = [{ value: 0, pieces: [] as string[] }];
  for (let at = word.length - 1; at >= 0; at--) {
    const ways = [...scores].flatMap(([piece, score]) => {
      if (!word.startsWith(piece, at)) return [];
      const rest = best[word.length - at - piece.length]!;
      return [{ value: score + rest.value, pieces: [piece, ...rest.pieces] }];
    });
    best.push(ways.sort((a, b) => b.value - a.value)[0]!);
  }
  return best[word.length]!.pieces;
}

/** As the library does it: bytes, a tree of pieces, and no piece that the vocabulary lacks. */
function byTheLibrary(word: string, scores: Scores): string[] {
  const pieces = [...scores.keys()].map((piece) => Uint8Array.from(utf8(codePoints(piece))));
  const known = new Set(pieces.map(String));
  const bytes = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)).filter((byte) => !known.has(String(byte)));
  const tokenizer = new UnigramTokenizer({
    tokens: [...pieces, ...bytes],
    scores: [...scores.values(), ...bytes.map(() => -1000)],
    preTokenizer: 'none',
  });
  return Array.from(tokenizer.encode(word), (id) => tokenizer.decode([id]));
}

export default {
  '1.1': {
    mistakes: {
      'characters-not-numbers': { codePoints: (text: string) => [...text] },
      'halves-of-characters': { codePoints: (text: string) => text.split('').map((unit) => unit.charCodeAt(0)) },
      'second-half-again': {
        codePoints: (text: string) => {
          const points: number[] = [];
          for (let i = 0; i < text.length; i++) points.push(text.codePointAt(i)!);
          return points;
        },
      },
      'first-of-each-sign': {
        codePoints: (text: string) => Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment.codePointAt(0)),
      },
      'changes-its-arguments': {
        utf8: (points: number[]) => {
          const bytes: number[] = [];
          while (points.length > 0) bytes.push(...utf8([points.shift()!]));
          return bytes;
        },
      },
      'one-number-a-character': { utf8: (points: number[]) => points.map((point) => point & 0xff) },
      'off-at-the-edges': { utf8: utf8With({ below: [0x81, 0x801, 0x10001] }) },
      'no-fourth-byte': { utf8: utf8With({ below: [0x80, 0x800] }) },
      'bits-left-over': { utf8: utf8With({ mask: 0xffffff }) },
      'no-continuation-mark': { utf8: utf8With({ mark: 0 }) },
      'no-length-mark': { utf8: utf8With({ lead: [0, 0, 0] }) },
      'low-bits-first': { utf8: utf8With({ order: (rest) => rest.reverse() }) },
    },
    right: [
      {
        codePoints: (text: string) => {
          const points: number[] = [];
          for (let i = 0; i < text.length; i++) {
            const unit = text.charCodeAt(i);
            const isFirstHalf = unit >= 0xd800 && unit < 0xdc00;
            points.push(isFirstHalf ? 0x10000 + (unit - 0xd800) * 0x400 + (text.charCodeAt(++i) - 0xdc00) : unit);
          }
          return points;
        },
        utf8: utf8With({}),
      },
      { utf8: (points: number[]) => new TextEncoder().encode(points.map((point) => String.fromCodePoint(point)).join('')) },
    ],
  },
  '1.2': {
    mistakes: {
      'key-without-comma': { pairCounts: countBy({ key: (left, right) => `${left}${right}` }) },
      'words-count-once': { pairCounts: (words: number[][]) => pairCounts(words, Array<number>(words.length).fill(1)) },
      'crosses-words': {
        pairCounts: (words: number[][], counts: number[]) => {
          const pairs = new Map<string, number>();
          const all = words.flatMap((ids, w) => ids.map((id) => ({ id, count: counts[w]! })));
          all.slice(1).forEach(({ id, count }, i) => {
            const name = `${all[i]!.id},${id}`;
            pairs.set(name, (pairs.get(name) ?? 0) + count);
          });
          return pairs;
        },
      },
      'misses-the-last-pair': { pairCounts: countBy({ last: 2 }) },
      overwrites: { pairCounts: countBy({ add: (_, count) => count }) },
      'no-overlaps': { pairCounts: countWithoutOverlaps },
      'order-ignored': {
        pairCounts: countBy({ key: (left, right) => (left < right ? `${left},${right}` : `${right},${left}`) }),
      },
      'changes-its-arguments': {
        pairCounts: (words: number[][], counts: number[]) => {
          const pairs = pairCounts(words, counts);
          for (const ids of words) ids.length = 0;
          return pairs;
        },
      },
    },
    right: [
      { pairCounts: countBy({}) },
      {
        // Every pair that might be there, most of them never.
        pairCounts: (words: number[][], counts: number[]) => {
          const ids = [...new Set(words.flat())];
          const times = (a: number, b: number, word: number[]): number =>
            word.filter((id, i) => id === a && i + 1 < word.length && word[i + 1] === b).length;
          return new Map(
            ids.flatMap((a) =>
              ids.map((b) => [`${a},${b}`, words.reduce((sum, word, w) => sum + counts[w]! * times(a, b, word), 0)] as const),
            ),
          );
        },
      },
    ],
  },
  '1.3': {
    mistakes: {
      'merged-as-text': {
        mergePair: (ids: number[], pair: Pair, id: number) => {
          const text = ids.join(',').replaceAll(pair.join(','), String(id));
          return text === '' ? [] : text.split(',').map(Number);
        },
      },
      'keeps-the-second': {
        mergePair: (ids: number[], [left, right]: Pair, id: number) =>
          ids.map((token, i) => (token === left && ids[i + 1] === right ? id : token)),
      },
      'only-the-first': {
        mergePair: (ids: number[], [left, right]: Pair, id: number) => {
          const at = ids.findIndex((token, i) => token === left && ids[i + 1] === right);
          return at < 0 ? [...ids] : [...ids.slice(0, at), id, ...ids.slice(at + 2)];
        },
      },
      'from-the-right': {
        mergePair: (ids: number[], [left, right]: Pair, id: number) => {
          const merged = [...ids];
          for (let i = merged.length - 2; i >= 0; i--)
            if (merged[i] === left && merged[i + 1] === right) merged.splice(i, 2, id);
          return merged;
        },
      },
      'loses-the-last': {
        mergePair: (ids: number[], [left, right]: Pair, id: number) => {
          const merged: number[] = [];
          for (let i = 0; i < ids.length - 1; i++) {
            if (ids[i] === left && ids[i + 1] === right) {
              merged.push(id);
              i++;
            } else merged.push(ids[i]!);
          }
          return merged;
        },
      },
      'order-ignored': {
        mergePair: (ids: number[], [left, right]: Pair, id: number) =>
          mergePair(mergePair(ids, [left, right], id), [right, left], id),
      },
      'changes-its-arguments': {
        mergePair: (ids: number[], [left, right]: Pair, id: number) => {
          for (let i = 0; i + 1 < ids.length; i++) if (ids[i] === left && ids[i + 1] === right) ids.splice(i, 2, id);
          return ids;
        },
      },
    },
    right: [
      {
        mergePair: (ids: number[], [left, right]: Pair, id: number) => {
          const merged = [...ids];
          for (let i = 0; i + 1 < merged.length; i++)
            if (merged[i] === left && merged[i + 1] === right) merged.splice(i, 2, id);
          return merged;
        },
      },
      {
        // A token that may begin a pair waits for its neighbour.
        mergePair: (ids: number[], [left, right]: Pair, id: number) =>
          Int32Array.from(
            ids.reduce<{ done: number[]; open: boolean }>(
              ({ done, open }, token) => {
                if (open && token === right) return { done: [...done.slice(0, -1), id], open: false };
                return { done: [...done, token], open: token === left };
              },
              { done: [], open: false },
            ).done,
          ),
      },
    ],
  },
  '1.4': {
    mistakes: {
      'never-recounts': { learnMerges: trainBy({ recounts: false }) },
      'repeats-ignored': { learnMerges: trainBy({ prepare: (words) => [...new Set(words)] }) },
      'crosses-words': { learnMerges: trainBy({ prepare: (words) => [words.join('')] }) },
      'cuts-words-again': { learnMerges: trainBy({ prepare: (words) => words.flatMap((word) => libraryPreTokenize(word)) }) },
      'characters-not-bytes': { learnMerges: trainBy({ bytes: codePoints }) },
      'ids-off-by-one': { learnMerges: trainBy({ firstId: 257 }) },
      'merges-what-occurs-once': { learnMerges: trainBy({ least: 1 }) },
      'counts-the-bytes': { learnMerges: (words: string[], size: number) => learnMerges(words, Math.max(0, size - 256)) },
      'changes-its-arguments': { learnMerges: (words: string[], count: number) => learnMerges(words.splice(0), count) },
    },
    right: [
      { learnMerges: trainBy({}) },
      {
        // Of equally frequent pairs the last, and not the first.
        learnMerges: (words: string[], count: number) => {
          let tokens = words.map((word) => utf8(codePoints(word)));
          const ones = tokens.map(() => 1);
          const merges: Pair[] = [];
          for (let id = 256; id < 256 + count; id++) {
            const best = [...pairCounts(tokens, ones)].reduce((a, b) => (b[1] >= a[1] ? b : a), ['', 0]);
            if (best[1] < 2) return merges;
            const pair = best[0].split(',').map(Number) as Pair;
            merges.push(pair);
            tokens = tokens.map((ids) => mergePair(ids, pair, id));
          }
          return merges;
        },
      },
    ],
  },
  '1.5': {
    mistakes: {
      'longest-match': { encode: longestMatch },
      'leftmost-first': { encode: encodeBy(bestPlace(() => 0)) },
      'last-learned-first': { encode: encodeBy(bestPlace((a, b) => b - a)) },
      'stops-after-one': { encode: encodeBy(firstLearned, { once: true }) },
      'ranks-not-ids': {
        encode: (text: string, merges: Pair[]) => encode(text, merges).map((id) => (id < 256 ? id : id - 256)),
      },
      'characters-not-bytes': { encode: encodeBy(firstLearned, { bytes: codePoints }) },
      'changes-its-arguments': {
        encode: (text: string, merges: Pair[]) => {
          let ids = utf8(codePoints(text));
          for (let id = 256; merges.length > 0; id++) ids = mergePair(ids, merges.shift()!, id);
          return ids;
        },
      },
    },
    right: [
      { encode: encodeBy(firstLearned) },
      {
        // All merges in order, whether they occur or not: none makes room for an earlier one.
        encode: (text: string, merges: Pair[]) =>
          merges.reduce((ids, pair, rank) => mergePair(ids, pair, 256 + rank), utf8(codePoints(text))),
      },
    ],
  },
  '1.6': {
    mistakes: {
      'token-by-token': { decode: (ids: number[], merges: Pair[]) => ids.map((id) => read(tokensOf(merges)[id]!)).join('') },
      'bytes-as-characters': { decode: decodeBy((bytes) => bytes.map((byte) => String.fromCharCode(byte)).join('')) },
      'refuses-broken-bytes': {
        decode: decodeBy((bytes) => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes))),
      },
      'drops-broken-bytes': { decode: decodeBy((bytes) => read(bytes).replaceAll('\ufffd', '')) },
      'eats-the-byte-order-mark': { decode: decodeBy((bytes) => new TextDecoder().decode(Uint8Array.from(bytes))) },
      'merges-undone-once': {
        decode: (ids: number[], merges: Pair[]) => read(ids.flatMap((id) => (id < 256 ? [id] : merges[id - 256]!))),
      },
      'right-before-left': {
        decode: decodeBy(read, (merges) => tokensOf(merges, (left, right) => [...right, ...left])),
      },
      'changes-its-arguments': {
        decode: (ids: number[], merges: Pair[]) => {
          for (let i = 0; i < ids.length;) {
            if (ids[i]! < 256) i++;
            else ids.splice(i, 1, ...merges[ids[i]! - 256]!);
          }
          return read(ids);
        },
      },
    },
    right: [{ decode: decodeBy(read) }, { decode: decodeBy((bytes) => Buffer.from(bytes).toString('utf8')) }],
  },
  '1.7': {
    mistakes: {
      'loses-text': { preTokenize: (text: string) => text.split(/\s+/).filter((word) => word !== '') },
      'space-behind': { preTokenize: cutBy(/'(?:[sdmt]|re|ve|ll)|\p{L}+ ?|\p{N}+ ?|[^\s\p{L}\p{N}]+ ?|\s+/gu) },
      'signs-in-words': { preTokenize: cutBy(/ ?\S+|\s+(?!\S)|\s+/gu) },
      'digits-in-words': { preTokenize: cutBy(/'(?:[sdmt]|re|ve|ll)| ?[\p{L}\p{N}]+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu) },
      'ascii-only': { preTokenize: cutBy(/'(?:[sdmt]|re|ve|ll)| ?[a-zA-Z]+| ?[0-9]+| ?[^\sa-zA-Z0-9]+|\s+(?!\S)|\s+/g) },
      'no-contractions': { preTokenize: cutBy(/ ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu) },
      'all-spaces-together': { preTokenize: cutBy(/'(?:[sdmt]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+/gu) },
      'space-alone': { preTokenize: cutBy(/'(?:[sdmt]|re|ve|ll)|\p{L}+|\p{N}+|[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu) },
    },
    right: [
      { preTokenize: (text: string) => libraryPreTokenize(text, 'gpt2') },
      {
        // The rules one after another, at each place.
        preTokenize: (text: string) => {
          const rules = [/^'(s|t|d|m|re|ve|ll)/, /^ ?\p{L}+/u, /^ ?\p{N}+/u, /^ ?[^\s\p{L}\p{N}]+/u, /^\s+(?=\s|$)/, /^\s/];
          const pieces: string[] = [];
          for (let rest = text; rest !== ''; rest = rest.slice(pieces.at(-1)!.length)) {
            pieces.push(rules.map((rule) => rule.exec(rest)?.[0]).find((found) => found !== undefined)!);
          }
          return pieces;
        },
      },
    ],
  },
  '1.8': {
    mistakes: {
      backwards: { viterbi: (word: string, scores: Scores) => viterbi(word, scores).reverse() },
      'longest-first': { viterbi: greedyBy((piece) => piece.length) },
      'most-probable-piece-first': { viterbi: greedyBy((_, score) => score) },
      'forgets-the-past': { viterbi: pathBy((_, score) => score) },
      'least-probable': {
        viterbi: (word: string, scores: Scores) => viterbi(word, new Map([...scores].map(([piece, score]) => [piece, -score]))),
      },
      'probabilities-added': { viterbi: pathBy((before, score) => before + Math.exp(score)) },
      'fewest-pieces': { viterbi: pathBy((before) => before - 1) },
      'tries-everything': { viterbi: everyWay },
    },
    right: [
      { viterbi: pathBy((before, score) => before * Math.exp(score), 1) },
      { viterbi: fromTheEnd },
      { viterbi: byTheLibrary },
    ],
  },
} satisfies ChapterMistakes;
