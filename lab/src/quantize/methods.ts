/**
 * @file The methods behind `quantizeModel`: each turns linear layers that read the same inputs into quantized ones.
 */
import { LabError } from '../base/index.ts';
import type { Linear } from '../nn/index.ts';
import { awq } from './awq.ts';
import { gptq, type GPTQOptions } from './gptq.ts';
import { decodeMatrix, packMatrix, type GroupSize, type QuantizedMatrix } from './matrix.ts';
import { decodeNF4, quantizeNF4 } from './nf4.ts';
import { NF4Linear } from './nf4-linear.ts';
import { prepareHessian } from './prepare-hessian.ts';
import { QuantizedLinear, type QuantizedLayer } from './quantized-linear.ts';
import { roundToNearest } from './rtn.ts';

export const QUANTIZATION_METHODS = ['rtn', 'gptq', 'awq', 'nf4'] as const;
export type QuantizationMethod = (typeof QUANTIZATION_METHODS)[number];

export interface MethodOptions extends Omit<GPTQOptions, 'bits' | 'groupSize' | 'arithmetic'> {
  /** 2, 3, 4 or 8; 4 unless told. NF4 has 4. */
  readonly bits?: GPTQOptions['bits'];
  /** Inputs that share a grid: 'row' (all of an output's) unless told, with NF4 64; 'tensor' with RTN only. */
  readonly groupSize?: GroupSize;
  /** NF4: keep the sizes of blocks in 8 bits (default true). */
  readonly double?: boolean;
}

/** A layer on its way. */
export interface NamedLinear {
  readonly path: string;
  readonly linear: Linear;
}

/** What calibration knows of the inputs that some layers share. */
export interface CalibratedInputs {
  /** [I, I] */
  readonly hessian: Float32Array;
  /** [I] */
  readonly meanSizes: Float32Array;
}

export interface MadeLayer {
  readonly path: string;
  readonly layer: QuantizedLayer;
  /** The weights before and after, [O, I]. */
  readonly weights: Float32Array;
  readonly quantized: Float32Array;
  /** GPTQ: the share of the Hessian's mean diagonal that it took. */
  readonly damping?: number;
  /** AWQ: the power r of the inputs' sizes. */
  readonly power?: number;
  readonly seconds: number;
}

/** Gives the layers one by one as they are done. */
type Method = (
  layers: readonly NamedLinear[],
  options: MethodOptions,
  inputs: CalibratedInputs | null,
) => AsyncGenerator<MadeLayer>;

export const methods: Readonly<Record<QuantizationMethod, Method>> = {
  async *rtn(layers, { bits = 4, ...options }) {
    for (const { path, linear } of layers) {
      yield await timed(path, linear, (weights) => {
        const matrix = roundToNearest(weights, linear, { ...options, bits });
        return { layer: quantizedLinear(matrix, linear), quantized: decodeMatrix(matrix) };
      });
    }
  },
  async *nf4(layers, { groupSize = 64, double = true }) {
    for (const { path, linear } of layers) {
      yield await timed(path, linear, (weights) => {
        const size = groupSize === 'row' ? linear.inputs : Number(groupSize);
        const matrix = quantizeNF4(weights, linear, { groupSize: size, double });
        return { layer: new NF4Linear(matrix, linear.bias), quantized: decodeNF4(matrix) };
      });
    }
  },
  async *gptq(layers, { bits = 4, groupSize = 'row', ...rest }, inputs) {
    const options = { ...rest, bits, groupSize: groupSize as 'row' | number };
    const hessian = await named(layers[0]!.path, () => prepareHessian(inputs!.hessian, options));
    for (const { path, linear } of layers) {
      yield await timed(path, linear, async (weights) => {
        const { matrix, damping } = await gptq(weights, linear, hessian, options);
        return { layer: quantizedLinear(matrix, linear), quantized: decodeMatrix(matrix), damping };
      });
    }
  },
  async *awq(layers, { bits = 4, groupSize = 'row', ...rest }, inputs) {
    const started = performance.now();
    const options = { ...rest, bits, groupSize: groupSize as 'row' | number };
    const weights: Float32Array[] = [];
    for (const { linear } of layers) weights.push(await weightsOf(linear));
    const given = layers.map(({ path, linear: { outputs, inputs: size } }, i) => {
      return { outputs, inputs: size, weights: weights[i]!, clip: !/\.(query|key)$/.test(path) };
    });
    const { scales, matrices, power } = await named(layers[0]!.path, () => awq(given, inputs!, options));
    const inputFactors = scales.map((scale) => 1 / scale);
    for (const [i, { path, linear }] of layers.entries()) {
      const quantized = decodeMatrix(matrices[i]!).map((value, at) => value * inputFactors[at % inputFactors.length]!);
      const layer = quantizedLinear(matrices[i]!, linear, inputFactors);
      const seconds = (performance.now() - started) / 1000 / layers.length;
      yield { path, layer, weights: weights[i]!, quantized, power, seconds };
    }
  },
};

function quantizedLinear(matrix: QuantizedMatrix, { bias }: Linear, inputFactors: Float32Array | null = null): QuantizedLinear {
  return new QuantizedLinear(packMatrix(matrix), { bias, inputFactors });
}

const weightsOf = async ({ weight }: Linear): Promise<Float32Array> => (await weight.data<'float32'>()).slice();

async function timed(
  path: string,
  linear: Linear,
  make: (weights: Float32Array) => Made | Promise<Made>,
): Promise<MadeLayer> {
  const started = performance.now();
  const weights = await weightsOf(linear);
  const made = await named(path, () => make(weights));
  return { path, weights, ...made, seconds: (performance.now() - started) / 1000 };
}

type Made = Pick<MadeLayer, 'layer' | 'quantized' | 'damping'>;

/** An error that says which layer it is about. */
async function named<T>(path: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof LabError || error instanceof RangeError)) throw error;
    throw new LabError(`'${path}' was not quantized, and the model is unchanged: ${error.message}`, { cause: error });
  }
}
