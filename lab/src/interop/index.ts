/** @file Checkpoints of the transformers library, in and out. */
export { loadPretrained, type LoadPretrainedOptions, type Pretrained } from './load.ts';
export { HuggingFaceTokenizer, type HuggingFaceDecodeOptions, type HuggingFaceEncodeOptions } from './hugging-face-tokenizer.ts';
export type { AddedToken } from './added-tokens.ts';
export { readConfig, type PretrainedFormat } from './read-config.ts';
