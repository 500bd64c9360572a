/**
 * @file Runs the lab's own WGSL beside TensorFlow.js's: on its device, its buffers and its queue, with as many outputs as
 * wanted.
 */
import { gpuGuardOf, type tf } from '../../backend/index.ts';
import type { GpuPipeline, Uniform, WebGpuBackend } from './backend.ts';

/** One dispatch of a shader whose bindings are, in this order: the outputs, what it changes, the inputs, the uniforms. */
export interface Dispatch {
  /** Names the shader; the same name must always stand for the same code. */
  readonly key: string;
  readonly code: () => string;
  readonly inputs: readonly tf.TensorInfo[];
  /** Shapes of the outputs, float32. */
  readonly outputs: readonly (readonly number[])[];
  /** Tensors that are changed in place. Nobody else may hold their data, and none may be an input too. */
  readonly changes?: readonly tf.TensorInfo[];
  readonly uniforms: readonly Uniform[];
  readonly workgroups: readonly [x: number, y: number, z: number];
}

/** After so many dispatches the queue is handed to the device, as TensorFlow.js does by default. */
const BATCH = 15;

export class ShaderRunner {
  readonly #backend: WebGpuBackend;
  readonly #pipelines = new Map<string, GpuPipeline>();

  constructor(backend: WebGpuBackend) {
    this.#backend = backend;
  }

  get backend(): WebGpuBackend {
    return this.#backend;
  }

  /** @throws DeviceError with the compiler's message when the shader is broken, or when the GPU cannot do the rest. */
  run({ key, code, inputs, outputs, changes = [], uniforms, workgroups }: Dispatch): tf.TensorInfo[] {
    const backend = this.#backend;
    const results = outputs.map((shape) => backend.makeTensorInfo(shape, 'float32'));
    const tensors = [...results, ...changes, ...inputs];
    gpuGuardOf(backend).dispatch(key, { outputs: results, changes, inputs }, () => {
      for (const { dataId } of tensors) backend.uploadToGPU(dataId);
      const pipeline = this.#pipeline(key, code);
      const bindings = [...tensors.map((tensor) => backend.tensorToBinding(tensor)), backend.makeUniforms(uniforms)];
      const group = backend.device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: bindings.map((resource, binding) => ({ binding, resource })),
      });
      // What is disposed of from here on keeps its buffer until the queue is submitted.
      for (const { dataId } of tensors) backend.commandQueueOwnedIds.add(dataId);
      this.#record(key, pipeline, group, workgroups);
    });
    return results;
  }

  /** Tensors that no engine knows of: intermediate results, tables. */
  dispose(...tensors: readonly tf.TensorInfo[]): void {
    for (const { dataId } of tensors) this.#backend.disposeData(dataId);
  }

  #pipeline(key: string, code: () => string): GpuPipeline {
    const known = this.#pipelines.get(key);
    if (known) return known;
    const { device } = this.#backend;
    const module = device.createShaderModule({ code: code(), label: key });
    const pipeline = device.createComputePipeline({ label: key, layout: 'auto', compute: { module, entryPoint: 'main' } });
    this.#pipelines.set(key, pipeline);
    return pipeline;
  }

  #record(key: string, pipeline: GpuPipeline, group: object, [x, y, z]: Dispatch['workgroups']): void {
    const backend = this.#backend;
    backend.ensureCommandEncoderReady();
    if (backend.activeTimers) backend.endComputePassEncoder(); // what is timed has a pass of its own
    backend.computePassEncoder ??= backend.commandEncoder.beginComputePass(this.#timestamps());
    backend.computePassEncoder.setPipeline(pipeline);
    backend.computePassEncoder.setBindGroup(0, group);
    backend.computePassEncoder.dispatchWorkgroups(x, y, z);
    backend.dispatchCountInPass++;
    if (backend.activeTimers) {
      backend.endComputePassEncoder();
      backend.activeTimers.push({ name: key, query: backend.getQueryTime() });
    } else if (backend.dispatchCountInPass >= BATCH) this.#submit();
  }

  /** For `tf.time` and `tf.profile`: has the device note when the pass begins and ends. */
  #timestamps(): object {
    const backend = this.#backend;
    if (!backend.activeTimers || !backend.supportTimestampQuery) return {};
    backend.querySet ??= backend.device.createQuerySet({ type: 'timestamp', count: backend.querySetCount });
    return { timestampWrites: { querySet: backend.querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 } };
  }

  #submit(): void {
    this.#backend.ensureCommandEncoderReady();
    this.#backend.endComputePassEncoder();
    this.#backend.submitQueue();
  }
}
