/**
 * @file Chapter 07, rounding: its exercises, the library's functions in their place, and how the reader's grid becomes the one
 * that the library rounds models to.
 */
import { roundHalfToEven } from '../../base/index.ts';
import {
  decodeMatrix,
  decodeWeight,
  encodeWeight,
  fitGrid,
  roundToNearest,
  type MatrixShape,
  type WeightGrid,
} from '../../quantize/index.ts';
import type { BitWidth } from '../../ops/index.ts';
import type { Answer, Assembly, Chapter } from '../exercise.ts';

function absmax(weights: Float32Array, bits: number): { scale: number; codes: Int8Array } {
  const largest = weights.reduce((most, weight) => Math.max(most, Math.abs(weight)), 0);
  const scale = largest / (2 ** (bits - 1) - 1) || 1;
  return { scale, codes: Int8Array.from(weights, (weight) => roundHalfToEven(weight / scale)) };
}

const meanSquare = (values: Float32Array): number => values.reduce((sum, value) => sum + value ** 2, 0) / values.length;

const decibels = (signal: number, noise: number): number => 10 * Math.log10(signal / noise);

function signalToNoise(weights: Float32Array, rounded: Float32Array): number {
  return decibels(meanSquare(weights), meanSquare(weights.map((weight, i) => weight - rounded[i]!)));
}

function searchClip(weights: Float32Array, bits: number, shares: readonly number[]): { share: number; error: number } {
  const most = 2 ** (bits - 1) - 1;
  const whole = absmax(weights, bits).scale;
  const tried = shares.map((share) => {
    const scale = share * whole;
    const rest = weights.map((w) => w - scale * Math.max(-most, Math.min(most, roundHalfToEven(w / scale))));
    return { share, error: meanSquare(rest) };
  });
  return tried.reduce((best, one) => (one.error < best.error ? one : best));
}

/** Bit by bit. */
function pack(codes: Uint8Array, bits: number): Uint32Array {
  const words = new Uint32Array(Math.ceil((codes.length * bits) / 32));
  for (let at = 0; at < codes.length * bits; at++) {
    words[at >>> 5]! |= ((codes[Math.floor(at / bits)]! >>> (at % bits)) & 1) << (at & 31);
  }
  return words;
}

function unpack(words: Uint32Array, bits: number, count: number): Uint8Array {
  const codes = new Uint8Array(count);
  for (let at = 0; at < count * bits; at++) {
    codes[Math.floor(at / bits)]! |= ((words[at >>> 5]! >>> (at & 31)) & 1) << (at % bits);
  }
  return codes;
}

interface PackedLayer extends MatrixShape {
  readonly groupSize: number;
  readonly words: Uint32Array;
  readonly scales: Float32Array;
  readonly zeros: Float32Array;
}

/** A row at a time as floats. */
function packedLinear(x: Float32Array, layer: PackedLayer): Float32Array {
  const { outputs, inputs, groupSize, words, scales, zeros } = layer;
  const groups = inputs / groupSize;
  return Float32Array.from({ length: outputs }, (_, output) => {
    const row = decodeMatrix({
      outputs: 1,
      inputs,
      bits: 4,
      groupSize,
      codes: Uint8Array.from({ length: inputs }, (__, i) => (words[(output * inputs + i) >> 3]! >>> (4 * (i & 7))) & 15),
      scales: scales.subarray(output * groups, (output + 1) * groups),
      zeros: zeros.subarray(output * groups, (output + 1) * groups),
      groupIndex: null,
    });
    return row.reduce((sum, weight, i) => sum + weight * x[i]!, 0);
  });
}

type FitGrid = (weights: Float32Array, bits: number) => WeightGrid;

/** The reader's grid where the library would fit its own. */
function plugGrid(answer: Answer, assembly: Assembly): void {
  const fit = answer['fitGrid'] as FitGrid;
  assembly.quantize = { ...assembly.quantize, search: (weights, { bits }) => fit(Float32Array.from(weights), bits) };
}

export const chapter: Chapter = {
  number: 7,
  slug: '07-rounding',
  title: 'Rounding',
  exercises: [
    {
      id: '7.1',
      title: 'absmax',
      names: ['roundHalfToEven', 'absmax'],
      difficulty: 2,
      minutes: 15,
      library: { roundHalfToEven, absmax },
    },
    {
      id: '7.2',
      title: 'zero point',
      names: ['fitGrid', 'encodeWeights', 'decodeWeights'],
      difficulty: 2,
      minutes: 20,
      library: {
        fitGrid: ((weights, bits) => fitGrid(weights, { bits: bits as BitWidth })) satisfies FitGrid,
        encodeWeights: (weights: Float32Array, grid: WeightGrid) =>
          Uint8Array.from(weights, (weight) => encodeWeight(weight, grid)),
        decodeWeights: (codes: Uint8Array, grid: WeightGrid) => Float32Array.from(codes, (code) => decodeWeight(code, grid)),
      },
      room: "the quantizer's grid",
      plug: plugGrid,
    },
    {
      id: '7.3',
      title: 'groups',
      names: ['quantizeGroups'],
      difficulty: 2,
      minutes: 15,
      library: {
        quantizeGroups: (weights: Float32Array, shape: MatrixShape, bits: BitWidth, groupSize: number) =>
          roundToNearest(weights, shape, { bits, groupSize }),
      },
    },
    {
      id: '7.4',
      title: 'signal and noise',
      names: ['signalToNoise', 'predictedSignalToNoise'],
      difficulty: 2,
      minutes: 15,
      library: {
        signalToNoise,
        predictedSignalToNoise: (weights: Float32Array, scale: number) => decibels(meanSquare(weights), scale ** 2 / 12),
      },
    },
    {
      id: '7.5',
      title: 'clipping',
      names: ['searchClip'],
      difficulty: 3,
      minutes: 20,
      library: { searchClip },
    },
    {
      id: '7.6',
      title: 'packing',
      names: ['pack', 'unpack'],
      difficulty: 3,
      minutes: 25,
      library: { pack, unpack },
    },
    {
      id: '7.7',
      title: 'multiplying packed weights',
      names: ['packedLinear'],
      difficulty: 4,
      minutes: 25,
      library: { packedLinear },
    },
  ],
};
