/**
 * @file tokenizer.json of the library `tokenizers`, for byte-level BPE: GPT-2, Llama 3, Qwen2, SmolLM2 and whatever is put together
 * from the same parts. A text passes through them in this order: added tokens are taken out, what is left is normalized, cut into
 * words, its words into tokens, and a template puts the beginning and the end around it.
 */
import { LabError } from '../base/index.ts';
import { BPETokenizer, registerTokenizer, type Tokenizer, type TokenizerJSON, utf8Bytes, utf8Text } from '../tokenizer/index.ts';
import { type AddedToken, AddedTokenFinder } from './added-tokens.ts';
import { Fields, isObject, type JSONObject } from './json.ts';
import { readAddedTokens, readBPE, readNormalizer, readPreTokenizer, readTemplate, type Template } from './tokenizer-parts.ts';

export interface HuggingFaceEncodeOptions {
  /** Put the tokens around the text that the model was trained with, as Llama's beginning of text (default true). */
  readonly addSpecial?: boolean;
  /**
   * Recognize the names of special tokens in the text (default true, as in `tokenizers`). Say false for a text from somebody who
   * might smuggle one in.
   */
  readonly allowSpecial?: boolean;
}

export interface HuggingFaceDecodeOptions {
  /** Leave out special tokens, which are no part of a text (default false: their names). */
  readonly skipSpecial?: boolean;
}

export class HuggingFaceTokenizer implements Tokenizer {
  /** One more than the greatest id. */
  readonly vocabSize: number;
  /** Added tokens by their names. */
  readonly addedTokens: ReadonlyMap<string, AddedToken>;
  readonly #json: JSONObject;
  readonly #bpe: BPETokenizer;
  readonly #added: ReadonlyMap<number, AddedToken>;
  /** With special tokens and without: those matched as they come, and those matched after normalization. */
  readonly #finders: Readonly<Record<'all' | 'ordinary', readonly [AddedTokenFinder, AddedTokenFinder]>>;
  readonly #composes: boolean;
  readonly #addPrefixSpace: boolean;
  readonly #template: Template;

