/**
 * @file adapter_config.json: what an adapter of the PEFT library is, and a refusal of everything that is not known here.
 */
import { join } from 'node:path';
import { LabError } from '../base/index.ts';
import { isOwnType, OWN_TYPES, type OwnType } from './peft-own-config.ts';
import { Fields, isObject, readJSON, type JSONObject } from './json.ts';

export const CONFIG_FILE = 'adapter_config.json';
export const WEIGHTS_FILE = 'adapter_model.safetensors';

export const PEFT_TYPES = ['LORA', 'IA3', 'PROMPT_TUNING', 'PREFIX_TUNING'] as const;
/** The library's own, and ours for what it lacks. */
export type PEFTType = (typeof PEFT_TYPES)[number] | OwnType;

/** Features that change what is computed: each must be off. */
const UNKNOWN = [
  'alora_invocation_tokens',
  'arrow_config',
  'kasa_config',
  'layer_replication',
  'lora_bias',
  'modules_to_save',
  'monteclora_config',
  'target_parameters',
  'trainable_token_indices',
  'use_bdlora',
  'use_qalora',
  'velora_config',
];

/** Whether a field says that something is not used. */
function isOff(value: unknown): boolean {
  if (isObject(value)) return Object.keys(value).length === 0;
  return value === undefined || value === null || value === false || (Array.isArray(value) && value.length === 0);
}

/** @throws LabError when there is none, or it says what is not known here. */
export async function readPEFTConfig(directory: string): Promise<{ readonly type: PEFTType; readonly fields: Fields }> {
  const path = join(directory, CONFIG_FILE);
  const json = await readJSON(path);
  const fields = new Fields(json, path);
  const type = fields.oneOf<PEFTType>('peft_type', [...PEFT_TYPES, ...OWN_TYPES], '' as PEFTType);
  if (isOwnType(type)) return { type, fields };
  fields.oneOf('bias', ['none'], 'none');
  for (const name of UNKNOWN) {
    if (isOff(json[name])) continue;
    throw new LabError(`${path} asks for "${name}": ${JSON.stringify(json[name])}, which is not known here.`);
  }
  return { type, fields };
}

/**
 * A number for each module: the first pattern that fits the end of the name, as PEFT reads `rank_pattern` and `alpha_pattern`.
 */
export function byPattern(patterns: unknown, module: string, fallback: number): number {
  for (const [pattern, value] of Object.entries(isObject(patterns) ? patterns : {})) {
    if (new RegExp(`^(.*\\.)?(${pattern})$`).test(module)) return Number(value);
  }
  return fallback;
}

/** What every adapter_config.json says. */
export function commonConfig(type: PEFTType, baseModel: string | null): JSONObject {
  return {
    peft_type: type,
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: baseModel,
    inference_mode: true,
    revision: null,
    auto_mapping: null,
  };
}
