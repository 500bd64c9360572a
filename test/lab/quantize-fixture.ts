/** @file The outputs of the GPTQ authors' code (test/oracle/gptq_fixtures.py), and random layers with inputs that go together. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readSafetensors, toFloat32, type BitWidth, type Random } from 'lab';

export interface GPTQCase {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly bits: BitWidth;
  readonly sym: boolean;
  /** −1: a row is a group. */
  readonly group: number;
  readonly act: boolean;
  readonly static?: boolean;
  readonly mse?: boolean;
  readonly relative_output_error_rtn: number;
  readonly relative_output_error_gptq: number;
}

const folder = fileURLToPath(new URL('../fixtures/gptq/', import.meta.url));

export const gptqCases = JSON.parse(readFileSync(`${folder}cases.json`, 'utf8')) as readonly GPTQCase[];

export async function gptqCase({ name, rows, cols, bits, sym, group, act, mse, static: fixed }: GPTQCase) {
  const { tensors } = await readSafetensors(`${folder}${name}.safetensors`);
  const values = (key: string): Float32Array => toFloat32(tensors.get(key)!);
  const inputs = tensors.get('inputs');
  return {
    shape: { outputs: rows, inputs: cols },
    options: {
      bits,
      symmetric: sym,
      search: mse ? 'mse' : 'range',
      groupSize: group < 0 ? 'row' : group,
      actOrder: act,
      staticGroups: fixed ?? false,
    },
    weight: values('weight'),
    hessian: values('hessian'),
    rtn: values('rtn'),
    gptq: values('gptq'),
    inputs: inputs && toFloat32(inputs),
  } as const;
}

/** Inputs [tokens, inputs] that go together, each a mixture of all, some of them much larger than others. */
export function correlatedInputs(random: Random, tokens: number, inputs: number): Float32Array {
  const mixing = random.normals(inputs * inputs, 1 / Math.sqrt(inputs));
  const sizes = Float32Array.from({ length: inputs }, (_, i) => (i % 7 === 3 ? 4 : 1));
  const x = new Float32Array(tokens * inputs);
  for (let t = 0; t < tokens; t++) {
    const sources = random.normals(inputs);
    for (let i = 0; i < inputs; i++) {
      let sum = 0.3 * sources[i]!;
      for (let j = 0; j < inputs; j++) sum += mixing[i * inputs + j]! * sources[j]!;
      x[t * inputs + i] = sum * sizes[i]!;
    }
  }
  return x;
}

/** 2 XᵀX / tokens in double precision. */
export function hessianOf(x: Float32Array, inputs: number): Float64Array {
  const tokens = x.length / inputs;
  const H = new Float64Array(inputs * inputs);
  for (let t = 0; t < tokens; t++) {
    for (let i = 0; i < inputs; i++) {
      for (let j = 0; j < inputs; j++) H[i * inputs + j]! += (2 * x[t * inputs + i]! * x[t * inputs + j]!) / tokens;
    }
  }
  return H;
}
