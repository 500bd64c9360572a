/** @file Text to token ids and back. */
export * from './bpe.ts';
export { byteCharacters } from './byte-order.ts';
export * from './byte-tokenizer.ts';
export * from './characters.ts';
export { preTokenize, preTokenizers, type PreTokenizer } from './pre-tokenize.ts';
export * from './tokenizer.ts';
export * from './unigram.ts';
export { utf8Bytes, utf8Text } from './utf8.ts';
