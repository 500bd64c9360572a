/**
 * @file What a pass costs in a datacentre, from counting: operations over the speed of arithmetic, bytes over the speed of
 * memory, whichever takes longer, and what the GPUs tell each other. Pope et al. 2022, "Efficiently Scaling Transformer
 * Inference", section 3; the efficiencies are assumptions, and are options.
 */
import { invariant } from '../base/index.ts';
import type { CostModel, PassWork } from './cost-model.ts';

/** A model, as far as its costs go. */
export interface ModelProfile {
  readonly parameters: number;
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  /** Bytes of a number (2: float16). */
  readonly bytes: number;
}

/** A GPU, and how many of them work on one model. */
export interface GpuProfile {
  readonly gpus: number;
  /** Of one GPU, dense, by its data sheet. */
  readonly flopsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly memoryBytes: number;
  /** To the other GPUs, in one direction. */
  readonly linkBytesPerSecond: number;
  /** To the host's memory. */
  readonly hostBytesPerSecond: number;
  /** The share of the data sheet's speed that large matrix products reach (default 0.6). */
  readonly computeEfficiency?: number;
  /** The same for memory (default 0.8). */
  readonly memoryEfficiency?: number;
  /** Seconds that a pass takes besides: launching kernels, scheduling, sampling (default 5 ms). */
  readonly overhead?: number;
  /** Seconds that one exchange between the GPUs takes at least (default 10 µs). */
  readonly linkLatency?: number;
}

export const modelProfiles = {
  /** Touvron et al. 2023, "Llama 2". */
  'llama-2-70b': { parameters: 69e9, layers: 80, width: 8192, heads: 64, keyValueHeads: 8, headSize: 128, bytes: 2 },
  'llama-2-13b': { parameters: 13e9, layers: 40, width: 5120, heads: 40, keyValueHeads: 40, headSize: 128, bytes: 2 },
} as const satisfies Record<string, ModelProfile>;

export const gpuProfiles = {
  /** NVIDIA A100 80 GB SXM: 312 TFLOP/s (bfloat16), 2,039 GB/s, NVLink 600 GB/s both ways, PCIe 4. */
  '4 × A100': {
    gpus: 4,
    flopsPerSecond: 312e12,
    bytesPerSecond: 2039e9,
    memoryBytes: 80e9,
    linkBytesPerSecond: 300e9,
    hostBytesPerSecond: 25e9,
  },
  '1 × A100': {
    gpus: 1,
    flopsPerSecond: 312e12,
    bytesPerSecond: 2039e9,
    memoryBytes: 80e9,
    linkBytesPerSecond: 300e9,
    hostBytesPerSecond: 25e9,
  },
  /** NVIDIA H100 80 GB SXM: 989 TFLOP/s (bfloat16), 3,350 GB/s, NVLink 900 GB/s both ways, PCIe 5. */
  '4 × H100': {
    gpus: 4,
    flopsPerSecond: 989e12,
    bytesPerSecond: 3350e9,
    memoryBytes: 80e9,
    linkBytesPerSecond: 450e9,
    hostBytesPerSecond: 50e9,
  },
} as const satisfies Record<string, GpuProfile>;

/** Bytes of the keys and values of one token in all layers. */
export function cacheBytesPerToken({ layers, keyValueHeads, headSize, bytes }: ModelProfile): number {
  return 2 * layers * keyValueHeads * headSize * bytes;
}

/**
 * Blocks that fit beside the weights.
 *
 * @param share of the memory that may be used (default 0.9, vLLM's)
 * @throws RangeError when not even the weights fit.
 */
export function cacheBlocks(model: ModelProfile, gpu: GpuProfile, blockSize = 16, share = 0.9): number {
  const free = share * gpu.gpus * gpu.memoryBytes - model.parameters * model.bytes;
  const blocks = Math.floor(free / (cacheBytesPerToken(model) * blockSize));
  invariant(
    blocks > 0,
    `cacheBlocks: ${(model.parameters * model.bytes) / 1e9} GB of weights leave no room on ${gpu.gpus} GPUs`,
  );
  return blocks;
}

/**
 * The roofline of a pass: max(operations / speed, bytes / bandwidth) + exchange + overhead. Weights are read once a pass,
 * however many rows it has: the whole reason for batching.
 */
export function gpuCost(model: ModelProfile, gpu: GpuProfile): CostModel {
  const { computeEfficiency = 0.6, memoryEfficiency = 0.8, overhead = 5e-3, linkLatency = 1e-5 } = gpu;
  const flopsPerSecond = gpu.gpus * gpu.flopsPerSecond * computeEfficiency;
  const bytesPerSecond = gpu.gpus * gpu.bytesPerSecond * memoryEfficiency;
  const perToken = cacheBytesPerToken(model);
  return ({ rows, pairs, cacheTokens, swappedTokens }: PassWork) => {
    const flops = 2 * model.parameters * rows + 4 * model.layers * model.heads * model.headSize * pairs;
    const bytes = model.parameters * model.bytes + perToken * (cacheTokens + rows);
    const exchanges = gpu.gpus > 1 ? 2 * model.layers : 0; // after attention and after the MLP: Shoeybi et al. 2019
    const exchanged = (2 * (gpu.gpus - 1) * rows * model.width * model.bytes) / gpu.gpus;
    return (
      Math.max(flops / flopsPerSecond, bytes / bytesPerSecond) +
      exchanges * (linkLatency + exchanged / gpu.linkBytesPerSecond) +
      (swappedTokens * perToken) / gpu.hostBytesPerSecond +
      overhead
    );
  };
}
