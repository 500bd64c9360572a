/** @file Checkpoints of the transformers library, in and out. */
export { loadPretrained, type LoadPretrainedOptions, type Pretrained } from './load.ts';
export { readConfig, type PretrainedFormat } from './read-config.ts';
