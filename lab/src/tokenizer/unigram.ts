/**
 * @file The unigram tokenizer: every token has a probability, and a text is cut into the tokens whose product is greatest.
 * Kudo 2018 (Subword Regularization), sections 3.2 and 3.3; over bytes as BloombergGPT's (Wu et al. 2023, section 2.3).
 */
import { invariant, LabError, Random } from '../base/index.ts';
import { ByteTokenizer } from './byte-tokenizer.ts';
import { GrowingInt32Array } from './growing.ts';
import { bestSegmentation, Lattice, type PieceModel } from './lattice.ts';
import { checkPreTokenizer, forEachWord, type PreTokenizer } from './pre-tokenize.ts';
import { bytesFromBase64, isListOf, isString, savedField } from './saved.ts';
import { checkSpecialTokens } from './special-tokens.ts';
import type { TokenizerJSON } from './tokenizer.ts';
import { Trie } from './trie.ts';
import { learnPieces } from './unigram-train.ts';
import { utf8Bytes } from './utf8.ts';
import { Vocabulary } from './vocabulary.ts';
import { checkVocabSize, countWords } from './word-counts.ts';

export interface UnigramTrainingOptions {
  /** Tokens in all: 256 bytes, pieces, special tokens. There are fewer when the text has no more pieces that come twice. */
  readonly vocabSize: number;
  /** How text is cut into words, which no token crosses; `gpt2` unless told. */
  readonly preTokenizer?: PreTokenizer;
  /** Get the last ids, in this order. In the training text they separate words and are not learned from. */
  readonly specialTokens?: readonly string[];
  /** The longest piece, in bytes; 16 unless told. */
  readonly maxPieceLength?: number;
  /** How many pieces to start from, at most; 1,000,000 unless told, as in SentencePiece. */
  readonly seedSize?: number;
  /** The share of pieces that each pruning keeps; 0.75 unless told, as in SentencePiece. */
  readonly shrinkingFactor?: number;
  /** Rounds of expectation and maximization before each pruning; 2 unless told, as in SentencePiece. */
  readonly emRounds?: number;
  /** No progress bar. */
  readonly quiet?: boolean;
}

export interface UnigramOptions {
  /** The bytes of every token by id, special ones left out; the 256 bytes must be among them. */
  readonly tokens: readonly Uint8Array[];
  /** log p of each token, natural logarithm. */
  readonly scores: ArrayLike<number>;
  readonly preTokenizer?: PreTokenizer;
  /** Get the ids after the last token, in this order. */
  readonly specialTokens?: readonly string[];
}

export interface SampleOptions {
  /** Decides the sample: any integer. */
  readonly seed: number;
  /** 1 samples from the model; near 0 gives the most probable segmentation, above 1 more variety (Kudo's 1/α). */
  readonly temperature?: number;
}

export class UnigramTokenizer extends ByteTokenizer {
  /** log p of every token by id, natural logarithm; −∞ for special tokens, which the model never makes. */
  readonly scores: Float64Array;
  readonly #model: PieceModel;
  readonly #tokens: readonly Uint8Array[];

  /** @throws LabError when tokens and scores do not fit together, a token comes twice, or a byte is missing. */
  constructor({ tokens, scores, preTokenizer = 'gpt2', specialTokens = [] }: UnigramOptions) {
    checkPieces(tokens, scores);
    const own = tokens.map((bytes) => bytes.slice());
    const vocabulary = new Vocabulary();
    for (const bytes of own) vocabulary.add(bytes);
    super(vocabulary, preTokenizer, specialTokens);
    this.scores = new Float64Array(this.vocabSize).fill(-Infinity);
    this.scores.set(Float64Array.from(scores));
    this.#tokens = own;
    this.#model = { trie: new Trie(own), scores: this.scores };
  }

