/** @file The GPUs that the shaders are tested on: the software one, and pretended ones with matrix units. */
import type { SubgroupMatrix } from 'lab';

/** On the machines that it was made for. */
export const hasSoftwareGpu = process.platform === 'linux' && process.arch === 'x64';

/** What a matrix unit multiplies: [M, K] by [K, N], summed in float32 unless told. */
export function matrixOf(type: string, M: number, N: number, K: number, resultType = 'f32'): SubgroupMatrix {
  return { componentType: type, resultComponentType: resultType, M, N, K };
}