  private constructor(json: JSONObject, file: string) {
    const added = readAddedTokens(json['added_tokens'], file);
    const model = readBPE(new Fields(json, file).object('model'));
    const { preTokenizer, addPrefixSpace } = readPreTokenizer(json['pre_tokenizer'], file);
    this.#json = json;
    this.#bpe = new BPETokenizer({ ...model, preTokenizer });
    this.#composes = readNormalizer(json['normalizer'], file);
    this.#addPrefixSpace = addPrefixSpace;
    this.#template = readTemplate(json['post_processor'], file);
    this.addedTokens = new Map(added.map((token) => [token.content, token]));
    this.#added = new Map(added.map((token) => [token.id, token]));
    this.vocabSize = added.reduce((size, { id }) => Math.max(size, id + 1), this.#bpe.vocabSize);
    this.#finders = { all: this.#findersOf(added), ordinary: this.#findersOf(added.filter(({ special }) => !special)) };
  }

  /**
   * @param json what stands in a tokenizer.json
   * @param file what to call it in errors
   * @throws LabError for parts that are not known here, naming them.
   */
  static fromJSON(json: unknown, file = 'tokenizer.json'): HuggingFaceTokenizer {
    if (!isObject(json)) throw new LabError(`${file} does not hold a JSON object. Get it again.`);
    return new HuggingFaceTokenizer(json, file);
  }

  /**
   * GPT-2's older pair of files.
   *
   * @param vocab what stands in vocab.json: tokens to ids
   * @param merges the text of merges.txt: a pair a line
   * @param specialTokens those of the vocabulary that are names, such as '<|endoftext|>'
   */
  static fromVocabulary(vocab: JSONObject, merges: string, specialTokens: readonly string[] = []): HuggingFaceTokenizer {
    const pairs = merges.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#version'));
    const added = specialTokens.map((content) => {
      if (!Object.hasOwn(vocab, content)) throw new LabError(`vocab.json has no special token ${JSON.stringify(content)}.`);
      return { id: vocab[content], content, normalized: false, special: true };
    });
    const model = { type: 'BPE', vocab, merges: pairs.map((line) => line.trimEnd()) };
    return HuggingFaceTokenizer.fromJSON(tokenizerJSON({ model, addedTokens: added }), 'vocab.json and merges.txt');
  }

  /** A lone surrogate, which no UTF-8 can hold, is encoded as U+FFFD. */
  encode(text: string, { addSpecial = true, allowSpecial = true }: HuggingFaceEncodeOptions = {}): Int32Array {
    const ids: number[] = addSpecial ? [...this.#template.before] : [];
    const [asTheyCome, normalized] = this.#finders[allowSpecial ? 'all' : 'ordinary'];
    for (const piece of asTheyCome.split(text)) {
      for (const part of typeof piece === 'string' ? normalized.split(this.#normalize(piece)) : [piece]) {
        if (typeof part === 'number') ids.push(part);
        else for (const id of this.#bpe.encode(this.#addPrefixSpace && !part.startsWith(' ') ? ` ${part}` : part)) ids.push(id);
      }
    }
    if (addSpecial) ids.push(...this.#template.behind);
    return Int32Array.from(ids);
  }

  /**
   * The text of the tokens; bytes that are no UTF-8, as half a character is none, become U+FFFD. An id that no token has, as models
   * with a rounded-up vocabulary could draw, is nothing.
   */
  decode(ids: ArrayLike<number>, { skipSpecial = false }: HuggingFaceDecodeOptions = {}): string {
    const parts = Array.from(ids, (id) => {
      const added = this.#added.get(id);
      if (added) return skipSpecial && added.special ? new Uint8Array() : utf8Bytes(added.content);
      return Number.isInteger(id) && id >= 0 && id < this.#bpe.vocabSize ? this.#bpe.tokenBytes(id) : new Uint8Array();
    });
    return utf8Text(Buffer.concat(parts));
  }

  /** The id of an added token by its name, or of another token by its text, if there is one. */
  idOf(token: string): number | undefined {
    return this.addedTokens.get(token)?.id ?? this.#bpe.idOf(token);
  }

  /** The same, without tokens around a text: for texts that have them already, as those of a chat template. */
  withoutTemplate(): HuggingFaceTokenizer {
    return HuggingFaceTokenizer.fromJSON({ ...this.#json, post_processor: null });
  }

  /** A lab tokenizer's JSON; `tokenizerJSON` in it is what `tokenizers` reads. */
  toJSON(): TokenizerJSON {
    return { type: 'hugging-face', tokenizerJSON: this.#json };
  }

  #normalize(text: string): string {
    return this.#composes ? text.normalize('NFC') : text;
  }

  #findersOf(tokens: readonly AddedToken[]): readonly [AddedTokenFinder, AddedTokenFinder] {
    const inNormalized = tokens.filter(({ normalized }) => normalized).map((token) => {
      return { ...token, content: this.#normalize(token.content) };
    });
    return [new AddedTokenFinder(tokens.filter(({ normalized }) => !normalized)), new AddedTokenFinder(inNormalized)];
  }
}

interface TokenizerJSONParts {
  readonly model: JSONObject;
  readonly preTokenizer?: JSONObject;
  readonly decoder?: JSONObject;
  readonly addedTokens?: readonly JSONObject[];
}

const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };

/** A tokenizer.json, GPT-2's but for what is given. */
export function tokenizerJSON({ model, preTokenizer = byteLevel, decoder = byteLevel, addedTokens = [] }: TokenizerJSONParts): JSONObject {
  const usual = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens.map((token) => ({ ...usual, ...token })),
    normalizer: null,
    pre_tokenizer: preTokenizer,
    post_processor: null,
    decoder,
    model,
  };
}

registerTokenizer('hugging-face', (json) => HuggingFaceTokenizer.fromJSON((json as TokenizerJSON)['tokenizerJSON']));
