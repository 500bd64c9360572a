/**
 * @file A folder as the PEFT library saves an adapter (or as `savePEFT` does, for methods it lacks) → an adaptation of a model.
 * Everything is checked before the model is changed.
 */
import { join } from 'node:path';
import { readSafetensors } from '../files/index.ts';
import type { Transformer } from '../model/index.ts';
import { adaptBy, type Adapted } from '../peft/adapt.ts';
import { readPEFTConfig, type PEFTType, WEIGHTS_FILE } from './peft-config.ts';
import { ia3Plan } from './peft-load-ia3.ts';
import { loraPlan } from './peft-load-lora.ts';
import { ownPlan } from './peft-load-own.ts';
import { prefixPlan, promptPlan } from './peft-load-prompt.ts';
import type { PEFTSource, Planned } from './peft-source.ts';
import { formatOf } from './write-config.ts';
import type { PretrainedFormat } from './read-config.ts';

export interface LoadPEFTOptions {
  /** What the adaptation is called (default 'default'). */
  readonly name?: string;
  /** Whose names the file uses; those that fit the model unless told. */
  readonly format?: PretrainedFormat;
}

const readers: Readonly<Record<PEFTType, (source: PEFTSource) => Planned>> = {
  LORA: loraPlan,
  IA3: ia3Plan,
  PROMPT_TUNING: promptPlan,
  PREFIX_TUNING: prefixPlan,
  LAB_BITFIT: ownPlan,
  LAB_LAST_LAYERS: ownPlan,
  LAB_HOULSBY: ownPlan,
  LAB_PARALLEL: ownPlan,
  LAB_HYBRID: ownPlan,
};

/**
 * Puts an adapter of the PEFT library into a model: LoRA (also rsLoRA and DoRA), (IA)³, a soft prompt or a prefix; or one that
 * `savePEFT` wrote of a method which that library lacks.
 *
 * @example const adapted = await loadPEFT(model, 'my-adapter');
 * @throws LabError naming what does not fit: a feature that is not known here, a module that the model does not have, a
 *   tensor of another shape, one that is missing or too many; the model is unchanged then.
 */
export async function loadPEFT(
  model: Transformer,
  directory: string,
  { name = 'default', format = formatOf(model.config) }: LoadPEFTOptions = {},
): Promise<Adapted> {
  const { type, fields } = await readPEFTConfig(directory);
  const path = join(directory, WEIGHTS_FILE);
  const { tensors } = await readSafetensors(path);
  const { options, plans } = readers[type]({ model, format, fields, path, tensors });
  return adaptBy(model, name, options, plans);
}
