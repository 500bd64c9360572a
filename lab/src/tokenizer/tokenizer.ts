/** @file What every tokenizer is: a two-way dictionary between text and integers 0 … vocabSize − 1. */
import { LabError } from '../base/index.ts';
import { BPETokenizer } from './bpe.ts';
import { CharacterTokenizer } from './characters.ts';
import { UnigramTokenizer } from './unigram.ts';

/** A tokenizer as plain data: `type` says which class reads it. */
export interface TokenizerJSON {
  readonly type: string;
  readonly [field: string]: unknown;
}

export interface Tokenizer {
  readonly vocabSize: number;
  /** @throws LabError when the text cannot be written in this vocabulary. */
  encode(text: string): Int32Array;
  /** @throws RangeError for an id outside 0 … vocabSize − 1. */
  decode(ids: ArrayLike<number>): string;
  toJSON(): TokenizerJSON;
}

const readers: Record<string, (json: unknown) => Tokenizer> = {
  characters: (json) => CharacterTokenizer.fromJSON(json),
  bpe: (json) => BPETokenizer.fromJSON(json),
  unigram: (json) => UnigramTokenizer.fromJSON(json),
};

/** Makes a further kind of tokenizer known to `tokenizerFromJSON`; whoever writes one calls this where its module is loaded. */
export function registerTokenizer(type: string, read: (json: unknown) => Tokenizer): void {
  readers[type] = read;
}

/**
 * The tokenizer that `toJSON` described.
 *
 * @throws LabError when the data describe none that is known here.
 */
export function tokenizerFromJSON(json: unknown): Tokenizer {
  const type = typeof json === 'object' && json !== null && 'type' in json ? json.type : undefined;
  if (typeof type === 'string' && Object.hasOwn(readers, type)) return readers[type]!(json);
  const known = Object.keys(readers).map((name) => JSON.stringify(name));
  throw new LabError(`There is no tokenizer of type ${JSON.stringify(type)}; known: ${known.join(', ')}.`);
}
