/**
 * @file What a client asks for, checked before anything is computed, and how its tokens are drawn: each request by its own
 * options and its own seed, so that the same request gets the same answer whoever else is there.
 */
import { invariant, LabError, Random } from '../base/index.ts';
import {
  checkSamplingOptions,
  checkTokens,
  nextTokenDistribution,
  sampleFrom,
  type Sampler,
  type SamplingOptions,
} from '../model/index.ts';
import { beforeStop, settled } from '../model/stop-text.ts';
import type { Tokenizer } from '../tokenizer/index.ts';

export interface RequestOptions extends Omit<SamplingOptions, 'previous'> {
  /** How many tokens at most; unless told, as many as the context and the cache allow. */
  readonly maxTokens?: number;
  /** Ends before any of these: texts (needs a tokenizer), or token ids. */
  readonly stop?: readonly (string | number)[];
  /** Decides what is drawn (default 0). */
  readonly seed?: number;
  /** Logits to probabilities; `nextTokenDistribution` unless told. */
  readonly sampler?: Sampler;
  /** Only requests with the same extras share computed beginnings (default ''). */
  readonly extras?: string;
}

/** What a server can do for a single request. */
export interface RequestLimits {
  readonly vocabSize: number;
  readonly contextLength: number;
  /** Tokens that the whole cache has room for. */
  readonly cacheTokens: number;
  readonly tokenizer: Tokenizer | undefined;
}

/**
 * @returns how many tokens the request may get
 * @throws LabError or RangeError saying what is wrong with it.
 */
export function checkRequest(prompt: ArrayLike<number>, options: RequestOptions, limits: RequestLimits): number {
  const { vocabSize, contextLength, cacheTokens, tokenizer } = limits;
  if (prompt.length === 0) throw new LabError('The prompt is empty: give at least one token to go on from.');
  checkTokens(prompt, vocabSize);
  checkSamplingOptions(options);
  const { seed = 0, stop = [] } = options;
  invariant(Number.isInteger(seed), `seed must be an integer, got ${seed}`);
  if (!tokenizer && stop.some((entry) => typeof entry === 'string')) {
    throw new LabError('Stop texts need a tokenizer: give the engine one, or stop at token ids.');
  }
  // The last token that is drawn is never computed, so it needs no room in the cache.
  const room = Math.min(contextLength, cacheTokens + 1) - prompt.length;
  if (room < 1) {
    const limit = prompt.length >= contextLength ? `a context of ${contextLength}` : `a cache for ${cacheTokens}`;
    throw new LabError(`A prompt of ${prompt.length} tokens leaves no room for an answer in ${limit} tokens; shorten it.`);
  }
  const { maxTokens = room } = options;
  if (!(Number.isInteger(maxTokens) && maxTokens >= 1)) throw new LabError(`maxTokens must be 1, 2, …, got ${maxTokens}.`);
  if (maxTokens > room) {
    throw new LabError(
      `${prompt.length} tokens of the prompt and ${maxTokens} of the answer do not fit: the context is ` +
        `${contextLength} tokens, the cache has room for ${cacheTokens}; ask for at most ${room}.`,
    );
  }
  return maxTokens;
}

/** What has been written for a request, and whether it has come to its end. */
export class Writer {
  readonly #options: RequestOptions;
  readonly #tokenizer: Tokenizer | undefined;
  readonly #random: Random;
  readonly #stopTokens: readonly number[];
  readonly #stopTexts: readonly string[];
  readonly written: number[] = [];
  /** All text so far, without what ended it. */
  text = '';
  #shown = 0;

  constructor(options: RequestOptions, tokenizer: Tokenizer | undefined) {
    const { seed = 0, stop = [] } = options;
    this.#options = options;
    this.#tokenizer = tokenizer;
    this.#random = new Random(seed);
    this.#stopTokens = stop.filter((entry) => typeof entry === 'number');
    this.#stopTexts = stop.filter((entry) => typeof entry === 'string' && entry !== '') as string[];
  }

  /** Draws the next token. @param previous all tokens so far */
  draw(logits: Float32Array, previous: readonly number[]): number {
    const { sampler = nextTokenDistribution, ...sampling } = this.#options;
    if (sampling.temperature === 0 && sampler === nextTokenDistribution && (sampling.repetitionPenalty ?? 1) === 1) {
      return likeliest(logits);
    }
    return sampleFrom(sampler(logits, { ...sampling, previous }), this.#random);
  }

  /** Whether the token ended the text; then it is not part of it. */
  accept(token: number): boolean {
    if (this.#stopTokens.includes(token)) return true;
    this.written.push(token);
    const decoded = this.#tokenizer?.decode(this.written) ?? '';
    this.text = beforeStop(decoded, this.#stopTexts);
    return this.text.length < decoded.length;
  }

  /** The text that is certain by now and has not been shown. @param ended nothing can follow any more */
  news(ended: boolean): string {
    const certain = ended ? this.text : settled(this.text.slice(this.#shown), this.#stopTexts);
    const fresh = ended ? certain.slice(this.#shown) : certain;
    this.#shown += fresh.length;
    return fresh;
  }
}

/** Of equal ones the first. @throws RangeError when there is a NaN among them. */
function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let i = 0; i < logits.length; i++) {
    invariant(!Number.isNaN(logits[i]), `The model gave NaN for token ${i}: its weights, or its input, are broken.`);
    if (logits[i]! > logits[best]!) best = i;
  }
  return best;
}
