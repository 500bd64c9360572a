/**
 * @file Dropout whose mask is never stored: whether a weight is forgotten is a hash of where it stands, so that the backward
 * pass finds the same mask again, in any order, on any backend. Salmon et al. 2011 call that a counter-based generator.
 */
import { HEAD_STEP, KEY_STEP, QUERY_STEP } from './shared.ts';

/** Which attention weights to forget in training. */
export interface AttentionDropout {
  /** The share to forget, 0 ≤ rate < 1. */
  readonly rate: number;
  /** The same seed forgets the same weights; take another one for each layer and step. An integer, 0 … 2³² − 1. */
  readonly seed: number;
}

/** Scrambles 32 bits so that each bit of the input changes half of the output's. Appleby's MurmurHash3, its last step. */
export function mix(x: number): number {
  let h = x >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The hash of one row of weights, from which those of its keys follow. @param head b · H + h */
export function rowHash(seed: number, head: number, query: number): number {
  return mix(mix((seed ^ Math.imul(head + 1, HEAD_STEP)) >>> 0) + Math.imul(query + 1, QUERY_STEP));
}

/** The hash of one weight; it is forgotten when that is below rate · 2³². */
export function weightHash(row: number, key: number): number {
  return mix(row + Math.imul(key + 1, KEY_STEP));
}

/** The rate as what a hash is compared with. */
export function dropoutThreshold(rate: number): number {
  return Math.floor(rate * 2 ** 32);
}

/**
 * What the weights are multiplied by: 0 for those that are forgotten, 1/(1 − rate) for the others.
 *
 * @returns [heads, T, U], heads being B · H
 */
export function dropoutFactors({ rate, seed }: AttentionDropout, heads: number, queries: number, keys: number): Float32Array {
  const [threshold, kept] = [dropoutThreshold(rate), 1 / (1 - rate)];
  const factors = new Float32Array(heads * queries * keys);
  let at = 0;
  for (let head = 0; head < heads; head++) {
    for (let t = 0; t < queries; t++) {
      const row = rowHash(seed, head, t);
      for (let u = 0; u < keys; u++) factors[at++] = weightHash(row, u) >= threshold ? kept : 0;
    }
  }
  return factors;
}
