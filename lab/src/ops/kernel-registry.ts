/**
 * @file Hangs the lab's kernels into a backend of TensorFlow.js, in the place of its own, and takes them out again.
 */
import { tf, type BackendName } from '../backend/index.ts';
import { OWN } from './fused.ts';

/** A tensor inside a kernel: TensorFlow.js's TensorInfo. */
export type Info = tf.TensorInfo;

/** The inputs of a kernel by name; absent ones are undefined. */
export type Inputs = Readonly<Record<string, Info | undefined>>;

/** Computes, or returns undefined for what it leaves to TensorFlow.js's own kernel. */
export type Kernel<Context> = (
  context: Context,
  inputs: Inputs,
  attributes: Readonly<Record<string, unknown>>,
) => Info | Info[] | undefined;

/** The lab's kernels for one backend; `Context` is what they work with. */
export class KernelRegistry<Context> {
  readonly #backendName: BackendName;
  readonly #kernels = new Map<string, Kernel<Context>>();

  constructor(backendName: BackendName) {
    this.#backendName = backendName;
  }

  /** Declares a kernel for TensorFlow.js's operation of that name; it is in force whenever the backend runs. */
  declare(name: string, kernel: Kernel<Context>): void {
    this.#kernels.set(name, kernel);
  }

  names(): string[] {
    return [...this.#kernels.keys()];
  }

  /**
   * Registers all declared kernels in the place of TensorFlow.js's own.
   *
   * @param onlyMissing only those that TensorFlow.js's plain operations need and this backend of it lacks
   * @returns what puts those back
   */
  register(context: Context, onlyMissing = false): () => void {
    const backendName = this.#backendName;
    const before = new Map<string, tf.KernelConfig | undefined>();
    for (const [kernelName, kernel] of this.#kernels) {
      const stock = tf.getKernel(kernelName, backendName);
      if (onlyMissing && (stock || kernelName.startsWith(OWN))) continue;
      before.set(kernelName, stock);
      if (stock) tf.unregisterKernel(kernelName, backendName);
      tf.registerKernel({
        kernelName,
        backendName,
        ...(stock?.setupFunc && { setupFunc: stock.setupFunc }),
        kernelFunc(call) {
          const result = kernel(context, call.inputs as Inputs, (call.attrs ?? {}) as Record<string, unknown>);
          if (result !== undefined) return result;
          if (!stock) throw new Error(`${kernelName} is not there on ${backendName} for these inputs`);
          return stock.kernelFunc(call);
        },
      });
    }
    return () => {
      for (const [name, stock] of before) {
        tf.unregisterKernel(name, backendName);
        if (stock) tf.registerKernel(stock);
      }
    };
  }
}
