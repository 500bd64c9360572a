/**
 * @file Byte-level byte pair encoding: start from bytes, make the most frequent pair of neighbours a token, and repeat.
 * Gage 1994; Sennrich et al. 2016, section 3.2; on bytes: Radford et al. 2019, section 2.2.
 */
import { invariant, LabError } from '../base/index.ts';
import { learnMerges } from './bpe-train.ts';
import { ByteTokenizer } from './byte-tokenizer.ts';
import { mergeWord, type MergeTable } from './merge.ts';
import { PairMap } from './pair-map.ts';
import { checkPreTokenizer, type PreTokenizer } from './pre-tokenize.ts';
import { bytesFromBase64, isListOf, isString, savedField } from './saved.ts';
import { checkSpecialTokens } from './special-tokens.ts';
import type { TokenizerJSON } from './tokenizer.ts';
import { Vocabulary } from './vocabulary.ts';
import { checkVocabSize, countWords } from './word-counts.ts';

/** The ids of two neighbours. */
export type Merge = readonly [left: number, right: number];

export interface BPETrainingOptions {
  /** Tokens in all: 256 bytes, merges, special tokens. There are fewer when the text runs out of pairs to merge. */
  readonly vocabSize: number;
  /** How text is cut into words, which no token crosses; `gpt2` unless told. */
  readonly preTokenizer?: PreTokenizer;
  /** Get the last ids, in this order. In the training text they separate words and are not learned from. */
  readonly specialTokens?: readonly string[];
  /** A pair must occur so often to be merged; 2 unless told. */
  readonly minFrequency?: number;
  /** No progress bar. */
  readonly quiet?: boolean;
}

export interface BPEOptions {
  /** Pairs of ids, the most urgent first. */
  readonly merges: readonly Merge[];
  readonly preTokenizer?: PreTokenizer;
  /** Get the ids after the last token, in this order, unless they are among `tokens`. */
  readonly specialTokens?: readonly string[];
  /**
   * The bytes of every token by id, for a vocabulary that somebody else numbered, as GPT-2's. Unless given, ids 0 … 255 are
   * the bytes, and each merge makes the next id (or the same token again when it spells one that is there).
   */
  readonly tokens?: readonly Uint8Array[];
  /** A word that is a token is that token, even where the merges would not make it (Llama 3; default false). */
  readonly ignoreMerges?: boolean;
}

export class BPETokenizer extends ByteTokenizer {
  /** Pairs of ids in the order in which they were learned, which is the order in which they are applied. */
  readonly merges: readonly Merge[];
  readonly #table: MergeTable;
  /** The id of each byte. */
  readonly #byteIds: Int32Array;
  readonly #tokens: readonly Uint8Array[] | undefined;
  readonly #ignoreMerges: boolean;

  /** @throws LabError when merges, tokens and special tokens do not fit together, saying which. */
  constructor({ merges, tokens, preTokenizer = 'gpt2', specialTokens = [], ignoreMerges = false }: BPEOptions) {
    const vocabulary = tokens ? vocabularyOf(tokens) : Vocabulary.ofBytes();
    const table = mergeTable(merges, vocabulary, tokens !== undefined);
    const byteIds = Int32Array.from({ length: 256 }, (_, byte) => vocabulary.idOf(Uint8Array.of(byte))!);
    super(vocabulary, preTokenizer, specialTokens, tokens !== undefined);
    this.merges = merges.map(([left, right]) => [left, right]);
    this.#table = table;
    this.#byteIds = byteIds;
    this.#tokens = tokens?.map((bytes) => bytes.slice());
    this.#ignoreMerges = ignoreMerges;
  }

