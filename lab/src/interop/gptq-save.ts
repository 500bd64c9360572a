/**
 * @file A quantized Transformer → a GPTQ checkpoint, which transformers (with GPTQModel) and `loadPretrained` load.
 */
import { join } from 'node:path';
import { LabError } from '../base/index.ts';
import { fromFloat32, streamSafetensors, type FloatDtype, type LazyTensor } from '../files/index.ts';
import type { Transformer } from '../model/index.ts';
import { Linear } from '../nn/index.ts';
import { QuantizedLayer, QuantizedLinear, unpackMatrix, type QuantizedMatrix } from '../quantize/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { writeGPTQConfig, type GPTQConfig } from './gptq-config.ts';
import { holdsZeros, joinOutputs, packGPTQ, wordsFor, type GPTQFormat } from './gptq-pack.ts';
import { hasParameter, namedWeights, type NamedWeight } from './names.ts';
import type { PretrainedFormat } from './read-config.ts';
import { lazyWeight, saveJSON, saveTokenizer, tokenizerJSON, torchNames } from './save.ts';
import { formatOf, writeConfig } from './write-config.ts';

export interface SaveGPTQOptions {
  /** 'gptq' (v1, zero points less one), which every loader knows, where it can hold the zero points, else 'gptq_v2'. */
  readonly checkpointFormat?: GPTQFormat;
  /** Whose names and config; the one that fits the model unless told. */
  readonly format?: PretrainedFormat;
  readonly tokenizer?: Tokenizer;
  /** How what is not quantized is rounded; 'F32', not at all, unless told. Scales are float16, as the format has it. */
  readonly dtype?: FloatDtype;
  /** Tokens that end a text (default none). */
  readonly stopTokens?: readonly number[];
}

/** The largest float16. */
const LARGEST_SCALE = 65504;

/**
 * Saves a model that `quantizeModel` has quantized by RTN or GPTQ: all linear layers of its blocks, with the same bits and groups.
 *
 * @returns how it was quantized, as the config says it
 * @throws LabError naming what the format cannot hold, before anything is written.
 */
export async function saveGPTQ(
  model: Transformer,
  directory: string,
  { checkpointFormat, format: wanted, tokenizer, dtype = 'F32', stopTokens = [] }: SaveGPTQOptions = {},
): Promise<GPTQConfig> {
  const { config } = model;
  const format = formatOf(config, wanted);
  const layers = quantizedLayers(model);
  const tokenizerFile = tokenizer && tokenizerJSON(tokenizer, config);
  const parameters = model.namedParameters();
  const matrices = new Map<string, QuantizedMatrix>();
  const tensors = new Map<string, LazyTensor>();
  const prefix = format === 'gpt2' ? 'transformer.' : '';
  const weights = namedWeights(format, config).filter(({ paths }) => paths[0] !== 'head.weight' || !config.tiedHead);
  for (const weight of weights) {
    const isThere = hasParameter(config, weight.paths[0]!) || (format === 'gpt2' && weight.name.endsWith('.bias'));
    if (!isThere) continue;
    const name = weight.name.startsWith('lm_head.') ? weight.name : prefix + weight.name;
    const quantized = await joinedMatrix(weight, layers);
    if (!quantized) tensors.set(name, lazyWeight(name, weight, parameters, dtype));
    else matrices.set(name, quantized);
  }
  const quantization = configOf([...matrices.values()], checkpointFormat);
  for (const [name, matrix] of matrices) addQuantized(tensors, name.replace(/\.weight$/, ''), matrix, quantization.format);
  const json = writeGPTQConfig(quantization);
  await streamSafetensors(join(directory, 'model.safetensors'), tensors, { format: 'pt' });
  if (tokenizerFile) await saveTokenizer(directory, tokenizerFile, config);
  await saveJSON(join(directory, 'quantize_config.json'), json);
  const written = writeConfig(config, { format, dtype: torchNames[dtype], stopTokens });
  await saveJSON(join(directory, 'config.json'), { ...written, quantization_config: json });
  return quantization;
}

