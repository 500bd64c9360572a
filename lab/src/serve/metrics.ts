/**
 * @file How well requests were served. Times to the first token (TTFT), per token after it (TPOT), between two tokens (ITL), to
 * the end (E2E); how many requests a second met their promises (goodput; FastGen's effective throughput).
 */
import { invariant } from '../base/index.ts';

/** What became of a request. Times in seconds. */
export interface RequestRecord {
  readonly id: number;
  readonly arrival: number;
  readonly promptLength: number;
  /** When each token was drawn. */
  readonly tokenTimes: readonly number[];
  /** When its answer was complete: with static batches later than its last token. */
  readonly finish: number;
  /** Tokens of the prompt that were found in the cache. */
  readonly found: number;
  readonly preemptions: number;
}

/** Of single values. */
export interface Quantiles {
  readonly mean: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

export interface ServingMetrics {
  readonly requests: number;
  /** Seconds from the first arrival to the last answer. */
  readonly duration: number;
  readonly requestsPerSecond: number;
  readonly tokensPerSecond: number;
  readonly ttft: Quantiles;
  /** Of requests with two tokens or more. */
  readonly tpot: Quantiles;
  readonly itl: Quantiles;
  readonly e2e: Quantiles;
}

export function timeToFirstToken({ arrival, tokenTimes }: RequestRecord): number {
  return tokenTimes[0]! - arrival;
}

/** (E2E − TTFT) / (tokens − 1), with E2E to the last token; NaN for a single token. */
export function timePerToken({ tokenTimes }: RequestRecord): number {
  return tokenTimes.length < 2 ? NaN : (tokenTimes.at(-1)! - tokenTimes[0]!) / (tokenTimes.length - 1);
}

export function endToEnd({ arrival, finish }: RequestRecord): number {
  return finish - arrival;
}

export function metricsOf(records: readonly RequestRecord[]): ServingMetrics {
  invariant(records.length > 0, 'metricsOf: there are no requests');
  const start = records.reduce((least, { arrival }) => Math.min(least, arrival), Infinity);
  const duration = records.reduce((most, { finish }) => Math.max(most, finish), 0) - start;
  const tokens = records.reduce((sum, { tokenTimes }) => sum + tokenTimes.length, 0);
  return {
    requests: records.length,
    duration,
    requestsPerSecond: records.length / duration,
    tokensPerSecond: tokens / duration,
    ttft: quantilesOf(records.map(timeToFirstToken)),
    tpot: quantilesOf(records.map(timePerToken).filter((time) => !Number.isNaN(time))),
    itl: quantilesOf(records.flatMap(intervals)),
    e2e: quantilesOf(records.map(endToEnd)),
  };
}

/** NaN for no values. The q-th quantile is the least value that q of all do not exceed. */
export function quantilesOf(values: readonly number[]): Quantiles {
  const sorted = Float64Array.from(values).sort();
  const at = (quantile: number): number => sorted[Math.max(0, Math.ceil(quantile * sorted.length) - 1)] ?? NaN;
  const mean = sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
  return { mean, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}

/** Promises: what is left out is not promised. In seconds. */
export interface ServiceLevel {
  readonly ttft?: number;
  readonly tpot?: number;
  readonly e2e?: number;
}

/** Requests a second that kept all promises. */
export function goodput(records: readonly RequestRecord[], level: ServiceLevel): number {
  const { ttft = Infinity, tpot = Infinity, e2e = Infinity } = level;
  return perSecond(records, (record) => {
    return timeToFirstToken(record) <= ttft && !(timePerToken(record) > tpot) && endToEnd(record) <= e2e;
  });
}

/** FastGen's promises: the prompt is read at 512 tokens a second, and text comes at 2, 4 or 6 tokens a second. */
export interface EffectiveThroughputOptions {
  /** Tokens of the prompt a second (default 512). */
  readonly promptRate?: number;
  /** Tokens written a second (default 4). */
  readonly tokenRate?: number;
  /** Weight of the newest interval in the moving average of the intervals (default 0.1: a single stall is forgiven). */
  readonly smoothing?: number;
}

/** Requests a second with TTFT ≤ prompt / promptRate whose moving average never falls below tokenRate. */
export function effectiveThroughput(records: readonly RequestRecord[], options: EffectiveThroughputOptions = {}): number {
  const { promptRate = 512, tokenRate = 4, smoothing = 0.1 } = options;
  return perSecond(records, (record) => {
    if (timeToFirstToken(record) > record.promptLength / promptRate) return false;
    let average: number | undefined;
    return intervals(record).every((interval) => {
      average = average === undefined ? interval : average + smoothing * (interval - average);
      return average <= 1 / tokenRate;
    });
  });
}

function perSecond(records: readonly RequestRecord[], keeps: (record: RequestRecord) => boolean): number {
  return records.filter(keeps).length / metricsOf(records).duration;
}

function intervals({ tokenTimes }: RequestRecord): number[] {
  return tokenTimes.slice(1).map((time, i) => time - tokenTimes[i]!);
}