  /**
   * Learns pieces and their probabilities from a text, or from several (no token crosses from one to the next).
   *
   * @throws LabError when `vocabSize` is less than 256 + the special tokens, or the text is empty.
   */
  static train(text: string | Iterable<string>, options: UnigramTrainingOptions): UnigramTokenizer {
    const { vocabSize, preTokenizer = 'gpt2', specialTokens = [], maxPieceLength = 16, quiet = false } = options;
    const { seedSize = 1_000_000, shrinkingFactor = 0.75, emRounds = 2 } = options;
    checkSpecialTokens(specialTokens);
    checkVocabSize(vocabSize, specialTokens);
    invariant(
      shrinkingFactor > 0 && shrinkingFactor < 1,
      `UnigramTokenizer.train: shrinkingFactor must be between 0 and 1, got ${shrinkingFactor}`,
    );
    for (const [name, value] of Object.entries({ maxPieceLength, seedSize, emRounds })) {
      const right = Number.isInteger(value) && value >= 1;
      invariant(right, `UnigramTokenizer.train: ${name} must be an integer of at least 1, got ${value}`);
    }
    const words = countWords(text, checkPreTokenizer(preTokenizer), specialTokens);
    const size = vocabSize - specialTokens.length;
    const pieces = learnPieces(words, { size, maxPieceLength, seedSize, shrinkingFactor, emRounds, quiet });
    return new UnigramTokenizer({ ...pieces, preTokenizer, specialTokens });
  }

  /** @throws LabError when the data describe no such tokenizer. */
  static fromJSON(json: unknown): UnigramTokenizer {
    const field = savedField(json, 'UnigramTokenizer');
    return new UnigramTokenizer({
      tokens: field('tokens', (value) => isListOf(value, isString)).map(bytesFromBase64),
      scores: field('scores', (value) => isListOf(value, isNumber)),
      preTokenizer: checkPreTokenizer(field('preTokenizer', isString)),
      specialTokens: field('specialTokens', (value) => isListOf(value, isString)),
    });
  }

  toJSON(): TokenizerJSON {
    const tokens = this.#tokens.map((bytes) => Buffer.from(bytes).toString('base64'));
    const scores = [...this.scores.subarray(0, tokens.length)];
    return { type: 'unigram', preTokenizer: this.preTokenizer, specialTokens: [...this.specialTokens.keys()], tokens, scores };
  }

  /**
   * log p of a segmentation: the sum of its tokens' scores.
   *
   * @throws RangeError for an id outside 0 … vocabSize − 1.
   */
  logProbability(ids: ArrayLike<number>): number {
    let sum = 0;
    for (let i = 0; i < ids.length; i++) {
      const score = this.scores[ids[i]!];
      invariant(score !== undefined, () => `token id ${ids[i]} is out of range; this vocabulary has 0 … ${this.vocabSize - 1}`);
      sum += score;
    }
    return sum;
  }

  /** log p of a text: the total of all its segmentations (into tokens that do not cross words), by the forward algorithm. */
  textLogProbability(text: string): number {
    const lattice = new Lattice(this.#model);
    let sum = 0;
    forEachWord(text, this.preTokenizer, (word) => (sum += lattice.load(utf8Bytes(word))));
    return sum;
  }

  /**
   * One segmentation at random, with the probability that the model gives it among all of this text: forward filtering,
   * backward sampling (section 3.3). Special tokens are not looked for.
   */
  sample(text: string, { seed, temperature = 1 }: SampleOptions): Int32Array {
    invariant(temperature > 0, `sample: temperature must be positive, got ${temperature}`);
    const random = new Random(seed);
    const lattice = new Lattice(this.#model);
    const ids = new GrowingInt32Array(text.length);
    forEachWord(text, this.preTokenizer, (word) => {
      const bytes = utf8Bytes(word);
      lattice.load(bytes, 0, bytes.length, temperature);
      for (const id of lattice.sample(random, temperature)) ids.push(id);
    });
    return ids.take();
  }

  protected override encodeWord(bytes: Uint8Array): Int32Array {
    return bestSegmentation(this.#model, bytes);
  }
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number';
}

function checkPieces(tokens: readonly Uint8Array[], scores: ArrayLike<number>): void {
  const refuse = (because: string): LabError => new LabError(`UnigramTokenizer: ${because}.`);
  if (tokens.length !== scores.length) throw refuse(`there are ${tokens.length} tokens but ${scores.length} scores`);
  const vocabulary = new Vocabulary();
  tokens.forEach((bytes, id) => {
    if (bytes.length === 0) throw refuse(`token ${id} is empty`);
    const known = vocabulary.idOf(bytes);
    if (known !== undefined) throw refuse(`the tokens ${known} and ${id} are the same`);
    if (!Number.isFinite(scores[id])) throw refuse(`the score of token ${id} must be a finite number, got ${scores[id]}`);
    vocabulary.add(bytes);
  });
  for (let byte = 0; byte < 256; byte++) {
    if (vocabulary.idOf(Uint8Array.of(byte)) !== undefined) continue;
    throw refuse(`the vocabulary lacks the byte ${byte}, so there are texts that it could not encode`);
  }
}
