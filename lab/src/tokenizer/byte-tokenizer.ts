/**
 * @file What tokenizers over bytes have in common: a vocabulary of byte strings, words, special tokens, streams, decoding.
 *
 * Every byte is a token, so every text can be encoded and `decode(encode(text))` is the text again.
 */
import { GrowingInt32Array } from './growing.ts';
import { checkPreTokenizer, forEachWord, type PreTokenizer } from './pre-tokenize.ts';
import { allowedSpecial, checkSpecialTokens, type AllowedSpecial } from './special-tokens.ts';
import type { Tokenizer, TokenizerJSON } from './tokenizer.ts';
import { utf8Bytes, utf8Text } from './utf8.ts';
import type { Vocabulary } from './vocabulary.ts';
import { WordCache } from './word-cache.ts';

export interface EncodeOptions {
  /**
   * Which special tokens are recognized in the text: none unless told, so that nobody can smuggle one in; `true` for all, or
   * a list of them. Those not allowed are encoded like any other text.
   */
  readonly allowSpecial?: boolean | readonly string[];
}

/** A stream is encoded when at least so many UTF-16 code units have come together. */
const STREAM_PART = 1 << 15;

export abstract class ByteTokenizer implements Tokenizer {
  /** How text is cut into words before each word is encoded by itself. */
  readonly preTokenizer: PreTokenizer;
  /** Special tokens and their ids: decoded to their name, encoded only where that is allowed. */
  readonly specialTokens: ReadonlyMap<string, number>;
  readonly #vocabulary: Vocabulary;
  readonly #cache = new WordCache();

  /**
   * @param vocabulary gets the special tokens as its last; where somebody else numbered it (`foreign`), those that are in it
   * keep their ids
   */
  protected constructor(
    vocabulary: Vocabulary,
    preTokenizer: PreTokenizer,
    specialTokens: readonly string[],
    foreign: boolean = false,
  ) {
    this.preTokenizer = checkPreTokenizer(preTokenizer);
    checkSpecialTokens(specialTokens);
    this.#vocabulary = vocabulary;
    const idOf = (bytes: Uint8Array): number => (foreign ? vocabulary.idOf(bytes) : undefined) ?? vocabulary.add(bytes);
    this.specialTokens = new Map(specialTokens.map((name) => [name, idOf(utf8Bytes(name))]));
  }

  /** The tokens of one word, whose UTF-8 bytes these are. */
  protected abstract encodeWord(bytes: Uint8Array): Int32Array;

  abstract toJSON(): TokenizerJSON;

  /** How many tokens there are, special ones included. */
  get vocabSize(): number {
    return this.#vocabulary.size;
  }

  /**
   * The bytes of a token.
   *
   * @throws RangeError for an id outside 0 … vocabSize − 1.
   */
  tokenBytes(id: number): Uint8Array {
    return this.#vocabulary.bytes(id).slice();
  }

  /** The id of the token with this text or these bytes, if there is one. */
  idOf(token: string | Uint8Array): number | undefined {
    if (typeof token !== 'string') return this.#vocabulary.idOf(token);
    return this.specialTokens.get(token) ?? this.#vocabulary.idOf(utf8Bytes(token));
  }

  /**
   * Any text as token ids. A lone surrogate, which no UTF-8 can hold, is encoded as U+FFFD.
   *
   * @throws LabError when `allowSpecial` lists a token that is not one of `specialTokens`.
   */
  encode(text: string, { allowSpecial = false }: EncodeOptions = {}): Int32Array {
    const ids = new GrowingInt32Array(text.length >> 1);
    this.#encodeInto(ids, text, allowedSpecial(this.specialTokens, allowSpecial), true);
    return ids.take();
  }

  /**
   * Encodes a text that comes in pieces, cut anywhere; the ids, joined, are those of `encode` for the joined text.
   * Memory stays that of a piece and the longest word (with the pre-tokenizer `none`, that is the whole text).
   *
   * @example for await (const ids of tokenizer.encodeStream(createReadStream(file, 'utf8'))) write(ids);
   */
  async *encodeStream(
    chunks: Iterable<string> | AsyncIterable<string>,
    { allowSpecial = false }: EncodeOptions = {},
  ): AsyncGenerator<Int32Array> {
    const allowed = allowedSpecial(this.specialTokens, allowSpecial);
    const ids = new GrowingInt32Array();
    let rest = '';
    let enough = STREAM_PART;
    for await (const chunk of chunks) {
      rest += chunk;
      if (rest.length < enough) continue;
      rest = rest.slice(this.#encodeInto(ids, rest, allowed, false));
      // A word without an end is looked through again only when it has doubled.
      enough = Math.max(STREAM_PART, 2 * rest.length);
      if (ids.length > 0) yield ids.take();
    }
    this.#encodeInto(ids, rest, allowed, true);
    if (ids.length > 0) yield ids.take();
  }

  /**
   * @returns the bytes of the tokens, one after another
   * @throws RangeError for an id outside 0 … vocabSize − 1.
   */
  decodeBytes(ids: ArrayLike<number>): Uint8Array {
    return this.#vocabulary.join(ids);
  }

  /**
   * The text of the tokens; bytes that are no UTF-8, as half a character is none, become U+FFFD.
   *
   * @throws RangeError for an id outside 0 … vocabSize − 1.
   */
  decode(ids: ArrayLike<number>): string {
    return utf8Text(this.decodeBytes(ids));
  }

  /**
   * Encodes as much of the text as is certain.
   *
   * @param complete false when more text follows
   * @returns how many code units were encoded
   */
  #encodeInto(ids: GrowingInt32Array, text: string, allowed: AllowedSpecial | undefined, complete: boolean): number {
    const visit = (word: string): void => ids.append(this.#encodeKnown(word));
    let at = 0;
    let end = text.length;
    if (allowed) {
      // From here on a special token could begin whose end has not come yet.
      if (!complete) end = Math.max(0, end - allowed.longest + 1);
      for (const match of text.matchAll(allowed.pattern)) {
        if (match.index >= end) break;
        forEachWord(text.slice(at, match.index), this.preTokenizer, visit);
        ids.push(allowed.ids.get(match[0])!);
        at = match.index + match[0].length;
      }
    }
    return at + forEachWord(text.slice(at, Math.max(at, end)), this.preTokenizer, visit, complete);
  }

  #encodeKnown(word: string): Int32Array {
    const known = this.#cache.get(word);
    if (known !== undefined) return known;
    const ids = this.encodeWord(utf8Bytes(word));
    this.#cache.set(word, ids);
    return ids;
  }
}
