/**
 * @file After the training: the float weights behind the grid are thrown away, and the codes are packed. The layers compute
 * what they computed in training.
 */
import { tf, type Tensor } from '../../backend/index.ts';
import { LabError } from '../../base/index.ts';
import { Layer, type Module } from '../../nn/index.ts';
import { BIT_WIDTHS, type BitWidth } from '../../ops/index.ts';
import { packMatrix } from '../matrix.ts';
import { QuantizedLayer, QuantizedLinear } from '../quantized-linear.ts';
import { fakeQuantize, symmetricCodes } from './fake-quantize.ts';
import { FakeQuantLinear, type LayerBits } from './fake-quant-linear.ts';
import { KEYS_AND_VALUES, type AwareBits } from './quantization-aware.ts';

/** A layer with packed weights, whose inputs and outputs are put on a grid token by token. */
export class PackedAwareLinear extends Layer {
  readonly inner: QuantizedLayer;
  readonly activations: number | null;
  readonly outputs: number | null;

  constructor(inner: QuantizedLayer, { activations, outputs }: Pick<LayerBits, 'activations' | 'outputs'>) {
    super();
    this.inner = inner;
    this.activations = activations;
    this.outputs = outputs;
  }

  /**
   * @param x [..., inputs]
   * @returns [..., outputs]
   */
  override forward<T extends Tensor>(x: T): T {
    const put = (values: T, bits: number | null): T => (bits === null ? values : fakeQuantize(values, { bits }));
    return tf.tidy(() => put(this.inner.forward(put(x, this.activations)), this.outputs));
  }
}

/**
 * Packs the weights of every `FakeQuantLinear`, in place, and frees their floats; a layer whose inputs and outputs stay floats
 * becomes a plain `QuantizedLinear`.
 *
 * @returns the paths
 * @throws LabError when there is none, or when one has weights of a width that cannot be packed; the model is unchanged then.
 */
export async function packQuantizationAware(model: Module): Promise<string[]> {
  const layers = [...model.namedModules()].filter(
    (entry): entry is [string, FakeQuantLinear] => entry[1] instanceof FakeQuantLinear,
  );
  if (layers.length === 0)
    throw new LabError('packQuantizationAware: the model has no FakeQuantLinear; call quantizationAware first.');
  for (const [path, { settings }] of layers) {
    if (BIT_WIDTHS.includes(settings.weights as BitWidth)) continue;
    const given = settings.weights === null ? 'are floats' : `have ${settings.weights} bits`;
    throw new LabError(`The weights of '${path}' ${given}; those of ${BIT_WIDTHS.join(', ')} bits can be packed.`);
  }
  const packed = new Map<string, QuantizedLinear>();
  for (const [path, layer] of layers) packed.set(path, await packedLinear(layer));
  for (const [path, { settings, weight }] of layers) {
    const { activations, outputs } = settings;
    const inner = packed.get(path)!;
    model.replace(path, () => (activations === null && outputs === null ? inner : new PackedAwareLinear(inner, settings)));
    weight.dispose();
  }
  return layers.map(([path]) => path);
}

/**
 * Puts what goes into packed layers, and the keys and values that come out of some, on a grid of each token's own: what GPTQ
 * and the others leave as floats. In place.
 *
 * @returns the paths
 * @throws LabError when no layer of the model is quantized.
 */
export function quantizeActivations(
  model: Module,
  { activations = null, keyValues = null }: Omit<AwareBits, 'weights'>,
): string[] {
  const paths = [...model.namedModules()].flatMap(([path, module]) => (module instanceof QuantizedLayer ? path : []));
  if (paths.length === 0)
    throw new LabError('quantizeActivations: no layer of this model is quantized; call quantizeModel first.');
  for (const path of paths) {
    const outputs = KEYS_AND_VALUES.test(path) ? keyValues : null;
    model.replace(path, (inner) => new PackedAwareLinear(inner as QuantizedLayer, { activations, outputs }));
  }
  return paths;
}

/** The codes as the device rounds them, so that not one of them differs from those of the training. */
async function packedLinear({ weight, bias, settings, outputs, inputs }: FakeQuantLinear): Promise<QuantizedLinear> {
  const bits = settings.weights as BitWidth;
  const middle = 2 ** (bits - 1);
  const { codes, scales } = symmetricCodes(weight, bits);
  try {
    const [rounded, steps] = [await codes.data<'float32'>(), await scales.data<'float32'>()];
    return new QuantizedLinear(
      packMatrix({
        outputs,
        inputs,
        bits,
        groupSize: inputs,
        codes: Uint8Array.from(rounded, (code) => code + middle),
        scales: steps.slice(),
        zeros: new Float32Array(outputs).fill(middle),
        groupIndex: null,
      }),
      { bias },
    );
  } finally {
    tf.dispose([codes, scales]);
  }
}
