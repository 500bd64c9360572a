/**
 * @file The parts of TensorFlow.js's webgpu backend and of WebGPU itself that the lab's own kernels use.
 * (WebGPU's full types live in the browser's library of types.)
 */
import type { tf } from '../../backend/index.ts';

type Info = tf.TensorInfo;

export interface GpuPipeline {
  getBindGroupLayout(index: number): object;
}

export interface GpuPassEncoder {
  setPipeline(pipeline: GpuPipeline): void;
  setBindGroup(index: number, group: object): void;
  dispatchWorkgroups(x: number, y: number, z: number): void;
}

export interface GpuDevice {
  readonly limits: Readonly<Record<string, number>>;
  createShaderModule(descriptor: { code: string; label: string }): object;
  createComputePipeline(descriptor: object): GpuPipeline;
  createBindGroup(descriptor: object): object;
  createQuerySet(descriptor: { type: 'timestamp'; count: number }): object;
}

/** Numbers for a shader that are no tensor, in the order of its uniform struct. */
export interface Uniform {
  readonly type: 'int32' | 'uint32' | 'float32';
  readonly data: readonly number[];
}

/** TensorFlow.js's backend: frozen at version 4.22, so that its private members can be relied on. */
export interface WebGpuBackend {
  readonly device: GpuDevice;
  readonly commandQueueOwnedIds: WeakSet<object>;
  readonly tensorMap: { has(dataId: object): boolean; get(dataId: object): { values: unknown } };
  refCount(dataId: object): number;
  incRef(dataId: object): void;
  readonly commandEncoder: { beginComputePass(descriptor: object): GpuPassEncoder };
  computePassEncoder: GpuPassEncoder | null;
  dispatchCountInPass: number;
  /** There while `tf.time` or `tf.profile` measures. */
  readonly activeTimers?: { readonly name: string; readonly query: Promise<number> }[] | null;
  readonly supportTimestampQuery: boolean;
  readonly querySetCount: number;
  querySet: object | null;
  /** Submits the queue and resolves to the milliseconds of the last pass. */
  getQueryTime(): Promise<number>;
  makeTensorInfo(shape: readonly number[], dtype: tf.DataType, values?: tf.TypedArray): Info;
  disposeData(dataId: object): boolean;
  uploadToGPU(dataId: object): void;
  tensorToBinding(tensor: Info): object;
  makeUniforms(uniforms: readonly Uniform[]): object;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
  read(dataId: object): Promise<unknown>;
}
