/**
 * @file Writing text: ask the model for the next token, draw it, append it, again.
 *
 * A context that is full slides: the newer half of its tokens is kept (and read again, their positions are new), so that most
 * steps can still use the cache. With and without the cache the model sees the same tokens.
 */
import { tf } from '../backend/index.ts';
import { interruptible, invariant, LabError, Random } from '../base/index.ts';
import type { KVCache } from '../attention/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { checkSamplingOptions, nextTokenDistribution, sampleFrom, type Sampler, type SamplingOptions } from './sampling.ts';
import { beforeStop, settled } from './stop-text.ts';
import { checkTokens, tokensTensor } from './tokens.ts';
import type { Transformer } from './transformer.ts';

export interface GenerateTokensOptions extends Omit<SamplingOptions, 'previous'> {
  /** How many at most (default 100). */
  readonly maxTokens?: number;
  /** End before any of these. */
  readonly stopTokens?: readonly number[];
  /** Decides what is drawn (default 0). */
  readonly seed?: number;
  /** Keep keys and values between steps (default true): faster, the same tokens. Or in a cache of your own making. */
  readonly cache?: boolean | (() => KVCache);
  /** Logits to probabilities; `nextTokenDistribution` unless told. */
  readonly sampler?: Sampler;
}

export interface GenerateOptions extends Omit<GenerateTokensOptions, 'stopTokens'> {
  /** End before any of these: texts, or token ids. */
  readonly stop?: readonly (string | number)[];
  /** Called as text appears, with the token that brought it; what may become a stop text is held back until it is clear. */
  readonly onToken?: (text: string, token: number) => void;
}

/**
 * Continues a text. An interrupt (Ctrl-C, ■ in JupyterLab) ends it with what there is.
 *
 * @returns the prompt and its continuation
 * @throws LabError for an empty prompt, or one that the tokenizer or the model cannot read; RangeError for options out of range.
 */
export async function generate(
  model: Transformer,
  tokenizer: Tokenizer,
  prompt: string,
  options: GenerateOptions = {},
): Promise<string> {
  const { stop = [], onToken, ...rest } = options;
  const stopTokens = stop.filter((entry) => typeof entry === 'number');
  const stopStrings = stop.filter((entry) => typeof entry === 'string' && entry !== '') as string[];
  const written: number[] = [];
  let shown = 0;
  const show = (text: string, token: number) => {
    if (text.length > shown) onToken?.(text.slice(shown), token);
    shown = Math.max(shown, text.length);
  };
  return interruptible(async (signal) => {
    let text = '';
    for await (const token of generateTokens(model, tokenizer.encode(prompt), { ...rest, stopTokens })) {
      written.push(token);
      const decoded = tokenizer.decode(written);
      text = beforeStop(decoded, stopStrings);
      if (text.length < decoded.length) break;
      show(settled(text, stopStrings), token);
      await signal.breathe();
      if (signal.stopped) break;
    }
    show(text, written.at(-1) ?? -1);
    return prompt + text;
  });
}

/**
 * The tokens of a continuation, one at a time: leave the loop to end it.
 *
 * @param prompt token ids; of a longer one than the context only the end is read
 * @throws LabError for an empty prompt or ids outside the vocabulary; RangeError for options out of range.
 */
export async function* generateTokens(
  model: Transformer,
  prompt: ArrayLike<number>,
  options: GenerateTokensOptions = {},
): AsyncGenerator<number, void, undefined> {
  const { maxTokens = 100, stopTokens = [], seed = 0, cache = true, sampler = nextTokenDistribution, ...sampling } = options;
  if (prompt.length === 0) throw new LabError('The prompt is empty: give at least one token to go on from.');
  checkTokens(prompt, model.config.vocabSize);
  checkSamplingOptions(sampling);
  invariant(Number.isInteger(maxTokens) && maxTokens >= 0, `maxTokens must be 0, 1, …, got ${maxTokens}`);
  const random = new Random(seed);
  const tokens = Array.from(prompt);
  const reader = new Reader(model, tokens, cache);
  const wasTraining = model.training;
  model.eval();
  try {
    for (let step = 0; step < maxTokens; step++) {
      const logits = await reader.nextLogits();
      const token = sampleFrom(sampler(logits, { ...sampling, previous: tokens }), random);
      if (stopTokens.includes(token)) return;
      tokens.push(token);
      yield token;
    }
  } finally {
    if (wasTraining) model.train();
    reader.dispose();
  }
}

/** Reads on where it stopped, and slides when the context is full. */
class Reader {
  readonly #model: Transformer;
  readonly #tokens: readonly number[];
  readonly #cache: KVCache | undefined;
  /** Where the context begins. */
  #start: number;

  /** @param tokens grows from outside */
  constructor(model: Transformer, tokens: readonly number[], cache: boolean | (() => KVCache)) {
    this.#model = model;
    this.#tokens = tokens;
    this.#cache = typeof cache === 'function' ? cache() : cache ? model.cache() : undefined;
    this.#start = Math.max(0, tokens.length - model.config.contextLength);
  }

  /** V logits of what comes after the last token. */
  async nextLogits(): Promise<Float32Array> {
    const { contextLength, vocabSize } = this.#model.config;
    if (this.#tokens.length - this.#start > contextLength) {
      this.#start = this.#tokens.length - Math.ceil(contextLength / 2);
      this.#cache?.truncate(0);
    }
    const unread = this.#tokens.slice(this.#start + (this.#cache?.length ?? 0));
    const logits = tf.tidy(() =>
      this.#model.forward(tokensTensor(unread, [1, unread.length], vocabSize), { cache: this.#cache, lastOnly: true }),
    );
    try {
      return (await logits.data()) as Float32Array;
    } finally {
      logits.dispose();
    }
  }

  dispose(): void {
    this.#cache?.dispose();
  }
}
