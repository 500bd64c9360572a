/** @file Packed weights back to floats in plain tensor operations: what a backend without kernels for them runs. */
import { tf, type Tensor, type Tensor2D } from '../../backend/index.ts';
import type { QuantizedWeights } from './index.ts';

/** Bits shift … shift + bits − 1 of every word, as floats. Not on webgpu, where integers pass through float32. */
function bitsOf(words: Tensor, shift: number, bits: number): Tensor {
  if (!tf.getKernel('BitwiseAnd', tf.getBackend())) return bitsByDivision(words, shift, bits);
  const mask = tf.fill(words.shape, ((2 ** bits - 1) << shift) | 0, 'int32');
  const fields = tf.mul(tf.cast(tf.bitwiseAnd(words, mask), 'float32'), 2 ** -shift);
  // With the highest bit set a word is negative, 2^32 too small.
  return shift + bits < 32 ? fields : tf.where(tf.less(fields, 0), tf.add(fields, 2 ** bits), fields);
}

/** The same on tensorflow, whose integers are exact: division rounded down is a shift, of negative numbers too. */
function bitsByDivision(words: Tensor, shift: number, bits: number): Tensor {
  const divided = (x: Tensor, power: number): Tensor => tf.floorDiv(x, tf.scalar(2 ** power, 'int32'));
  const shifted = divided(divided(words, shift >> 1), shift - (shift >> 1)); // in two steps, as 2^31 is no int32
  const above = tf.mul(divided(shifted, bits), tf.scalar(2 ** bits, 'int32'));
  return tf.cast(tf.sub(shifted, above), 'float32');
}

/** Runs [..., 4] of words → [..., 128 / bits] codes. */
function codesOfRuns(words: Tensor, bits: number): Tensor {
  const fields = Array.from({ length: 32 / bits }, (_, k) => bitsOf(words, k * bits, bits));
  return tf.concat(fields, -1);
}

/** scale · (code − zero) for every place, a group's padding included: [O, places]. Inputs are in the packed order. */
export function dequantizePlaces({ layout, words, scales, zeros }: QuantizedWeights): Tensor2D {
  const { outputs, bits, groups, paddedGroup, places } = layout;
  return tf.tidy(() => {
    let codes: Tensor;
    if (bits === 3) {
      const [first, second, high] = tf.unstack(tf.reshape(words, [outputs, -1, 3, 4]), 2) as [Tensor, Tensor, Tensor];
      const low = tf.concat([codesOfRuns(first, 2), codesOfRuns(second, 2)], -1);
      codes = tf.add(low, tf.mul(codesOfRuns(high, 1), 4));
    } else codes = codesOfRuns(tf.reshape(words, [outputs, -1, 4]), bits);
    const inGroups = groups * paddedGroup;
    const byGroup = tf.reshape(tf.slice(tf.reshape(codes, [outputs, places]), [0, 0], [outputs, inGroups]), [outputs, groups, paddedGroup]);
    const middle = zeros ? tf.reshape(zeros, [outputs, groups, 1]) : tf.scalar(2 ** (bits - 1));
    const weights = tf.mul(tf.sub(byGroup, middle), tf.reshape(scales, [outputs, groups, 1]));
    return tf.pad(tf.reshape(weights, [outputs, inGroups]), [[0, 0], [0, places - inGroups]]) as Tensor2D;
  });
}
