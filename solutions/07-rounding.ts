/**
 * @file Reference answers of chapter 07, rounding: weights on grids, what that costs, and packed weights that are multiplied
 * as they are. Rounding to nearest (RTN) is what Frantar et al. 2022 (GPTQ) and all others compare with; absmax and zero point
 * as in Dettmers et al. 2022 (LLM.int8()), section 2.1.
 */

// #region 7.1 absmax
/** The nearest whole number; a number halfway between two goes to the even one. */
export function roundHalfToEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/**
 * The symmetric grid: code 2^(bits - 1) - 1 stands for the largest weight by size, 0 for 0.
 *
 * @returns scale, the distance between neighbours of the grid (positive, even if all weights are 0); the code of each weight
 */
export function absmax(weights: Float32Array, bits: number): { scale: number; codes: Int8Array } {
  const mostCode = 2 ** (bits - 1) - 1;
  let largest = 0;
  for (const weight of weights) largest = Math.max(largest, Math.abs(weight));
  const scale = largest > 0 ? largest / mostCode : 1;
  return { scale, codes: Int8Array.from(weights, (weight) => roundHalfToEven(weight / scale)) };
}
// #endregion

// #region 7.2 zero point
/**
 * The grid from the smallest to the largest weight; 0 always lies in between, and on the grid.
 *
 * @returns scale (positive) and zero, the code that stands for 0: a whole number from 0 to 2^bits - 1
 */
export function fitGrid(weights: Float32Array, bits: number): { bits: number; scale: number; zero: number } {
  let [low, high] = [0, 0];
  for (const weight of weights) [low, high] = [Math.min(low, weight), Math.max(high, weight)];
  const scale = high > low ? (high - low) / (2 ** bits - 1) : 1;
  return { bits, scale, zero: roundHalfToEven(-low / scale) };
}

/** The code of each weight, 0 … 2^bits - 1; a weight beyond the grid gets the first or the last. */
export function encodeWeights(weights: Float32Array, grid: { bits: number; scale: number; zero: number }): Uint8Array {
  const mostCode = 2 ** grid.bits - 1;
  return Uint8Array.from(weights, (weight) => {
    const code = roundHalfToEven(weight / grid.scale) + grid.zero;
    return Math.min(mostCode, Math.max(0, code));
  });
}

/** What the codes stand for. */
export function decodeWeights(codes: Uint8Array, grid: { bits: number; scale: number; zero: number }): Float32Array {
  return Float32Array.from(codes, (code) => grid.scale * (code - grid.zero));
}
// #endregion

// #region 7.3 groups
/**
 * Rounds a matrix to nearest; every run of `groupSize` neighbours in a row has a grid of its own.
 *
 * @param weights [outputs, inputs], row after row
 * @returns codes [outputs, inputs]; scales and zeros [outputs, inputs / groupSize]
 */
export function quantizeGroups(
  weights: Float32Array,
  shape: { outputs: number; inputs: number },
  bits: number,
  groupSize: number,
): { codes: Uint8Array; scales: Float32Array; zeros: Float32Array } {
  const groups = (shape.outputs * shape.inputs) / groupSize;
  const codes = new Uint8Array(weights.length);
  const scales = new Float32Array(groups);
  const zeros = new Float32Array(groups);
  for (let group = 0; group < groups; group++) {
    const members = weights.subarray(group * groupSize, (group + 1) * groupSize);
    const grid = fitGrid(members, bits);
    codes.set(encodeWeights(members, grid), group * groupSize);
    scales[group] = grid.scale;
    zeros[group] = grid.zero;
  }
  return { codes, scales, zeros };
}
// #endregion

// #region 7.4 signal and noise
/** 10 log10(Σ weight² / Σ error²): how far the error lies below the weights, in decibels. */
export function signalToNoise(weights: Float32Array, rounded: Float32Array): number {
  let [signal, noise] = [0, 0];
  for (let i = 0; i < weights.length; i++) {
    signal += weights[i]! ** 2;
    noise += (weights[i]! - rounded[i]!) ** 2;
  }
  return 10 * Math.log10(signal / noise);
}

