/**
 * @file Runs the lab's own WGSL beside TensorFlow.js's: on its device, its buffers and its queue, with as many outputs as
 * wanted.
 *
 * WebGPU tells of a shader that does not compile long after the call, and leaves the old content of a reused buffer in the
 * place of the result. So the first use of every shader is watched, and whoever reads a tensor that may come from a broken one
 * gets the error.
 */
import type { tf } from '../../backend/index.ts';
import { LabError } from '../../base/index.ts';
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

/** Tensors made from `from` on and before `to` may hold what a broken shader left, and those that it should have changed do. */
interface Suspects {
  readonly from: number;
  readonly to: number;
  readonly unchanged: ReadonlySet<object>;
  readonly error: LabError;
}

const numberOf = (dataId: object): number => (dataId as { id: number }).id;

export class ShaderRunner {
  readonly #backend: WebGpuBackend;
  readonly #pipelines = new Map<string, GpuPipeline>();
  readonly #broken = new Map<string, LabError>();
  readonly #watched = new Set<Promise<void>>();
  readonly #suspects: Suspects[] = [];
  /** How often data were changed in place. */
  readonly #changes = new WeakMap<object, number>();
  readonly #read: WebGpuBackend['read'];

  constructor(backend: WebGpuBackend) {
    this.#backend = backend;
    this.#read = backend.read.bind(backend);
    backend.read = async (dataId) => {
      const before = this.#changes.get(dataId);
      const values = await this.#read(dataId);
      if (this.#changes.get(dataId) !== before) this.#forgetRead(dataId);
      await Promise.all(this.#watched);
      this.#check(dataId);
      return values;
    };
  }

  get backend(): WebGpuBackend {
    return this.#backend;
  }

  /** @throws LabError with the compiler's message when the shader is known to be broken; a read throws it otherwise. */
  run({ key, code, inputs, outputs, changes = [], uniforms, workgroups }: Dispatch): tf.TensorInfo[] {
    const backend = this.#backend;
    const broken = this.#broken.get(key);
    if (broken) throw broken;
    const from = this.#pipelines.has(key) ? 0 : this.#nextNumber();
    const results = outputs.map((shape) => backend.makeTensorInfo(shape, 'float32'));
    const tensors = [...results, ...changes, ...inputs];
    for (const { dataId } of tensors) backend.uploadToGPU(dataId);
    const record = (): void => {
      const pipeline = this.#pipeline(key, code);
      const bindings = [...tensors.map((tensor) => backend.tensorToBinding(tensor)), backend.makeUniforms(uniforms)];
      const group = backend.device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: bindings.map((resource, binding) => ({ binding, resource })),
      });
      // What is disposed of from here on keeps its buffer until the queue is submitted.
      for (const { dataId } of tensors) backend.commandQueueOwnedIds.add(dataId);
      this.#record(key, pipeline, group, workgroups);
    };
    if (this.#pipelines.has(key)) record();
    else this.#watch(key, { from, unchanged: new Set(changes.map(({ dataId }) => dataId)) }, record);
    for (const { dataId } of changes) {
      this.#changes.set(dataId, (this.#changes.get(dataId) ?? 0) + 1);
      this.#forgetRead(dataId);
    }
    return results;
  }

  /** Tensors that no engine knows of: intermediate results, tables. */
  dispose(...tensors: readonly tf.TensorInfo[]): void {
    for (const { dataId } of tensors) this.#backend.disposeData(dataId);
  }

  /** Gives the backend its own `read` back. */
  remove(): void {
    this.#backend.read = this.#read;
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

  /** A shader's first dispatch goes to the device alone, so that its errors are caught and spoil nothing else. */
  #watch(key: string, touched: Pick<Suspects, 'from' | 'unchanged'>, record: () => void): void {
    const { device } = this.#backend;
    this.#submit();
    device.pushErrorScope('validation');
    record();
    this.#submit();
    const watch = this.#report(key, touched, device.popErrorScope());
    this.#watched.add(watch);
    void watch.finally(() => this.#watched.delete(watch));
  }

  async #report(
    key: string,
    touched: Pick<Suspects, 'from' | 'unchanged'>,
    scope: Promise<{ readonly message: string } | null>,
  ): Promise<void> {
    const problem = await scope.catch(() => null); // a device that is gone answers no more; reading from it fails by itself
    if (!problem) return;
    const error = new LabError(`The GPU refused the shader '${key}', and its result is wrong: ${problem.message}`);
    this.#pipelines.delete(key);
    this.#broken.set(key, error);
    this.#suspects.push({ ...touched, to: this.#nextNumber(), error });
  }

  /** The number of the next tensor. */
  #nextNumber(): number {
    const next = this.#backend.makeTensorInfo([0], 'float32');
    this.dispose(next);
    return numberOf(next.dataId) + 1;
  }

  /** TensorFlow.js keeps the values that were read from the device; these are old. */
  #forgetRead(dataId: object): void {
    const data = this.#backend.tensorMap.has(dataId) ? this.#backend.tensorMap.get(dataId) : undefined;
    if (data) data.values = null;
  }

  #check(dataId: object): void {
    const id = numberOf(dataId);
    const suspect = this.#suspects.find(({ from, to, unchanged }) => (from <= id && id < to) || unchanged.has(dataId));
    if (suspect) throw suspect.error;
  }
}
