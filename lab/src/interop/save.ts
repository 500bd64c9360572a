/**
 * @file A Transformer → a folder that the transformers library loads: config.json, model.safetensors and tokenizer.json.
 */
import { join } from 'node:path';
import type { Variable } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import {
  type FloatDtype,
  fromFloat32,
  type LazyTensor,
  type StoredArray,
  streamSafetensors,
  writeAtomically,
} from '../files/index.ts';
import type { ResolvedTransformerConfig, Transformer } from '../model/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import type { JSONObject } from './json.ts';
import { hasParameter, namedWeights, type NamedWeight } from './names.ts';
import type { PretrainedFormat } from './read-config.ts';
import { formatOf, writeConfig } from './write-config.ts';
import { writeTokenizer } from './write-tokenizer.ts';

export interface SavePretrainedOptions {
  /** Whose names and config; the one that fits the model unless told. */
  readonly format?: PretrainedFormat;
  readonly tokenizer?: Tokenizer;
  /** How the weights are rounded; 'F32', not at all, unless told. */
  readonly dtype?: FloatDtype;
  /** Tokens that end a text (default none). */
  readonly stopTokens?: readonly number[];
}

/** What PyTorch calls the types. */
export const torchNames = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' } as const;

/**
 * Saves a model for the transformers library, and for `loadPretrained`. Biases that GPT-2 has and the model has not are written
 * as zeros.
 *
 * @returns the format
 * @throws LabError when no format can hold the model or the tokenizer, before anything is written.
 */
export async function savePretrained(
  model: Transformer,
  directory: string,
  { format: wanted, tokenizer, dtype = 'F32', stopTokens = [] }: SavePretrainedOptions = {},
): Promise<PretrainedFormat> {
  const { config } = model;
  const format = formatOf(config, wanted);
  const parameters = model.namedParameters();
  const weights = namedWeights(format, config).filter(({ paths }) => paths[0] !== 'head.weight' || !config.tiedHead);
  const written = weights.filter(
    ({ paths, name }) => hasParameter(config, paths[0]!) || (format === 'gpt2' && name.endsWith('.bias')),
  );
  checkParameters(parameters, written);
  const tokenizerFile = tokenizer && tokenizerJSON(tokenizer, config);
  const prefix = format === 'gpt2' ? 'transformer.' : '';
  const tensors = written.map((weight): [string, LazyTensor] => {
    const name = weight.name.startsWith('lm_head.') ? weight.name : prefix + weight.name;
    return [name, lazyWeight(name, weight, parameters, dtype)];
  });
  await streamSafetensors(join(directory, 'model.safetensors'), new Map(tensors), { format: 'pt' });
  if (tokenizerFile) await saveTokenizer(directory, tokenizerFile, config);
  await saveJSON(join(directory, 'config.json'), writeConfig(config, { format, dtype: torchNames[dtype], stopTokens }));
  return format;
}

export const saveJSON = (path: string, json: JSONObject): Promise<void> =>
  writeAtomically(path, [Buffer.from(`${JSON.stringify(json, null, 2)}\n`)]);

/**
 * A tokenizer as tokenizer.json.
 *
 * @throws LabError when it is not the model's, or no such file can hold it.
 */
export function tokenizerJSON(tokenizer: Tokenizer, { vocabSize }: ResolvedTransformerConfig): JSONObject {
  if (tokenizer.vocabSize <= vocabSize) return writeTokenizer(tokenizer);
  throw new LabError(`The tokenizer has ${tokenizer.vocabSize} tokens, the model only ${vocabSize}: it is another model's.`);
}

/** Writes tokenizer.json and what the library wants to know beside it. */
export async function saveTokenizer(
  directory: string,
  file: JSONObject,
  { contextLength }: ResolvedTransformerConfig,
): Promise<void> {
  await saveJSON(join(directory, 'tokenizer.json'), file);
  await saveJSON(join(directory, 'tokenizer_config.json'), {
    tokenizer_class: 'PreTrainedTokenizerFast',
    model_max_length: contextLength,
    clean_up_tokenization_spaces: false,
  });
}

/** One tensor of theirs, fetched and rounded when its turn to be written comes. */
export function lazyWeight(
  name: string,
  weight: NamedWeight,
  parameters: ReadonlyMap<string, Variable>,
  dtype: FloatDtype,
): LazyTensor {
  const data = async (): Promise<StoredArray> => rounded(name, await valuesOf(weight, parameters), dtype);
  return { dtype, shape: weight.shape, data };
}

/** An adapter or a quantized layer has other parameters than the table knows: what it computes would be lost. */
function checkParameters(parameters: ReadonlyMap<string, Variable>, weights: readonly NamedWeight[]): void {
  const known = new Set(weights.flatMap(({ paths }) => paths));
  const stranger = [...parameters.keys()].find((path) => !known.has(path));
  if (stranger === undefined) return;
  throw new LabError(`'${stranger}' has no place in such a file. Merge adapters and undo replaced layers before saving.`);
}

/** The values of one tensor of theirs; zeros for what the model does not have. */
async function valuesOf(
  { shape, paths, turned }: NamedWeight,
  parameters: ReadonlyMap<string, Variable>,
): Promise<Float32Array> {
  const size = shape.reduce((product, n) => product * n, 1);
  const parts: (Float32Array | undefined)[] = [];
  for (const path of paths) parts.push((await parameters.get(path)?.data()) as Float32Array | undefined);
  if (parts.length === 1 && !turned) return parts[0] ?? new Float32Array(size);
  const values = new Float32Array(size);
  if (!turned) {
    parts.forEach((part, i) => part && values.set(part, (i * size) / parts.length));
    return values;
  }
  const [rows, columns] = shape as [number, number];
  const count = columns / parts.length;
  parts.forEach((part, i) => {
    for (let c = 0; part && c < count; c++) {
      for (let r = 0; r < rows; r++) values[r * columns + i * count + c] = part[c * rows + r]!;
    }
  });
  return values;
}

function rounded(name: string, values: Float32Array, dtype: FloatDtype): StoredArray {
  const limit = dtype === 'F16' ? 65520 : Infinity;
  const bad = values.find((value) => !(Math.abs(value) < limit));
  if (bad === undefined) return fromFloat32(values, dtype);
  const advice = Number.isFinite(bad) ? `is too large for ${dtype}; BF16 can hold it` : 'is not a finite number';
  throw new LabError(`The model was not saved: in '${name}' ${bad} ${advice}.`);
}
