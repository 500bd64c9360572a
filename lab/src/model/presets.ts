/** @file Models that are known by name. Spread one and add what is your own: `{ ...presets.nano, vocabSize: 65 }`. */
import { LabError } from '../base/index.ts';
import type { TransformerConfig } from './config.ts';

/** Everything but the vocabulary. */
export type TransformerPreset = Omit<TransformerConfig, 'vocabSize'>;

export const presets = {
  /** nanoGPT's model for a CPU, its recipe on Shakespeare's characters: 0.8 million parameters. */
  nano: { contextLength: 64, layers: 4, width: 128, heads: 4, bias: false },
  /** The smallest GPT-2: 124 million parameters with its vocabulary of 50257. */
  gpt2: { contextLength: 1024, layers: 12, width: 768, heads: 12 },
  /** A small Llama, the shape of llama2.c's stories15M: 15 million parameters with its vocabulary of 32000. */
  llama: {
    contextLength: 256,
    layers: 6,
    width: 288,
    heads: 6,
    hiddenSize: 768,
    norm: 'rms',
    position: 'rotary',
    mlp: 'swiglu',
    bias: false,
  },
} as const satisfies Record<string, TransformerPreset>;

/** @throws LabError for a name that is not known, listing those that are. */
export function preset(name: string): TransformerPreset {
  if (!Object.hasOwn(presets, name))
    throw new LabError(`There is no preset '${name}'. Presets: ${Object.keys(presets).join(', ')}.`);
  return presets[name as keyof typeof presets];
}
