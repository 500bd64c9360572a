/**
 * @file Listens to the running backend: every kernel that is called, on what, and how long it took.
 */
import { tf } from '../backend/index.ts';
import type { WebGpuBackend } from '../ops/index.ts';
import type { KernelCall, TensorShape } from './cost.ts';

/** A call as it was heard. */
export interface RecordedCall extends KernelCall {
  /** On a GPU what its clock said, else the time until the kernel returned. NaN on a GPU that has no clock for it. */
  readonly milliseconds: number | Promise<number>;
}

/** What a backend hands to a kernel. */
type Arguments = Parameters<tf.KernelFunc>[0];
type Timer = Pick<WebGpuBackend, 'supportTimestampQuery'> & { activeTimers?: WebGpuBackend['activeTimers'] };

export interface Recording {
  readonly calls: readonly RecordedCall[];
  /** The most bytes that tensors took at the beginning of any kernel. */
  readonly peakTensorBytes: number;
  /** Puts everything back. */
  stop(): void;
}

/** Other things may stand among the inputs: nothing, or what a module has beside its weights. */
const isTensor = (info: unknown): info is tf.TensorInfo => typeof info === 'object' && info !== null && 'dataId' in info;

const copyOf = ({ shape, dtype }: tf.TensorInfo): TensorShape => ({ shape: [...shape], dtype });

/** Records the kernels of the running backend until it is stopped. A kernel that calls others counts as one. */
export function recordKernels(): Recording {
  const calls: RecordedCall[] = [];
  const clock = tf.getBackend() === 'webgpu' ? gpuClock : wallClock;
  let depth = 0;
  let peakTensorBytes = tf.memory().numBytes;
  const hear = (name: string, run: tf.KernelFunc, given: Arguments): tf.TensorInfo | tf.TensorInfo[] => {
    if (depth > 0) return run(given);
    peakTensorBytes = Math.max(peakTensorBytes, tf.memory().numBytes);
    depth++;
    try {
      const { result, milliseconds } = clock(() => run(given));
      calls.push({ ...describe(name, given, result), milliseconds });
      return result;
    } finally {
      depth--;
    }
  };
  const kernels = tf.getKernelsForBackend(tf.getBackend()) as { kernelName: string; kernelFunc: tf.KernelFunc }[];
  const before = kernels.map(({ kernelFunc }) => kernelFunc);
  for (const [i, kernel] of kernels.entries()) kernel.kernelFunc = (given) => hear(kernel.kernelName, before[i]!, given);
  return {
    calls,
    get peakTensorBytes() {
      return Math.max(peakTensorBytes, tf.memory().numBytes);
    },
    stop: () => kernels.forEach((kernel, i) => (kernel.kernelFunc = before[i]!)),
  };
}

function describe(name: string, { inputs, attrs }: Arguments, result: tf.TensorInfo | tf.TensorInfo[]): KernelCall {
  const given = Object.entries((inputs ?? {}) as Record<string, unknown>);
  return {
    name,
    inputs: Object.fromEntries(given.flatMap(([input, info]) => (isTensor(info) ? [[input, copyOf(info)]] : []))),
    outputs: [result].flat().map(copyOf),
    attributes: (attrs ?? {}) as Readonly<Record<string, unknown>>,
  };
}

interface Timed<T> {
  readonly result: T;
  readonly milliseconds: number | Promise<number>;
}

function wallClock<T>(run: () => T): Timed<T> {
  const started = performance.now();
  const result = run();
  return { result, milliseconds: performance.now() - started };
}

/** Has the GPU note when each dispatch of the kernel began and ended. */
function gpuClock<T>(run: () => T): Timed<T> {
  const backend = tf.backend() as unknown as Timer;
  if (!backend.supportTimestampQuery) return { result: run(), milliseconds: NaN };
  const before = backend.activeTimers ?? null;
  const timers: { readonly name: string; readonly query: Promise<number> }[] = [];
  backend.activeTimers = timers;
  try {
    const result = run();
    const milliseconds = Promise.all(timers.map(({ query }) => query)).then((parts) => parts.reduce((sum, ms) => sum + ms, 0));
    milliseconds.catch(() => {}); // whoever awaits it hears of it
    return { result, milliseconds };
  } finally {
    backend.activeTimers = before;
  }
}
