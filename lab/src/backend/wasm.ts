/**
 * @file The backend that works everywhere: TensorFlow.js compiled to WebAssembly, on a heap that other threads can see.
 *
 * TensorFlow.js ships a multi-threaded build but refuses to use it in Node (tfjs issue 3830). What the lab wants from that
 * build is only its shared memory: the lab's own kernels (ops/wasm) run on it from several threads, and TensorFlow.js's
 * eight helper threads are never started.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { LabError } from '../base/index.ts';
import { DeviceError, Unavailable, type Backend, type LaunchOptions, type RunningBackend } from './device.ts';
import { LESS_MEMORY, watchFailures } from './failures.ts';
import { installKernels, removeKernels } from './hooks.ts';
import { webAssembly, type WasmMemory } from './webassembly.ts';

const require = createRequire(import.meta.url);

/** The part of Emscripten's module object that is used here and by the kernels in ops/wasm. */
export interface WasmModule {
  readonly HEAPU8: Uint8Array;
  _malloc(bytes: number): number;
  _free(offset: number): void;
  cwrap(name: string, result: string | null, parameters: readonly string[]): (...values: never[]) => unknown;
  tfjs?: Record<string, unknown>;
}

/** TensorFlow.js's wasm backend object: its private members are stable, because the version is pinned exactly. */
export interface WasmBackend {
  readonly wasm: WasmModule;
  readonly dataIdMap: { get(dataId: object): { memoryOffset: number; refCount: number } };
  makeOutput(shape: readonly number[], dtype: string): tf.TensorInfo;
  incRef(dataId: object): void;
  disposeData(dataId: object): boolean;
}

/** The heap that tensors and kernels share. */
export interface WasmHeap {
  readonly memory: WasmMemory;
  /** Whether other threads can see it. */
  readonly shared: boolean;
  readonly usage: HeapUsage;
}

/** How much of the heap is taken, in bytes. */
export interface HeapUsage {
  readonly live: number;
  /** The most that was taken at once since `resetPeak`. */
  readonly peak: number;
  resetPeak(): void;
}

type Factory = (config: Record<string, unknown>) => Promise<WasmModule & Record<string, unknown>>;

const PAGES_AT_START = 256;
const PAGES_AT_MOST = 65536; // 4 GiB, the most that 32-bit addresses reach
const MOST_BYTES = 2 ** 32;
/** Left for what TensorFlow.js's C++ allocates for itself: it aborts when it finds none. */
const RESERVE = 2 ** 25;

let heap: WasmHeap | undefined;

/** The heap of the running wasm backend. */
export function wasmHeap(): WasmHeap {
  if (!heap) throw new LabError('The wasm backend is not running.');
  return heap;
}