/** The same before anything is rounded: errors that are evenly spread over a step have a mean square of step² / 12. */
export function predictedSignalToNoise(weights: Float32Array, scale: number): number {
  let signal = 0;
  for (const weight of weights) signal += weight ** 2;
  return 10 * Math.log10(signal / weights.length / (scale ** 2 / 12));
}
// #endregion

// #region 7.5 clipping
/**
 * Which share of the range should a symmetric grid cover? The grid of a share has the scale of absmax times the share; weights
 * beyond its ends get the first or the last code, ±(2^(bits - 1) - 1).
 *
 * @param shares those to try
 * @returns the share with the least mean square error, and that error
 */
export function searchClip(weights: Float32Array, bits: number, shares: number[]): { share: number; error: number } {
  const mostCode = 2 ** (bits - 1) - 1;
  const whole = absmax(weights, bits).scale;
  let best = { share: 1, error: Infinity };
  for (const share of shares) {
    const scale = share * whole;
    let sum = 0;
    for (const weight of weights) {
      const code = Math.min(mostCode, Math.max(-mostCode, roundHalfToEven(weight / scale)));
      sum += (weight - scale * code) ** 2;
    }
    const error = sum / weights.length;
    if (error < best.error) best = { share, error };
  }
  return best;
}
// #endregion

// #region 7.6 packing
/**
 * Codes side by side: code i takes the bits i·bits … (i + 1)·bits - 1, and bit b is bit b % 32 of word floor(b / 32), counted
 * from the lowest. A code may begin in one word and end in the next.
 *
 * @returns as few words as hold all codes; bits that are left over are 0
 */
export function pack(codes: Uint8Array, bits: number): Uint32Array {
  const words = new Uint32Array(Math.ceil((codes.length * bits) / 32));
  for (let i = 0; i < codes.length; i++) {
    const word = Math.floor((i * bits) / 32);
    const shift = (i * bits) % 32;
    words[word]! |= codes[i]! << shift; // bits beyond the word fall off
    if (shift + bits > 32) words[word + 1]! |= codes[i]! >>> (32 - shift); // and stand in the next
  }
  return words;
}

/** The other way: the first `count` codes. */
export function unpack(words: Uint32Array, bits: number, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => {
    const word = Math.floor((i * bits) / 32);
    const shift = (i * bits) % 32;
    let code = words[word]! >>> shift;
    if (shift + bits > 32) code |= words[word + 1]! << (32 - shift);
    return code & (2 ** bits - 1);
  });
}
// #endregion

// #region 7.7 multiplying packed weights
/**
 * x Wᵀ, without ever having W as floats.
 *
 * @param x [inputs]
 * @param layer words: the codes of W [outputs, inputs], row after row, packed with 4 bits; scales and zeros
 *   [outputs, inputs / groupSize]; inputs and groupSize are multiples of 8, so that a word belongs to one group
 * @returns [outputs]
 */
export function packedLinear(
  x: Float32Array,
  layer: {
    outputs: number;
    inputs: number;
    groupSize: number;
    words: Uint32Array;
    scales: Float32Array;
    zeros: Float32Array;
  },
): Float32Array {
  const { outputs, inputs, groupSize, words, scales, zeros } = layer;
  const y = new Float32Array(outputs);
  for (let first = 0; first < outputs * inputs; first += groupSize) {
    const group = first / groupSize;
    let sum = 0; // Σ x (code - zero) over the group
    for (let i = first; i < first + groupSize; i += 8) {
      const word = words[i / 8]!;
      for (let k = 0; k < 8; k++) sum += x[(i + k) % inputs]! * (((word >>> (4 * k)) & 15) - zeros[group]!);
    }
    y[Math.floor(first / inputs)]! += scales[group]! * sum;
  }
  return y;
}
// #endregion