/** Path → layer, for every linear layer of every block. */
function quantizedLayers(model: Transformer): Map<string, QuantizedLinear> {
  const layers = new Map<string, QuantizedLinear>();
  for (const [path, module] of model.namedModules()) {
    const refuse = (problem: string): never => {
      throw new LabError(`'${path}' ${problem}, which a GPTQ checkpoint cannot hold.`);
    };
    if (module instanceof QuantizedLinear) {
      if (module.inputFactors) refuse('has factors for its inputs (AWQ)');
      if (!path.startsWith('blocks.')) refuse('is quantized but in no block');
      layers.set(path, module);
    } else if (module instanceof QuantizedLayer) refuse('is not on a uniform grid (NF4)');
    else if (module instanceof Linear && path.startsWith('blocks.')) refuse('is not quantized, while others may be');
  }
  return layers;
}

/** The matrix of one tensor of theirs, which may hold several of ours; undefined when it is not quantized. */
async function joinedMatrix({ paths, name }: NamedWeight, layers: ReadonlyMap<string, QuantizedLinear>): Promise<QuantizedMatrix | undefined> {
  const parts: QuantizedMatrix[] = [];
  for (const path of paths) {
    const layer = path.endsWith('.weight') ? layers.get(path.replace(/\.weight$/, '')) : undefined;
    if (!layer) return undefined;
    parts.push(unpackMatrix(await layer.packed()));
  }
  const grouping = parts.map(({ bits, groupSize, groupIndex }) => `${bits} ${groupSize} ${groupIndex?.join() ?? ''}`);
  if (new Set(grouping).size > 1) {
    throw new LabError(`'${name}' holds ${paths.join(', ')} together, so these must have the same bits and groups.`);
  }
  return joinOutputs(parts);
}

function addQuantized(tensors: Map<string, LazyTensor>, name: string, matrix: QuantizedMatrix, format: GPTQFormat): void {
  const { inputs, outputs, bits, groupSize, scales } = matrix;
  const groups = inputs / groupSize;
  const largest = scales.find((scale) => !(Math.abs(scale) <= LARGEST_SCALE));
  if (largest !== undefined) throw new LabError(`'${name}' has a scale of ${largest}, which float16 cannot hold.`);
  try {
    const { qweight, qzeros, scales: turned, g_idx } = packGPTQ(matrix, format);
    tensors.set(`${name}.qweight`, { dtype: 'I32', shape: [wordsFor(inputs, bits), outputs], data: () => qweight });
    tensors.set(`${name}.qzeros`, { dtype: 'I32', shape: [groups, wordsFor(outputs, bits)], data: () => qzeros });
    tensors.set(`${name}.scales`, { dtype: 'F16', shape: [groups, outputs], data: () => fromFloat32(turned, 'F16') });
    tensors.set(`${name}.g_idx`, { dtype: 'I32', shape: [inputs], data: () => g_idx });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new LabError(`'${name}' has no place in a GPTQ checkpoint: ${error.message}.`, { cause: error });
  }
}

/** What the config says of all layers, so it must hold for all. */
function configOf(matrices: readonly QuantizedMatrix[], format: GPTQFormat | undefined): GPTQConfig {
  const [first] = matrices;
  if (!first) throw new LabError('This model has no quantized layers: quantize it first (quantizeModel), or use savePretrained.');
  const { bits, groupSize } = first;
  const isRows = matrices.every((matrix) => matrix.groupSize === matrix.inputs);
  const areAlike = matrices.every((matrix) => matrix.bits === bits && (isRows || matrix.groupSize === groupSize));
  if (!areAlike) throw new LabError('A GPTQ checkpoint has one number of bits and one size of groups for all layers.');
  const middle = 2 ** (bits - 1);
  return {
    bits,
    groupSize: isRows ? -1 : groupSize,
    actOrder: matrices.some(({ groupIndex }) => groupIndex !== null),
    symmetric: matrices.every(({ zeros }) => zeros.every((zero) => zero === middle)),
    format: format ?? (matrices.every(holdsZeros) ? 'gptq' : 'gptq_v2'),
  };
}
