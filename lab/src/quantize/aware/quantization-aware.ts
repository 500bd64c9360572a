/**
 * @file A model made aware of its later grid: the linear layers of attention and MLP become `FakeQuantLinear`; embeddings,
 * norms and the head stay as they are. Liu et al. 2023 (LLM-QAT), section 3.2.
 */
import { LabError } from '../../base/index.ts';
import { Linear, matchesPath, type Module } from '../../nn/index.ts';
import { checkAwareBits } from './fake-quantize.ts';
import { FakeQuantLinear, type FakeQuantizer } from './fake-quant-linear.ts';

/** W-A-KV, as in "4-8-4"; null or left out: floats. */
export interface AwareBits {
  /** Of weights, per output channel. */
  readonly weights?: number | null;
  /** Of what goes into linear layers, per token. */
  readonly activations?: number | null;
  /** Of keys and values, per token: what a cache will keep. */
  readonly keyValues?: number | null;
}

export interface QuantizationAwareOptions extends AwareBits {
  /** Which linear layers: a pattern as in `model.replace` (default 'blocks.**'). */
  readonly layers?: string;
  /** No gradient where |x| is this or more (default Infinity; LLM-QAT's code: 2). */
  readonly gradientLimit?: number;
  /** Puts numbers on their grid; `fakeQuantize` unless told. */
  readonly quantizer?: FakeQuantizer;
}

/** Linear layers whose outputs go into the cache. */
export const KEYS_AND_VALUES = /(^|\.)attention\.(key|value)$/;

/**
 * Replaces linear layers, in place; the parameters stay the same variables under the same paths. Called again, it changes the
 * bits.
 *
 * @returns the paths
 * @throws LabError when there is no linear layer to replace; RangeError for bits out of range.
 */
export function quantizationAware(model: Module, options: QuantizationAwareOptions): string[] {
  const { weights = null, activations = null, keyValues = null, layers = 'blocks.**', gradientLimit, quantizer } = options;
  for (const [name, bits] of Object.entries({ weights, activations, keyValues })) {
    if (bits !== null) checkAwareBits(`quantizationAware: ${name}`, bits);
  }
  const paths = [...model.namedModules()].flatMap(([path, module]) =>
    matchesPath(layers, path) && isLinear(module) ? path : [],
  );
  if (paths.length === 0) throw new LabError(`quantizationAware: there is no Linear layer at '${layers}'.`);
  for (const path of paths) {
    const settings = { weights, activations, outputs: KEYS_AND_VALUES.test(path) ? keyValues : null, gradientLimit, quantizer };
    const layer = model.get(path) as Linear | FakeQuantLinear;
    if (layer instanceof FakeQuantLinear) layer.settings = settings;
    else model.replace(path, () => new FakeQuantLinear(layer, settings));
  }
  return paths;
}

/** A `Linear` itself, or one that was replaced before. */
function isLinear(module: Module): module is Linear | FakeQuantLinear {
  return module.constructor === Linear || module instanceof FakeQuantLinear;
}
