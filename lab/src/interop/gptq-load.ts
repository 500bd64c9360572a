/**
 * @file The quantized layers of a GPTQ checkpoint: which tensors they are, and from the file into the model, packed all the
 * way.
 */
import { LabError, type Interruption } from '../base/index.ts';
import { storedArray, toFloat32, type StoredDtype, type TensorEntry } from '../files/index.ts';
import type { ResolvedTransformerConfig, Transformer } from '../model/index.ts';
import type { Linear } from '../nn/index.ts';
import { packMatrix, QuantizedLinear, type QuantizedMatrix } from '../quantize/index.ts';
import type { GPTQConfig } from './gptq-config.ts';
import { splitOutputs, unpackGPTQ, wordsFor } from './gptq-pack.ts';
import { matchWeights, type Matched } from './match.ts';
import { namedWeights, type NamedWeight } from './names.ts';
import type { PretrainedFormat } from './read-config.ts';
import type { WeightFiles } from './weight-files.ts';

/** A quantized weight of a checkpoint, in four tensors, and where it goes. */
export interface GPTQWeight {
  /** Without what follows the last dot: `model.layers.0.mlp.up_proj`. */
  readonly name: string;
  /** Of ours; several have equal parts of the outputs. */
  readonly paths: readonly string[];
  readonly outputs: number;
  readonly inputs: number;
  readonly groupSize: number;
  readonly hasIndex: boolean;
}

export interface GPTQMatched extends Matched {
  readonly quantized: readonly GPTQWeight[];
}

const parts = ['qweight', 'qzeros', 'scales', 'g_idx'] as const;

/**
 * Like `matchWeights`, for a checkpoint whose linear layers are quantized, all or some.
 *
 * @throws LabError that names every tensor which is unknown, missing, or of another shape or type than the configs say.
 */
export function matchGPTQ(
  tensors: ReadonlyMap<string, TensorEntry>,
  format: PretrainedFormat,
  config: ResolvedTransformerConfig,
  { source, quantization }: { readonly source: string; readonly quantization: GPTQConfig },
): GPTQMatched {
  const prefix = format === 'gpt2' && [...tensors.keys()].some((name) => name.startsWith('transformer.')) ? 'transformer.' : '';
  const plain = new Map(tensors);
  const quantized: GPTQWeight[] = [];
  for (const weight of config.layers > tensors.size ? [] : namedWeights(format, config)) {
    const name = prefix + weight.name.replace(/\.weight$/, '');
    if (!weight.name.endsWith('.weight') || !parts.slice(0, 3).some((part) => tensors.has(`${name}.${part}`))) continue;
    quantized.push(checked(name, weight, tensors, source, quantization));
    for (const part of parts) plain.delete(`${name}.${part}`);
    // In its place, for the account of all names, what it stands for.
    plain.set(`${name}.weight`, { dtype: 'F32', shape: weight.shape, bytes: 0 });
  }
  if (quantized.length === 0) {
    throw new LabError(`${source} is quantized, says its config, but has no layer with qweight, qzeros and scales.`);
  }
  const matched = matchWeights(plain, format, config, source);
  const names = new Set(quantized.map(({ name }) => `${name}.weight`));
  return { ...matched, weights: matched.weights.filter(({ name }) => !names.has(name)), quantized };
}

