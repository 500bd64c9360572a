/**
 * @file Chapter 09, quantization-aware training: its exercises, and the library's functions in their place.
 */
import { mergeHeads, splitHeads } from '../../attention/index.ts';
import { tf, type Tensor, type Tensor1D, type Tensor2D, type Tensor3D, type Tensor4D } from '../../backend/index.ts';
import { nextTokenDistribution, sampleFrom } from '../../model/index.ts';
import { linear } from '../../ops/index.ts';
import { distillationLoss, fakeQuantize, symmetricCodes, type SymmetricCodes } from '../../quantize/index.ts';
import type { Chapter } from '../exercise.ts';

interface Bits {
  readonly weights: number | null;
  readonly activations: number | null;
}
interface QuantizedCache {
  readonly k: SymmetricCodes;
  readonly v: SymmetricCodes;
}

function fakeQuantLinear(x: Tensor3D, weight: Tensor2D, bias: Tensor1D, { weights, activations }: Bits): Tensor3D {
  const put = <T extends Tensor>(values: T, bits: number | null): T =>
    bits === null ? values : fakeQuantize(values, { bits });
  return linear(put(x, activations), put(weight, weights), bias);
}

async function writeSequence(
  nextLogits: (tokens: number[]) => Promise<Float32Array>,
  first: number,
  length: number,
  greedyLength: number,
  uniform: () => number,
): Promise<number[]> {
  const tokens = [first];
  while (tokens.length < length) {
    const temperature = tokens.length < greedyLength ? 0 : 1;
    const distribution = nextTokenDistribution(await nextLogits([...tokens]), { temperature });
    // With a temperature of 0 there is nothing to draw, and no random number may be used up.
    tokens.push(sampleFrom(distribution, temperature === 0 ? { uniform: () => 0 } : { uniform }));
  }
  return tokens;
}

function integerProduct(x: SymmetricCodes, weight: SymmetricCodes): Tensor {
  const sums = tf.matMul(x.codes as Tensor2D, weight.codes as Tensor2D, false, true);
  return tf.mul(tf.mul(sums, x.scales), tf.transpose(weight.scales));
}

function appendQuantized(cache: QuantizedCache | null, k: Tensor4D, v: Tensor4D, bits: number) {
  const heads = k.shape[1];
  const grown = (kept: SymmetricCodes | undefined, x: Tensor4D): SymmetricCodes => {
    const added = symmetricCodes(mergeHeads(x), bits);
    if (!kept) return added;
    return { codes: tf.concat([kept.codes, added.codes], 1), scales: tf.concat([kept.scales, added.scales], 1) };
  };
  const floats = ({ codes, scales }: SymmetricCodes): Tensor4D => splitHeads(tf.mul<Tensor3D>(codes, scales), heads);
  const longer = { k: grown(cache?.k, k), v: grown(cache?.v, v) };
  return { cache: longer, k: floats(longer.k), v: floats(longer.v) };
}

export const chapter: Chapter = {
  number: 9,
  slug: '09-quantization-aware-training',
  title: 'quantization-aware training',
  exercises: [
    {
      id: '9.1',
      title: 'straight-through',
      names: ['fakeQuantize'],
      difficulty: 2,
      minutes: 20,
      library: { fakeQuantize: (x: Tensor, bits: number) => fakeQuantize(x, { bits }) },
    },
    {
      id: '9.2',
      title: 'fake-quantized linear',
      names: ['fakeQuantLinear'],
      difficulty: 2,
      minutes: 15,
      library: { fakeQuantLinear },
    },
    {
      id: '9.3',
      title: 'self-generated data',
      names: ['writeSequence'],
      difficulty: 2,
      minutes: 20,
      library: { writeSequence },
    },
    {
      id: '9.4',
      title: 'distillation',
      names: ['distillationLoss'],
      difficulty: 2,
      minutes: 15,
      library: { distillationLoss },
    },
    {
      id: '9.5',
      title: 'per-token activations',
      names: ['quantizeRows', 'integerProduct'],
      difficulty: 3,
      minutes: 20,
      library: { quantizeRows: symmetricCodes, integerProduct },
    },
    {
      id: '9.6',
      title: 'a quantized cache',
      names: ['appendQuantized'],
      difficulty: 3,
      minutes: 25,
      library: { appendQuantized },
    },
  ],
};
