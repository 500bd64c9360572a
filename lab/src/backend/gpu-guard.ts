/**
 * @file Nothing that a GPU has not computed can be read or computed with. WebGPU itself goes on after an error and leaves the
 * old content of a reused buffer in the place of the result.
 *
 * What is refused when it is made (a shader, a binding, a buffer) throws there. What is refused when a queue is handed over
 * spoils the whole queue: the tensors that it was to make are marked, and whoever reads or uses one gets the error. An error
 * from nowhere marks all that was made so far. After the loss of the device only what is known on this side can be read.
 */
import { DeviceError } from './device.ts';
import { START_AGAIN } from './failures.ts';
import { GpuErrors, refused, type GuardedDevice } from './gpu-errors.ts';

interface Info {
  readonly dataId: object;
}

/** TensorFlow.js's record of a tensor. */
interface Data {
  /** What is known of it on this side. */
  values: unknown;
  /** Its buffer. */
  readonly resource?: unknown;
}

/** TensorFlow.js's backend, as far as it is guarded. */
interface GuardedBackend {
  readonly commandEncoder: object | null;
  readonly tensorMap: { has(dataId: object): boolean; get(dataId: object): Data };
  readonly bufferManager: {
    readonly freeBuffers: ReadonlyMap<string, { readonly size: number; destroy(): void }[]>;
    numFreeBuffers: number;
    numBytesAllocated: number;
    readonly numBytesUsed: number;
  };
  endComputePassEncoder(): void;
  recordAndSubmit(program: object, output: Info, inputs: readonly Info[], uniforms: unknown): void;
  uploadToGPU(dataId: object): void;
  submitQueue(): void;
  read(dataId: object): Promise<unknown>;
  readSync(dataId: object): unknown;
  readToGPU(dataId: object): unknown;
}

/** What one run of a shader touches. */
interface Touched {
  readonly outputs: readonly Info[];
  /** Changed in place. */
  readonly changes?: readonly Info[];
  readonly inputs: readonly Info[];
}

/** One thing that waits in the queue. */
interface Queued {
  readonly name: string;
  readonly made: readonly object[];
}

const guards = new WeakMap<object, GpuGuard>();

/** The guard of TensorFlow.js's webgpu backend. */
export function gpuGuardOf(backend: object): GpuGuard {
  const guard = guards.get(backend);
  if (!guard) throw new DeviceError('refused', 'This backend is not one that startBackend has started.');
  return guard;
}

export class GpuGuard {
  readonly #errors: GpuErrors;
  #backend: GuardedBackend | undefined;
  #queue: Queued[] = [];
  readonly #spoiled = new WeakMap<object, DeviceError>();
  /** Errors from nowhere, in their order, and how many of them there had been before what came to the GPU after the first. */
  readonly #fromNowhere: DeviceError[] = [];
  readonly #errorsBefore = new WeakMap<object, number>();
  /** Whether anything has gone wrong yet: until then nothing need be looked up. */
  #trouble = false;
  /** How often data were changed in place. */
  readonly #changes = new WeakMap<object, number>();
  #gone: DeviceError | undefined;

  constructor(device: GuardedDevice) {
    const memory = { used: () => this.#backend?.bufferManager.numBytesUsed ?? 0, release: () => this.#releaseBuffers() };
    this.#errors = new GpuErrors(device, memory, (error) => {
      this.#trouble = true;
      this.#fromNowhere.push(error);
    });
    void device.lost.then(({ reason, message }) => this.#lose(lost(reason, message)));
  }

  /** Whether the device is gone for good. */
  get gone(): boolean {
    return this.#gone !== undefined;
  }

  /** Puts the guard between TensorFlow.js's backend and its callers. */
  protect<T extends object>(given: T): T {
    const backend = given as unknown as GuardedBackend;
    this.#backend = backend;
    guards.set(given, this);
    const record = backend.recordAndSubmit.bind(backend);
    backend.recordAndSubmit = (program, output, inputs, uniforms) =>
      this.dispatch(program.constructor.name, { outputs: [output], inputs }, () => record(program, output, inputs, uniforms));
    const upload = backend.uploadToGPU.bind(backend);
    backend.uploadToGPU = (dataId) => this.#upload(dataId, upload);
    const submit = backend.submitQueue.bind(backend);
    backend.submitQueue = () => this.#submit(submit);
    const read = backend.read.bind(backend);
    backend.read = (dataId) => this.#read(dataId, read);
    const readSync = backend.readSync.bind(backend);
    backend.readSync = (dataId) => {
      this.check(dataId);
      return readSync(dataId);
    };
    const readToGPU = backend.readToGPU.bind(backend);
    backend.readToGPU = (dataId) => {
      this.check(dataId);
      return readToGPU(dataId);
    };
    return given;
  }

