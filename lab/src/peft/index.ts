/** @file Parameter-efficient fine-tuning: a large model stays as it is, and something small is trained in it. */
export { adapt, Adapted, type Adaptation, type AdaptationReport } from './adapt.ts';
export { DoRALinear, LoRAEmbedding, LoRALinear, loraScale, type LowRank } from './lora.ts';
export type * from './options.ts';
export { IA3Linear } from './ia3.ts';
export { AdaptedLinear, type LinearLayer, type Mergeable, type MergeOptions } from './wrapper.ts';
export { HoulsbyAdapter, ParallelAdapter, type AdapterSizes } from './bottleneck.ts';
export { Prefix, prefixWidth } from './prefix.ts';
export { singularValues } from './singular-values.ts';
export { SoftPrompt } from './soft-prompt.ts';
export { VirtualKVCache, VirtualTokens } from './virtual-tokens.ts';
