/** @file What the running GPU can do for matrix products. */
import type { GpuDevice } from '../webgpu/index.ts';
import type { SubgroupMatrix } from './matrices.wgsl.ts';
import type { GpuFeatures } from './shader-plan.ts';

/** The parts of WebGPU's device that tell of its abilities, and Dawn's extension of them. */
interface TellingDevice extends GpuDevice {
  readonly features: ReadonlySet<string>;
  readonly adapterInfo: {
    readonly subgroupMinSize?: number;
    readonly subgroupMaxSize?: number;
    readonly subgroupMatrixConfigs?: Iterable<SubgroupMatrix>;
  };
}

const known = new WeakMap<GpuDevice, GpuFeatures>();

export function gpuFeatures(device: GpuDevice): GpuFeatures {
  const found = known.get(device) ?? readFeatures(device as TellingDevice);
  known.set(device, found);
  return found;
}

function readFeatures({ features, adapterInfo, limits }: TellingDevice): GpuFeatures {
  const subgroups = features.has('subgroups');
  const matrices = features.has('chromium-experimental-subgroup-matrix') ? (adapterInfo.subgroupMatrixConfigs ?? []) : [];
  return {
    half: features.has('shader-f16'),
    smallestSubgroup: subgroups ? (adapterInfo.subgroupMinSize ?? 0) : 0,
    largestSubgroup: subgroups ? (adapterInfo.subgroupMaxSize ?? 0) : 0,
    matrices: Array.from(matrices, ({ componentType, resultComponentType, M, N, K }) => {
      return { componentType, resultComponentType, M, N, K };
    }),
    threads: Math.min(limits['maxComputeInvocationsPerWorkgroup']!, limits['maxComputeWorkgroupSizeX']!),
    workgroupBytes: limits['maxComputeWorkgroupStorageSize']!,
  };
}