  /**
   * Records one run of a shader.
   *
   * @param name what an error calls it
   * @throws DeviceError when what goes in cannot be relied on, or the GPU refuses what `record` does; nothing is recorded then
   */
  dispatch(name: string, { outputs, changes = [], inputs }: Touched, record: () => void): void {
    if (this.#trouble) {
      for (const { dataId } of [...changes, ...inputs]) this.check(dataId);
      if (this.#gone) throw this.#gone;
      for (const { dataId } of outputs) this.#errorsBefore.set(dataId, this.#fromNowhere.length);
    }
    const made = [...outputs, ...changes].map(({ dataId }) => dataId);
    this.#queue.push({ name, made });
    const [, errors] = this.#errors.doing(`'${name}'`, record);
    if (errors.length > 0) throw this.#spoil(made, refused(`'${name}'`, errors));
    for (const { dataId } of changes) {
      this.#changes.set(dataId, (this.#changes.get(dataId) ?? 0) + 1);
      this.#forgetRead(dataId);
    }
  }

  /** @throws DeviceError when the numbers of a tensor are not those that were to be computed, or are gone. */
  check(dataId: object): void {
    const error = this.#errorOf(dataId);
    if (error) throw error;
  }

  #errorOf(dataId: object): DeviceError | undefined {
    if (!this.#trouble) return undefined;
    const spoiled = this.#spoiled.get(dataId);
    if (spoiled || !this.#isOnlyThere(dataId)) return spoiled;
    return this.#fromNowhere[this.#errorsBefore.get(dataId) ?? 0] ?? this.#gone;
  }

  /** The backend is stopped: from here on what is only on the GPU is gone. */
  stop(): void {
    const message = 'The webgpu backend that held this tensor was stopped: its tensors are gone.';
    this.#lose(new DeviceError('lost', `${message} Make them again on the backend that runs now.`));
  }

  #lose(error: DeviceError): void {
    this.#trouble = true;
    this.#gone ??= error;
  }

  #isOnlyThere(dataId: object): boolean {
    const { tensorMap } = this.#backend!;
    const { values, resource } = tensorMap.has(dataId) ? tensorMap.get(dataId) : {};
    return resource != null && values == null;
  }

  #upload(dataId: object, upload: (dataId: object) => void): void {
    const { values, resource } = this.#backend!.tensorMap.get(dataId);
    if (resource) return;
    if (this.#gone) throw this.#gone;
    upload(dataId);
    if (this.#trouble) this.#errorsBefore.set(dataId, this.#fromNowhere.length);
    if (values) this.#queue.push({ name: 'upload', made: [dataId] });
  }

  #submit(submit: () => void): void {
    const queue = this.#queue;
    this.#queue = [];
    const [, errors] = this.#errors.during(submit);
    if (errors.length === 0) return;
    const names = [...new Set(queue.map(({ name }) => `'${name}'`))].join(', ');
    const made = queue.flatMap((queued) => queued.made);
    this.#spoil(made, refused(`one of the operations ${names}`, errors));
  }

  /** What waits in the queue goes first and alone, so that an error of it does not keep other tensors from being read. */
  async #read(dataId: object, read: (dataId: object) => Promise<unknown>): Promise<unknown> {
    this.check(dataId);
    const backend = this.#backend!;
    if (backend.commandEncoder && this.#isOnlyThere(dataId)) {
      backend.endComputePassEncoder();
      backend.submitQueue();
      this.check(dataId);
    }
    const changes = this.#changes.get(dataId);
    const errorsBefore = this.#fromNowhere.length;
    const [reading, errors] = this.#errors.during(() => read(dataId));
    const values = await reading.catch(async (error: unknown) => {
      await new Promise((resolve) => setTimeout(resolve)); // the news that the device is gone may be on its way
      throw this.#gone ?? error;
    });
    if (errors.length > 0) this.#spoil([dataId], refused('a read', errors));
    const error = this.#spoiled.get(dataId) ?? this.#fromNowhere[errorsBefore];
    if (error || this.#changes.get(dataId) !== changes) this.#forgetRead(dataId);
    if (error) throw error;
    return values;
  }

  /** TensorFlow.js keeps what was read; it is old now. */
  #forgetRead(dataId: object): void {
    const { tensorMap } = this.#backend!;
    if (tensorMap.has(dataId)) tensorMap.get(dataId).values = null;
  }

  #spoil(dataIds: readonly object[], error: DeviceError): DeviceError {
    this.#trouble = true;
    for (const dataId of dataIds) if (!this.#spoiled.has(dataId)) this.#spoiled.set(dataId, error);
    return error;
  }

  /** Gives up the buffers that TensorFlow.js keeps for later. @returns their bytes */
  #releaseBuffers(): number {
    const manager = this.#backend?.bufferManager;
    if (!manager) return 0;
    let bytes = 0;
    for (const buffers of manager.freeBuffers.values()) {
      for (const buffer of buffers.splice(0)) {
        bytes += buffer.size;
        manager.numFreeBuffers--;
        buffer.destroy();
      }
    }
    manager.numBytesAllocated -= bytes;
    return bytes;
  }
}

function lost(reason: string, message: string): DeviceError {
  const why = [reason, message].filter(Boolean).join(': ');
  return new DeviceError('lost', `The GPU was lost (${why}), and the tensors there with it. ${START_AGAIN}`);
}
