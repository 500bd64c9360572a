/**
 * @file The product with quantized weights: they stay packed in memory, and become floats only where they are multiplied, in
 * registers. Generating one token reads every weight once, so fewer bytes are less time. Frantar et al. 2022 (GPTQ), section 4.
 *
 * Shapes: N rows (any leading axes multiplied), I inputs, O outputs; places are inputs in packed order, with padding.
 */
import { tf, type Tensor, type Tensor1D, type Tensor2D } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { fusedKernel } from '../fused.ts';
import { withGradient } from '../with-gradient.ts';
import { packedLayout, type PackedLayout } from './layout.ts';
import type { PackedWeights } from './packing.ts';
import { dequantizePlaces } from './reference.ts';
import { rowsOf, sumOverRows } from '../rows.ts';
import './wasm.ts';
import './webgpu.ts';

export { BIT_WIDTHS, packedLayout, type BitWidth, type PackedLayout } from './layout.ts';
export { packWeights, unpackWeights, type PackedWeights, type PackOptions, type UnpackedWeights } from './packing.ts';

/** Packed weights on the device; layout.ts describes them. */
export interface QuantizedWeights {
  readonly layout: PackedLayout;
  /** [O, words in a row] int32 */
  readonly words: Tensor2D;
  /** [O, groups] */
  readonly scales: Tensor2D;
  /** [O, groups], or null where all are 2^(bits − 1) */
  readonly zeros: Tensor2D | null;
  /** [I] int32: the input at each place, and the place of each input; null where they are the same. */
  readonly order: { readonly inputs: Tensor1D; readonly places: Tensor1D } | null;
}

/** Puts packed weights on the device. The tensors are yours to dispose of: `disposeQuantized`. */
export function quantizedWeights(packed: PackedWeights): QuantizedWeights {
  const layout = packedLayout(packed);
  const { outputs, groups, wordsInRow } = layout;
  const { words, scales, zeros, order } = packed;
  const expected = { words: outputs * wordsInRow, scales: outputs * groups, zeros: outputs * groups };
  for (const [name, values] of Object.entries({ words, scales, zeros })) {
    const size = expected[name as keyof typeof expected];
    invariant(!values || values.length === size, () => `quantizedWeights: there must be ${size} ${name}, got ${values!.length}`);
  }
  return {
    layout,
    words: tf.tensor2d(words, [outputs, wordsInRow], 'int32'),
    scales: tf.tensor2d(scales, [outputs, groups]),
    zeros: zeros && tf.tensor2d(zeros, [outputs, groups]),
    order: order && { inputs: tf.tensor1d(order, 'int32'), places: tf.tensor1d(inverse(order), 'int32') },
  };
}

export function disposeQuantized({ words, scales, zeros, order }: QuantizedWeights): void {
  tf.dispose([words, scales, zeros, order?.inputs, order?.places].filter((tensor) => tensor instanceof tf.Tensor));
}

/**
 * x dequantize(weights)ᵀ + b.
 *
 * dx = dy dequantize(weights), db = Σ dy. The weights have no gradient: they are frozen (QLoRA trains what stands beside them).
 *
 * @param x [..., I]
 * @param bias [O], or null for none
 * @returns [..., O]
 * @throws RangeError when the sizes do not fit each other.
 */
export function quantizedMatmul<T extends Tensor>(x: T, weights: QuantizedWeights, bias: Tensor1D | null = null): T {
  const { inputs, outputs } = weights.layout;
  invariant(
    x.shape.at(-1) === inputs,
    () => `quantizedMatmul: the last axis of x [${x.shape}] must be ${inputs}, the inputs of the weights`,
  );
  invariant(
    !bias || (bias.rank === 1 && bias.size === outputs),
    () => `quantizedMatmul: there are ${outputs} outputs, so bias must be [${outputs}], got [${bias!.shape}]`,
  );
  return withGradient<T>(bias ? [x, bias] : [x], () => ({
    value: tf.reshape(forward(toPlaces(rowsOf(x), weights), weights, bias), [...x.shape.slice(0, -1), outputs]) as Tensor as T,
    gradient: (dy) => [
      () => tf.reshape(fromPlaces(backward(rowsOf(dy), weights), weights), x.shape),
      ...(bias ? [() => sumOverRows(dy)] : []),
    ],
  }));
}

