/**
 * @file Requests that never were: when they come, how long they are, what they share. Decided by a seed.
 */
import { invariant, Random } from '../base/index.ts';

/** Draws a length: a whole number from 1 on. */
export type Lengths = (random: Random) => number;

/** Ways to draw lengths. */
export const lengths = {
  fixed:
    (tokens: number): Lengths =>
    () =>
      tokens,
  /** FastGen's: normal around the mean, `deviation` as a share of it (default 0.3). */
  normal:
    (mean: number, deviation = 0.3): Lengths =>
    (random) =>
      Math.max(1, Math.round(mean * (1 + deviation * random.normal()))),
  uniform:
    (least: number, most: number): Lengths =>
    (random) =>
      least + random.integer(most - least + 1),
  /** Many short ones and a few long ones, cut at `most`. */
  exponential:
    (mean: number, most = Infinity): Lengths =>
    (random) =>
      Math.max(1, Math.min(most, Math.ceil(-mean * Math.log(1 - random.uniform())))),
} as const;

export interface WorkloadOptions {
  readonly requests: number;
  readonly prompt: Lengths;
  readonly output: Lengths;
  /** Requests a second; all at once (Infinity) unless told. */
  readonly rate?: number;
  /** Groups that come together, on average (default 1: a Poisson process; more: bursts of geometric size). */
  readonly burst?: number;
  /** Beginnings that requests have in common: how many there are, and of how many tokens. None unless told. */
  readonly prefixes?: { readonly count: number; readonly tokens: number };
  readonly seed?: number;
}

/** A request of a workload. */
export interface WorkloadRequest {
  /** Seconds. */
  readonly arrival: number;
  readonly prompt: readonly number[];
  /** Tokens that it will write. */
  readonly output: number;
}

/** In the order in which they come. */
export function makeWorkload(options: WorkloadOptions): WorkloadRequest[] {
  const { requests, prompt, output, rate = Infinity, burst = 1, prefixes, seed = 0 } = options;
  invariant(Number.isInteger(requests) && requests > 0, `makeWorkload: requests must be 1, 2, …, got ${requests}`);
  invariant(rate > 0 && burst >= 1, `makeWorkload: rate must be positive and burst 1 or more, got ${rate} and ${burst}`);
  const random = new Random(seed);
  const [when, what] = [random.fork(), random.fork()];
  let now = 0;
  let nextToken = 0;
  return Array.from({ length: requests }, () => {
    // A burst goes on with probability 1 − 1/burst; between bursts times are exponential, so that the rate stays.
    if (when.uniform() < 1 / burst && rate < Infinity) now += (-Math.log(1 - when.uniform()) * burst) / rate;
    const length = Math.max(1, prompt(what));
    const prefix = prefixes ? what.integer(prefixes.count) : 0;
    const shared = prefixes ? Math.min(prefixes.tokens, length - 1) : 0;
    // Shared tokens are negative, others are all different.
    const tokens = Array.from({ length }, (_, i) => (i < shared ? -1 - prefix * prefixes!.tokens - i : nextToken++));
    return { arrival: now, prompt: tokens, output: Math.max(1, output(what)) };
  });
}
