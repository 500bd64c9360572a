/**
 * @file An adaptation → a folder that the PEFT library loads: adapter_config.json and adapter_model.safetensors.
 */
import { join } from 'node:path';
import { LabError } from '../base/index.ts';
import { writeSafetensors } from '../files/index.ts';
import type { Adapted } from '../peft/index.ts';
import { Prefix, prefixWidth, SoftPrompt } from '../peft/parts.ts';
import { commonConfig, CONFIG_FILE, WEIGHTS_FILE } from './peft-config.ts';
import { stored, type PEFTContent, type PEFTTarget } from './peft-content.ts';
import { ownContent } from './peft-save-own.ts';
import { ia3Content } from './peft-save-ia3.ts';
import { loraContent } from './peft-save-lora.ts';
import type { PretrainedFormat } from './read-config.ts';
import { saveJSON } from './save.ts';
import { formatOf } from './write-config.ts';

export interface SavePEFTOptions {
  /** Which adaptation; the active one unless told. */
  readonly name?: string;
  /** Whose names; those that fit the model unless told. */
  readonly format?: PretrainedFormat;
  /** What the config says of where the model is from: a folder, or a name on the hub (default null). */
  readonly baseModel?: string | null;
}

/**
 * Saves LoRA (also rsLoRA and DoRA), (IA)³, a soft prompt or a prefix for the PEFT library, and for `loadPEFT`. What that
 * library does not have (BitFit, last layers, adapters, hybrids) is saved in the same two files for `loadPEFT` alone, under a
 * `peft_type` of our own (`LAB_BITFIT`), which the PEFT library refuses.
 *
 * @throws LabError for a prefix that PEFT could not hold, before anything is written.
 */
export async function savePEFT(adapted: Adapted, directory: string, options: SavePEFTOptions = {}): Promise<void> {
  const { name = adapted.active, baseModel = null } = options;
  const { model } = adapted;
  const target = { model, adaptation: adapted.get(name), format: formatOf(model.config, options.format) };
  const { type, config, tensors } = await contentOf(target);
  await writeSafetensors(join(directory, WEIGHTS_FILE), tensors, { format: 'pt' });
  await saveJSON(join(directory, CONFIG_FILE), { ...commonConfig(type, baseModel), ...config });
}

function contentOf(target: PEFTTarget): Promise<PEFTContent> {
  const { options } = target.adaptation;
  switch (options.method) {
    case 'lora':
    case 'dora':
      return loraContent(target, options);
    case 'ia3':
      return ia3Content(target);
    case 'prompt':
    case 'prefix':
      return virtualContent(target);
    default:
      return ownContent(target.adaptation, options);
  }
}

async function virtualContent({ model, adaptation }: PEFTTarget): Promise<PEFTContent> {
  const virtual = [...adaptation.modules.values()].find((module) => module instanceof SoftPrompt || module instanceof Prefix)!;
  const { layers, width, heads, keyValueHeads, headSize } = model.config;
  const isPrompt = virtual instanceof SoftPrompt;
  if (!isPrompt && headSize * heads !== width) {
    throw new LabError(
      `PEFT's prefixes need heads · headSize = width; here it is ${heads} · ${headSize}, and the width ${width}.`,
    );
  }
  const config = {
    num_virtual_tokens: virtual.count,
    token_dim: isPrompt ? width : keyValueHeads * headSize,
    num_layers: layers,
    num_attention_heads: isPrompt ? heads : keyValueHeads,
    num_transformer_submodules: 1,
    ...(isPrompt
      ? { prompt_tuning_init: 'RANDOM' }
      : { prefix_projection: false, encoder_hidden_size: prefixWidth(model.config) }),
  };
  const matrix = isPrompt ? virtual.prompt : virtual.matrix();
  const tensors = new Map([['prompt_embeddings', await stored(matrix)]]);
  if (!isPrompt) matrix.dispose();
  return { type: isPrompt ? 'PROMPT_TUNING' : 'PREFIX_TUNING', config, tensors };
}