function allocateSharedMemory(): WasmMemory | undefined {
  try {
    const memory = new webAssembly!.Memory({ initial: PAGES_AT_START, maximum: PAGES_AT_MOST, shared: true });
    return memory.buffer instanceof SharedArrayBuffer ? memory : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Runs `start` with a stand-in for worker threads that says it is ready and does nothing: Emscripten's module makes eight
 * workers while it starts, and with a thread count of one it never gives them anything to do.
 */
function withoutWorkers<T>(start: () => T): T {
  class IdleWorker {
    onmessage: ((event: { data: unknown }) => void) | undefined;
    on(): void {}
    unref(): void {}
    terminate(): void {}
    postMessage(message: { cmd?: string }): void {
      if (message.cmd === 'load') queueMicrotask(() => this.onmessage?.({ data: { cmd: 'loaded' } }));
    }
  }
  const threads = require('node:worker_threads') as { Worker: unknown };
  const scope = globalThis as { Worker?: unknown };
  const before = { worker: threads.Worker, had: 'Worker' in scope, global: scope.Worker };
  threads.Worker = IdleWorker;
  try {
    return start();
  } finally {
    threads.Worker = before.worker;
    if (before.had) scope.Worker = before.global;
    else delete scope.Worker;
  }
}

/** Runs `start` and takes off again the handlers that Emscripten puts on the process, which would turn exit code 1 into 7. */
async function withoutHandlers<T>(start: () => Promise<T>): Promise<T> {
  const events = ['uncaughtException', 'unhandledRejection'] as const;
  const before = events.map((event) => new Set<unknown>(process.rawListeners(event)));
  const takeOff = (): void =>
    events.forEach((event, i) => {
      for (const listener of process.rawListeners(event)) {
        if (!before[i]?.has(listener)) process.removeListener(event, listener as (...args: unknown[]) => void);
      }
    });
  try {
    return await start();
  } finally {
    takeOff();
  }
}

/** Instantiates TensorFlow.js's WebAssembly; returns it and the memory that it lives in. */
async function instantiate(memory: WasmMemory | undefined): Promise<{ module: WasmModule; memory: WasmMemory }> {
  const folder = join(dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json')), 'wasm-out');
  const [code, build] = memory
    ? ['tfjs-backend-wasm-threaded-simd.js', 'tfjs-backend-wasm-threaded-simd.wasm']
    : ['tfjs-backend-wasm.js', 'tfjs-backend-wasm-simd.wasm'];
  const factory = require(join(folder, code)) as Factory;
  const config = {
    wasmBinary: readFileSync(join(folder, build)),
    locateFile: (file: string) => join(folder, file),
    print: () => {},
    printErr: () => {},
    ...(memory && { wasmMemory: memory }),
  };
  const module = await withoutHandlers(() => withoutWorkers(() => factory(config)));
  const exported = (module['asm'] as { memory?: WasmMemory }).memory;
  return { module, memory: memory ?? exported! };
}

/** The bridge that TensorFlow.js's own start-up code lays between its JavaScript and its WebAssembly. */
function addBridge(module: WasmModule): void {
  module.tfjs = {
    init: module.cwrap('init', null, []),
    initWithThreadsCount: module.cwrap('init_with_threads_count', null, ['number']),
    getThreadsCount: module.cwrap('get_threads_count', 'number', []),
    registerTensor: module.cwrap('register_tensor', null, ['number', 'number', 'number']),
    disposeData: module.cwrap('dispose_data', null, ['number']),
    dispose: module.cwrap('dispose', null, []),
  };
}

/**
 * Counts what is taken from the heap, and turns "no memory" (offset 0, which the stock kernels would write to) into an error.
 */
function guardAllocation(module: WasmModule): HeapUsage {
  // Emscripten's exports replace themselves at their first call; only then do they hold still.
  module._free(module._malloc(16));
  const malloc = module._malloc.bind(module);
  const free = module._free.bind(module);
  const sizes = new Map<number, number>();
  let live = 0;
  let peak = 0;
  module._malloc = (bytes: number): number => {
    // Sizes wrap at 4 GiB: a larger one would seem to be a small one.
    const offset = live + bytes < MOST_BYTES - RESERVE ? malloc(bytes) : 0;
    if (offset === 0) throw heapIsFull(live, bytes);
    sizes.set(offset >>> 0, bytes); // offsets come as signed numbers and go as unsigned ones
    live += bytes;
    if (live > peak) peak = live;
    return offset;
  };
  module._free = (offset: number): void => {
    live -= sizes.get(offset >>> 0) ?? 0;
    sizes.delete(offset >>> 0);
    free(offset);
  };
  return {
    get live() {
      return live;
    },
    get peak() {
      return peak;
    },
    resetPeak() {
      peak = live;
    },
  };
}

function heapIsFull(live: number, bytes: number): DeviceError {
  const [taken, more] = [live, bytes].map((n) => (n / 2 ** 20).toFixed(0));
  return new DeviceError(
    'memory',
    `The wasm heap is full: ${taken} MiB of at most 4096 are taken and ${more} more were asked for. ${LESS_MEMORY}`,
  );
}

async function startTensorFlowWasm(): Promise<void> {
  const { BackendWasm, setThreadsCount } = await import('@tensorflow/tfjs-backend-wasm');
  setThreadsCount(1);
  const shared = typeof SharedArrayBuffer === 'function' ? allocateSharedMemory() : undefined;
  const { module, memory } = await instantiate(shared);
  addBridge(module);
  const usage = guardAllocation(module);
  if (tf.findBackendFactory('wasm')) tf.removeBackend('wasm');
  tf.registerBackend('wasm', () => new BackendWasm(module as never));
  if (!(await tf.setBackend('wasm'))) throw new Unavailable('TensorFlow.js could not start its WebAssembly');
  heap = { memory, shared: shared !== undefined, usage };
}

export const wasm: Backend = {
  name: 'wasm',
  async launch({ threads }: LaunchOptions): Promise<RunningBackend> {
    if (!webAssembly) throw new Unavailable('this Node has no WebAssembly (was it started with --jitless?)');
    await startTensorFlowWasm();
    const kernels = await installKernels({ name: 'wasm', threads });
    const failures = watchFailures(tf.backend());
    const used = Math.max(1, ...kernels.map((k) => k.threads ?? 1));
    const words = [used === 1 ? '1 thread' : `${used} threads`, ...kernels.map((k) => k.description).filter(Boolean)];
    return {
      device: words.join(', '),
      threads: used,
      accelerated: false,
      get lost() {
        return failures.lost;
      },
      async stop() {
        failures.stop();
        await removeKernels();
        tf.removeBackend('wasm');
        heap = undefined;
      },
    };
  },
};