function checked(
  name: string,
  { shape, paths, turned }: NamedWeight,
  tensors: ReadonlyMap<string, TensorEntry>,
  source: string,
  { bits, groupSize: given }: GPTQConfig,
): GPTQWeight {
  const [inputs, outputs] = (turned ? shape : shape.toReversed()) as [number, number];
  const groupSize = given === -1 ? inputs : given;
  const refuse = (problem: string): never => {
    throw new LabError(`${source}: '${name}' ${problem}.`);
  };
  if (inputs % groupSize !== 0) refuse(`has ${inputs} inputs, which groups of ${groupSize} do not divide`);
  const groups = inputs / groupSize;
  let words: [number, number];
  try {
    words = [wordsFor(inputs, bits), wordsFor(outputs, bits)];
  } catch (error) {
    return refuse(`cannot be: ${(error as Error).message}`);
  }
  const expected = { qweight: [words[0], outputs], qzeros: [groups, words[1]], scales: [groups, outputs], g_idx: [inputs] };
  for (const part of parts) {
    const tensor = tensors.get(`${name}.${part}`);
    if (!tensor && part === 'g_idx') continue;
    if (!tensor) return refuse(`lacks ${part}`);
    const wanted = expected[part];
    if (tensor.shape.join() !== wanted.join()) {
      const [found, right] = [tensor.shape, wanted].map((sizes) => `[${sizes.join(', ')}]`);
      refuse(`has ${part} ${found}, but with ${bits} bits and groups of ${groupSize} it is ${right}`);
    }
    const types: readonly StoredDtype[] = part === 'scales' ? ['F16', 'BF16', 'F32'] : ['I32'];
    if (!types.includes(tensor.dtype)) refuse(`has ${part} of type ${tensor.dtype}, not ${types.join(' or ')}`);
  }
  return { name, paths, outputs, inputs, groupSize, hasIndex: tensors.has(`${name}.g_idx`) };
}

/**
 * Puts quantized layers where the model has linear ones.
 *
 * @throws LabError naming the layer when its groups or scales make no sense, or it is interrupted.
 */
export async function readGPTQWeights(
  files: WeightFiles,
  { quantized }: GPTQMatched,
  model: Transformer,
  { quantization, signal }: { readonly quantization: GPTQConfig; readonly signal: Interruption },
): Promise<void> {
  for (const weight of quantized) {
    const matrix = matrixOf(files, weight, quantization);
    for (const [i, part] of splitOutputs(matrix, weight.paths.length).entries()) {
      const packed = packedOf(part, weight.name);
      model.replace(weight.paths[i]!.replace(/\.weight$/, ''), (old) => {
        const { weight: floats, bias } = old as Linear;
        floats.dispose();
        return new QuantizedLinear(packed, { bias });
      });
    }
    await signal.breathe();
    if (signal.stopped) throw new LabError('Loading was interrupted.');
  }
}

function matrixOf(files: WeightFiles, weight: GPTQWeight, { bits, symmetric, format }: GPTQConfig): QuantizedMatrix {
  const { name, inputs, groupSize, hasIndex } = weight;
  const read = (part: string): Float32Array | Int32Array => {
    const { dtype, shape, bytes } = files.tensors.get(`${name}.${part}`)!;
    const data = new Uint8Array(bytes);
    files.readInto(`${name}.${part}`, data);
    const values = storedArray(dtype, data);
    return dtype === 'I32' ? (values as Int32Array) : toFloat32({ dtype, shape, data: values });
  };
  const arrays = {
    qweight: read('qweight') as Int32Array,
    qzeros: read('qzeros') as Int32Array,
    scales: read('scales') as Float32Array,
    g_idx: hasIndex
      ? (read('g_idx') as Int32Array)
      : Int32Array.from({ length: inputs }, (_, input) => Math.floor(input / groupSize)),
  };
  const matrix = unpackGPTQ(arrays, { ...weight, bits }, format);
  const middle = 2 ** (bits - 1);
  const stray = symmetric ? matrix.zeros.find((zero) => zero !== middle) : undefined;
  if (stray === undefined) return matrix;
  throw new LabError(
    `'${name}' has a zero point of ${stray}, but symmetric weights ("sym": true) of ${bits} bits have ${middle}. ` +
      `One off means that "checkpoint_format" is not "${format}": gptq stores zero − 1, gptq_v2 the zero.`,
  );
}

function packedOf(matrix: QuantizedMatrix, name: string): ReturnType<typeof packMatrix> {
  try {
    return packMatrix(matrix);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new LabError(`'${name}' is damaged: ${error.message}`, { cause: error });
  }
}
