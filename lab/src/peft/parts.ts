/** @file What an adaptation is put together from: for those who read or write one in a file. */
export { exchange, type Change } from './changes.ts';
export { IA3Linear } from './ia3.ts';
export { DoRALinear, LoRAEmbedding, LoRALinear, loraScale } from './lora.ts';
export type { Plan } from './methods.ts';
export { placesOf, type Place } from './targets.ts';
export { AdaptedLinear, floatWeight, isLinearLayer } from './wrapper.ts';
export { Prefix, prefixWidth } from './prefix.ts';
export { SoftPrompt } from './soft-prompt.ts';
export { putVirtualTokens } from './virtual-tokens.ts';
