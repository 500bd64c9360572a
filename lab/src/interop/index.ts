/** @file Checkpoints of the transformers library, in and out. */
export { ChatTemplate, type ChatMessage, type ChatOptions } from './chat.ts';
export type { GPTQConfig } from './gptq-config.ts';
export { packGPTQ, unpackGPTQ, type GPTQArrays, type GPTQFormat } from './gptq-pack.ts';
export { saveGPTQ, type SaveGPTQOptions } from './gptq-save.ts';
export { loadPretrained, type LoadPretrainedOptions, type Pretrained } from './load.ts';
export { fetchModel, hubModels, modelFolder, type FetchModelOptions, type HubModel, type HubModelName } from './hub.ts';
export {
  HuggingFaceTokenizer,
  type HuggingFaceDecodeOptions,
  type HuggingFaceEncodeOptions,
} from './hugging-face-tokenizer.ts';
export type { AddedToken } from './added-tokens.ts';
export { loadTokenizer } from './load-tokenizer.ts';
export { loadPEFT, type LoadPEFTOptions } from './peft-load.ts';
export { savePEFT, type SavePEFTOptions } from './peft-save.ts';
export { readConfig, type PretrainedFormat } from './read-config.ts';
export { savePretrained, type SavePretrainedOptions } from './save.ts';
export { writeTokenizer } from './write-tokenizer.ts';
