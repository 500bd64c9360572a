/**
 * @file Watching operations as they run: which kernel of the backend was called, on what, and what came of it.
 */
import { tf, type Tensor } from './tf.ts';

/** What an observer is told of. Kernels that call others are told of after those. */
export interface KernelObserver {
  /** @param name TensorFlow.js's name of the operation: `BatchMatMul`; the lab's own begin with `lab.` */
  after?(name: string, inputs: readonly Tensor[], outputs: readonly Tensor[]): void;
  /** A kernel, or an operation that brings its own gradient (it has no name), has thrown; what is returned is thrown instead. */
  failed?(name: string | undefined, error: unknown): unknown;
  /** Before a kernel that no other has called. */
  outermost?(): void;
}

type Inputs = Readonly<Record<string, Tensor | undefined>>;

interface KernelCall {
  /** Absent for an operation that brings its own gradient; the kernels that it is made of are calls of their own. */
  readonly kernelName?: string;
  readonly inputs: Inputs;
}

/** The method of TensorFlow.js's engine that every operation goes through. */
interface Engine {
  runKernelFunc(call: KernelCall): Tensor | Tensor[];
  readonly state: { readonly kernelDepth: number };
}

const observers = new Set<KernelObserver>();

/** Tells the observer of every kernel that runs from now on, until the function that is returned is called. */
export function observeKernels(observer: KernelObserver): () => void {
  if (observers.size === 0) install();
  observers.add(observer);
  return () => {
    observers.delete(observer);
    if (observers.size === 0) delete (tf.engine() as unknown as Partial<Engine>).runKernelFunc; // the class's own shows again
  };
}

function install(): void {
  const engine = tf.engine() as unknown as Engine;
  const run = engine.runKernelFunc.bind(engine);
  engine.runKernelFunc = (call) => {
    const { kernelName, inputs } = call;
    if (engine.state.kernelDepth === 0) for (const observer of observers) observer.outermost?.();
    const outputs = watched(kernelName, () => run(call));
    if (kernelName === undefined) return outputs;
    for (const observer of observers) observer.after?.(kernelName, present(inputs), [outputs].flat());
    return outputs;
  };
}

function watched<T>(kernelName: string | undefined, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw [...observers].reduce((known, observer) => observer.failed?.(kernelName, known) ?? known, error);
  }
}

const present = (inputs: Inputs): Tensor[] => Object.values(inputs).flatMap((input) => input ?? []);
