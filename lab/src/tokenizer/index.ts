/** @file Text to token ids and back. */
export * from './characters.ts';
export * from './tokenizer.ts';
