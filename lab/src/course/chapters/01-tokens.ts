/**
 * @file Chapter 01, tokens: its exercises, and the library's tokenizer in the plain form that they ask for.
 * A token is a number: 0 … 255 are the bytes, and 256 + i is what the i-th merge makes. All of it is practice: text is made
 * into tokens before any model sees it.
 */
import { BPETokenizer, preTokenize, utf8Bytes, utf8Text } from '../../tokenizer/index.ts';
import { bestSegmentation, type PieceModel } from '../../tokenizer/lattice.ts';
import { mergeWord, type MergeTable } from '../../tokenizer/merge.ts';
import { PairMap } from '../../tokenizer/pair-map.ts';
import { Trie } from '../../tokenizer/trie.ts';
import { Vocabulary } from '../../tokenizer/vocabulary.ts';
import type { Chapter } from '../exercise.ts';

type Pair = readonly [number, number];

function codePoints(text: string): number[] {
  return Array.from(text, (character) => character.codePointAt(0)!);
}

function utf8(points: readonly number[]): number[] {
  return [...utf8Bytes(points.map((point) => String.fromCodePoint(point)).join(''))];
}

/** Counts by pair, 'left,right'. */
function pairCounts(words: readonly (readonly number[])[], counts: readonly number[]): Map<string, number> {
  const pairs = new Map<string, number>();
  words.forEach((ids, w) => {
    for (let i = 0; i + 1 < ids.length; i++) {
      const pair = `${ids[i]},${ids[i + 1]}`;
      pairs.set(pair, (pairs.get(pair) ?? 0) + counts[w]!);
    }
  });
  return pairs;
}

/** @param firstId what the first of the merges makes */
function tableOf(merges: readonly Pair[], firstId: number): MergeTable {
  const ranks = new PairMap(merges.length);
  merges.forEach(([left, right], rank) => ranks.set(left, right, rank));
  return { ranks, results: Int32Array.from(merges, (_, rank) => firstId + rank) };
}

function mergePair(ids: readonly number[], pair: Pair, id: number): number[] {
  return [...mergeWord(Int32Array.from(ids), tableOf([pair], id))];
}

/** The bytes of every token that merges make. */
function vocabularyOf(merges: readonly Pair[]): Vocabulary {
  const vocabulary = Vocabulary.ofBytes();
  for (const [left, right] of merges) vocabulary.add(vocabulary.joined(left, right));
  return vocabulary;
}

/** The library makes no second token of the same bytes: a merge that only leads to an older token has no number here. */
function learnMerges(words: readonly string[], count: number): [number, number][] {
  if (words.every((word) => word === '')) return [];
  const options = { vocabSize: 256 + count, preTokenizer: 'none', minFrequency: 2, quiet: true } as const;
  const vocabulary = Vocabulary.ofBytes();
  const merges: [number, number][] = [];
  for (const [left, right] of BPETokenizer.train(words, options).merges) {
    const bytes = vocabulary.joined(left, right);
    if (vocabulary.idOf(bytes) !== undefined) continue;
    vocabulary.add(bytes);
    merges.push([left, right]);
  }
  return merges;
}

function encode(text: string, merges: readonly Pair[]): number[] {
  return [...mergeWord(Int32Array.from(utf8Bytes(text)), tableOf(merges, 256))];
}

function decode(ids: readonly number[], merges: readonly Pair[]): string {
  return utf8Text(vocabularyOf(merges).join(ids));
}

/** Pieces are looked up in a tree, which is made once for each vocabulary. */
const models = new WeakMap<ReadonlyMap<string, number>, PieceModel>();

function viterbi(word: string, logProbabilities: ReadonlyMap<string, number>): string[] {
  const model = models.get(logProbabilities) ?? {
    trie: new Trie([...logProbabilities.keys()].map(utf8Bytes)),
    scores: Float64Array.from(logProbabilities.values()),
  };
  models.set(logProbabilities, model);
  const pieces = [...logProbabilities.keys()];
  return Array.from(bestSegmentation(model, utf8Bytes(word)), (id) => pieces[id]!);
}

export const chapter: Chapter = {
  number: 1,
  slug: '01-tokens',
  title: 'Tokens',
  exercises: [
    {
      id: '1.1',
      title: 'bytes and code points',
      names: ['codePoints', 'utf8'],
      difficulty: 2,
      minutes: 15,
      library: { codePoints, utf8 },
    },
    { id: '1.2', title: 'pair counts', names: ['pairCounts'], difficulty: 1, minutes: 10, library: { pairCounts } },
    { id: '1.3', title: 'merge', names: ['mergePair'], difficulty: 1, minutes: 10, library: { mergePair } },
    { id: '1.4', title: 'train', names: ['learnMerges'], difficulty: 3, minutes: 20, library: { learnMerges } },
    { id: '1.5', title: 'encode', names: ['encode'], difficulty: 3, minutes: 15, library: { encode } },
    { id: '1.6', title: 'decode', names: ['decode'], difficulty: 2, minutes: 10, library: { decode } },
    { id: '1.7', title: 'pre-tokenize', names: ['preTokenize'], difficulty: 3, minutes: 20, library: { preTokenize } },
    { id: '1.8', title: "unigram's Viterbi", names: ['viterbi'], difficulty: 4, minutes: 25, library: { viterbi } },
  ],
};
