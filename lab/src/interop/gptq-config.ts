/**
 * @file How a GPTQ checkpoint was quantized: `quantization_config` in its config.json, and the same in quantize_config.json.
 */
import { join } from 'node:path';
import { LabError } from '../base/index.ts';
import { BIT_WIDTHS, type BitWidth } from '../ops/index.ts';
import { GPTQ_FORMATS, type GPTQFormat } from './gptq-pack.ts';
import { Fields, isObject, readJSONIfThere, type JSONObject } from './json.ts';

export interface GPTQConfig {
  readonly bits: BitWidth;
  /** Inputs in a group; −1: all of an output's. */
  readonly groupSize: number;
  /** Groups are dealt out by act-order, not to neighbours. */
  readonly actOrder: boolean;
  /** Every zero point is 2^(bits − 1). */
  readonly symmetric: boolean;
  readonly format: GPTQFormat;
}

/** In both files, these must not contradict each other. */
const DECISIVE = ['bits', 'group_size', 'checkpoint_format', 'sym', 'desc_act'];

/**
 * How the model in a folder was quantized; undefined when it was not.
 *
 * @param config its config.json
 * @throws LabError for another method than GPTQ, fields that make no sense, or two files that contradict each other.
 */
export async function readGPTQConfig(config: JSONObject, directory: string): Promise<GPTQConfig | undefined> {
  const path = join(directory, 'quantize_config.json');
  const own = await readJSONIfThere(path);
  const inside = config['quantization_config'];
  if (own === undefined && (inside === undefined || inside === null)) return undefined;
  const place = join(directory, 'config.json');
  if (own && isObject(inside)) {
    const differing = DECISIVE.find((field) => field in own && field in inside && own[field] !== inside[field]);
    if (differing !== undefined) {
      throw new LabError(
        `${path} says that "${differing}" is ${JSON.stringify(own[differing])}, ` +
          `${place} that it is ${JSON.stringify(inside[differing])}: one of them is another model's.`,
      );
    }
  }
  const fields = isObject(inside) ? new Fields(config, place).object('quantization_config') : new Fields(own ?? {}, path);
  fields.oneOf('quant_method', ['gptq'], 'gptq');
  fields.count('bits');
  return {
    bits: fields.oneOf<BitWidth>('bits', BIT_WIDTHS, 4),
    groupSize: fields.json['group_size'] === -1 ? -1 : fields.count('group_size'),
    actOrder: fields.boolean('desc_act', false),
    symmetric: fields.boolean('sym', false),
    format: fields.oneOf<GPTQFormat>('checkpoint_format', GPTQ_FORMATS, 'gptq'),
  };
}

/** The other way. What is only said of how it was made is what `quantizeModel` does unless told. */
export function writeGPTQConfig({ bits, groupSize, actOrder, symmetric, format }: GPTQConfig): JSONObject {
  return {
    bits,
    group_size: groupSize,
    damp_percent: 0.01,
    desc_act: actOrder,
    static_groups: false,
    sym: symmetric,
    true_sequential: false,
    model_name_or_path: null,
    model_file_base_name: 'model',
    quant_method: 'gptq',
    checkpoint_format: format,
  };
}
