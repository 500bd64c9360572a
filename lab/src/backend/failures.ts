/**
 * @file When an operation fails half-way: what it had made is freed, the error names it, and a backend that has broken down is
 * known to be lost.
 */
import { LabError } from '../base/index.ts';
import { DeviceError } from './device.ts';
import { observeKernels } from './kernel-calls.ts';
import { tf, type Tensor } from './tf.ts';

interface StorageBackend {
  write(values: unknown, shape: readonly number[], dtype: string): object;
  disposeData(dataId: object, force: boolean): boolean;
}

interface Engine {
  keep<T extends Tensor>(tensor: T): T;
  readonly state: { readonly tensorInfo: WeakMap<object, unknown>; readonly kernelDepth: number };
}

export interface FailureWatch {
  /** Whether the backend has broken down. */
  readonly lost: boolean;
  stop(): void;
}

/** Watches the operations of a backend that has just started. */
export function watchFailures(backend: object): FailureWatch {
  const unfinished = new Unfinished(backend as StorageBackend);
  let lost = false;
  const stopObserving = observeKernels({
    outermost: () => unfinished.forget(),
    failed(name, error) {
      unfinished.free();
      const told = explain(name, error);
      if (told instanceof DeviceError && told.kind === 'lost') lost = true;
      return told;
    },
  });
  return {
    get lost() {
      return lost;
    },
    stop() {
      stopObserving();
      unfinished.stop();
    },
  };
}

/** What an operation has made so far, and nobody would free if it failed now. */
class Unfinished {
  readonly #storage: StorageBackend;
  readonly #engine = tf.engine() as unknown as Engine;
  #data: object[] = [];
  #kept: Tensor[] = [];

  constructor(storage: StorageBackend) {
    this.#storage = storage;
    const engine = this.#engine;
    const write = storage.write.bind(storage);
    storage.write = (values, shape, dtype) => {
      const dataId = write(values, shape, dtype);
      this.#data.push(dataId);
      return dataId;
    };
    // So the engine saves for the gradient what a tidy must not free, before the operation is on the tape.
    const keep = engine.keep.bind(engine);
    engine.keep = (tensor) => {
      if (engine.state.kernelDepth > 0) this.#kept.push(tensor);
      return keep(tensor);
    };
  }

  forget(): void {
    if (this.#data.length > 0) this.#data = [];
    if (this.#kept.length > 0) this.#kept = [];
  }

  free(): void {
    tf.dispose(this.#kept.splice(0));
    // What the engine knows is freed by the tidy around.
    const { tensorInfo } = this.#engine.state;
    for (const dataId of this.#data.splice(0)) if (!tensorInfo.has(dataId)) this.#storage.disposeData(dataId, true);
  }

  stop(): void {
    delete (this.#engine as Partial<Engine>).keep; // the class's own shows again
  }
}

function explain(name: string | undefined, error: unknown): unknown {
  if (error instanceof DeviceError) {
    if (name === undefined || error.kind !== 'memory' || error.cause) return error;
    return new DeviceError('memory', `${name}: ${error.message}`, { cause: error });
  }
  if (!(error instanceof Error) || error instanceof LabError || !isTrap(error)) return error;
  const place = name === undefined ? 'an operation' : `the operation '${name}'`;
  const what = `The wasm backend broke down in ${place} (${error.message}), and its tensors cannot be relied on.`;
  return new DeviceError('lost', `${what} ${START_AGAIN}`, { cause: error });
}

/** WebAssembly ends a program that aborts or goes out of bounds by an error of its own kind. */
function isTrap(error: Error): boolean {
  return error.constructor.name === 'RuntimeError';
}

/** What to do when a device is gone. */
export const START_AGAIN =
  'Start again with startBackend(), and go on from the last checkpoint: train(…, { checkpoint: { path, resume: true } }).';

/** What to do about memory that does not suffice. */
export const LESS_MEMORY =
  'Dispose of tensors that are no longer needed (tf.tidy), take a smaller batch or model or gradient checkpointing ' +
  '(checkpoint: true in the config of a Transformer), or another backend. What was there before is intact.';