/** `quantizedMatmul` by way of the floats, differentiated by the tape: what it is tested against. */
export function quantizedMatmulReference(x: Tensor, weights: QuantizedWeights, bias: Tensor1D | null = null): Tensor {
  return tf.tidy(() => {
    const product = tf.matMul(rowsOf(x), dequantize(weights), false, true);
    return tf.reshape(bias ? tf.add(product, bias) : product, [...x.shape.slice(0, -1), weights.layout.outputs]);
  });
}

/** The weights as floats, the inputs in their own order: [O, I]. */
export function dequantize(weights: QuantizedWeights): Tensor2D {
  return tf.tidy(() => fromPlaces(floats(weights), weights));
}

/** [O, places] */
function floats(weights: QuantizedWeights): Tensor2D {
  const fused = fusedKernel('dequantize');
  return fused ? (fused(...kernelInputs(weights))[0] as Tensor2D) : dequantizePlaces(weights);
}

/** Off the tape: x [N, places] → [N, O]. */
function forward(x: Tensor2D, weights: QuantizedWeights, bias: Tensor1D | null): Tensor2D {
  const fused = fusedKernel('quantizedMatmul');
  const [tensors, attributes] = kernelInputs(weights);
  if (fused) return fused({ ...tensors, x, bias }, attributes)[0] as Tensor2D;
  const product = tf.matMul<Tensor2D>(x, floats(weights), false, true);
  return bias ? tf.add(product, bias) : product;
}

/** Off the tape: dy [N, O] → [N, places]. */
function backward(dy: Tensor2D, weights: QuantizedWeights): Tensor2D {
  const fused = fusedKernel('quantizedMatmulGradient');
  const [tensors, attributes] = kernelInputs(weights);
  if (fused) return fused({ ...tensors, dy }, attributes)[0] as Tensor2D;
  return tf.matMul(dy, floats(weights));
}

const kernelInputs = ({ layout, words, scales, zeros }: QuantizedWeights) => [{ words, scales, zeros }, { layout }] as const;

/**
 * [N, I] → [N, places]: sorted by group, each group and then the row filled up with zeros. The same tensor where that changes
 * nothing.
 */
function toPlaces(x: Tensor2D, { layout, order }: QuantizedWeights): Tensor2D {
  const { groups, groupSize, paddedGroup, places } = layout;
  let padded = order ? tf.gather(x, order.inputs, 1) : x;
  if (paddedGroup > groupSize) {
    const byGroup = tf.reshape(padded, [-1, groups, groupSize]);
    padded = tf.reshape(tf.pad(byGroup, [[0, 0], [0, 0], [0, paddedGroup - groupSize]]), [-1, groups * paddedGroup]);
  }
  const rest = places - groups * paddedGroup;
  return rest > 0 ? tf.pad(padded, [[0, 0], [0, rest]]) : padded;
}

/** The other way: [N, places] → [N, I]. */
function fromPlaces(x: Tensor2D, { layout, order }: QuantizedWeights): Tensor2D {
  const { inputs, groups, groupSize, paddedGroup, places } = layout;
  const rows = x.shape[0];
  const inGroups = groups * paddedGroup;
  let cut = places > inGroups ? tf.slice(x, [0, 0], [rows, inGroups]) : x;
  if (paddedGroup > groupSize) {
    const byGroup = tf.reshape(cut, [rows, groups, paddedGroup]);
    cut = tf.reshape(tf.slice(byGroup, [0, 0, 0], [rows, groups, groupSize]), [rows, inputs]);
  }
  return order ? tf.gather(cut, order.places, 1) : cut;
}

function inverse(order: Int32Array): Int32Array {
  const places = new Int32Array(order.length);
  for (const [place, input] of order.entries()) places[input] = place;
  return places;
}
