/**
 * @file What a machine can do at best, in numbers: how fast it computes, and how fast it reads from each level of its memory.
 * The roofline model: Williams, Waterman and Patterson 2009.
 */

/** The speed of reading so many bytes again and again: small sets stay in a cache, large ones do not. */
export interface BandwidthPoint {
  /** The size of the working set, of all threads together. */
  readonly bytes: number;
  readonly bytesPerSecond: number;
}

/** What was measured on the running device. Speeds are those of all threads (of the whole GPU) together. */
export interface MachineProfile {
  /** The device in words: `wasm · 2 threads, relaxed SIMD`. */
  readonly device: string;
  /** Floating-point operations (float32) a second when nothing but registers is touched; a multiply-add counts as two. */
  readonly flopsPerSecond: number;
  /** The same that a large matrix product of the lab reaches. */
  readonly matmulFlopsPerSecond: number;
  /** Reading speed over the size of the working set, the smallest set first. Its steps are the caches. */
  readonly bandwidth: readonly BandwidthPoint[];
  /** Reading speed of the slowest level, main memory or the GPU's: the largest working set. */
  readonly slowBytesPerSecond: number;
  /** Reading speed of the fastest level: on a processor the first-level caches, on a GPU the workgroups' memory. */
  readonly fastBytesPerSecond: number;
  /** What the shortest operation takes, in seconds: a call of a kernel on a processor, a dispatch on a GPU. */
  readonly secondsPerCall: number;
  /** FLOPs for each byte from slow memory above which computing takes longer than reading: where the roof bends. */
  readonly ridge: number;
}

export interface MeasureMachineOptions {
  /** About how long each measurement may take, in milliseconds (default 50: all of them take one or two seconds). */
  readonly budgetMs?: number;
  /** The largest working set in bytes; default 256 MiB, on a GPU made of software and in plain JavaScript 16 MiB. */
  readonly largestBytes?: number;
}

/** The highest speed that the roofs allow for so many operations a byte of slow memory, in FLOPs a second. */
export function attainable(machine: Pick<MachineProfile, 'flopsPerSecond' | 'slowBytesPerSecond'>, intensity: number): number {
  return Math.min(machine.flopsPerSecond, intensity * machine.slowBytesPerSecond);
}

/** Reading speed of a working set of that many bytes: between two measured sizes on the straight line of their logarithms. */
export function bandwidthAt({ bandwidth }: Pick<MachineProfile, 'bandwidth'>, bytes: number): number {
  const next = bandwidth.findIndex((point) => point.bytes >= bytes);
  if (next === 0 || bandwidth.length === 1) return bandwidth[0]!.bytesPerSecond;
  if (next < 0) return bandwidth.at(-1)!.bytesPerSecond;
  const [low, high] = [bandwidth[next - 1]!, bandwidth[next]!];
  const share = Math.log(bytes / low.bytes) / Math.log(high.bytes / low.bytes);
  return low.bytesPerSecond * (high.bytesPerSecond / low.bytesPerSecond) ** share;
}