  /**
   * Learns the merges from a text, or from several (no token crosses from one to the next).
   * Equally frequent pairs are merged in the order of the Rust library `tokenizers`, so that both learn the same.
   *
   * @throws LabError when `vocabSize` is less than 256 + the special tokens, or the text is empty.
   */
  static train(text: string | Iterable<string>, options: BPETrainingOptions): BPETokenizer {
    const { vocabSize, preTokenizer = 'gpt2', specialTokens = [], minFrequency = 2, quiet = false } = options;
    checkSpecialTokens(specialTokens);
    checkVocabSize(vocabSize, specialTokens);
    invariant(minFrequency >= 1, `BPETokenizer.train: minFrequency must be at least 1, got ${minFrequency}`);
    const words = countWords(text, checkPreTokenizer(preTokenizer), specialTokens);
    const merges = learnMerges(words, { size: vocabSize - specialTokens.length, minFrequency, quiet });
    return new BPETokenizer({ merges, preTokenizer, specialTokens });
  }

  /** @throws LabError when the data describe no such tokenizer. */
  static fromJSON(json: unknown): BPETokenizer {
    const field = savedField(json, 'BPETokenizer');
    const merges = field('merges', (value) => isListOf(value, isMerge));
    const preTokenizer = checkPreTokenizer(field('preTokenizer', isString));
    const specialTokens = field('specialTokens', (value) => isListOf(value, isString));
    const tokens = field('tokens', (value) => value === undefined || isListOf(value, isString));
    const ignoreMerges = field('ignoreMerges', (value) => value === undefined || typeof value === 'boolean') === true;
    const given = tokens && { tokens: tokens.map(bytesFromBase64) };
    return new BPETokenizer({ merges, preTokenizer, specialTokens, ignoreMerges, ...given });
  }

  toJSON(): TokenizerJSON {
    const tokens = this.#tokens?.map((bytes) => Buffer.from(bytes).toString('base64'));
    const { preTokenizer, merges } = this;
    const names = [...this.specialTokens.keys()];
    const rest = { ...(tokens && { tokens }), ...(this.#ignoreMerges && { ignoreMerges: true }) };
    return { type: 'bpe', preTokenizer, specialTokens: names, merges, ...rest };
  }

  protected override encodeWord(bytes: Uint8Array): Int32Array {
    const whole = this.#ignoreMerges ? this.idOf(bytes) : undefined;
    if (whole !== undefined) return Int32Array.of(whole);
    const symbols = new Int32Array(bytes.length);
    for (let i = 0; i < bytes.length; i++) symbols[i] = this.#byteIds[bytes[i]!]!;
    return mergeWord(symbols, this.#table);
  }
}

function isMerge(value: unknown): value is Merge {
  return isListOf(value, Number.isInteger) && value.length === 2;
}

function vocabularyOf(tokens: readonly Uint8Array[]): Vocabulary {
  const vocabulary = new Vocabulary();
  for (const bytes of tokens) vocabulary.add(bytes.slice());
  for (let byte = 0; byte < 256; byte++) {
    if (vocabulary.idOf(Uint8Array.of(byte)) !== undefined) continue;
    throw new LabError(`BPETokenizer: the vocabulary lacks the byte ${byte}, so there are texts that it could not encode.`);
  }
  return vocabulary;
}

/**
 * Adds the tokens that the merges make to the vocabulary.
 *
 * @param complete they must be there already
 */
function mergeTable(merges: readonly Merge[], vocabulary: Vocabulary, complete: boolean): MergeTable {
  const ranks = new PairMap(merges.length);
  const results = new Int32Array(merges.length);
  merges.forEach(([left, right], rank) => {
    const refuse = (because: string): LabError =>
      new LabError(`BPETokenizer: merge ${rank}, of the tokens ${left} and ${right}, does not fit: ${because}.`);
    const unknown = [left, right].find((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary.size);
    if (unknown !== undefined) throw refuse(`at that point there are the tokens 0 … ${vocabulary.size - 1}, and no ${unknown}`);
    if (ranks.get(left, right) >= 0) throw refuse(`merge ${ranks.get(left, right)} joins the same two`);
    const bytes = vocabulary.joined(left, right);
    const known = vocabulary.idOf(bytes);
    if (known === undefined && complete) throw refuse('what they spell together is not in the vocabulary');
    ranks.set(left, right, rank);
    results[rank] = known ?? vocabulary.add(bytes);
  });
  return { ranks, results };
}
