/**
 * @file A thread of the pool: it instantiates the kernels on the shared heap and stays inside them (`work` in parallel.as.ts)
 * until the pool stops.
 */
import { workerData } from 'node:worker_threads';
import { webAssembly, type WasmCode, type WasmMemory } from '../../backend/webassembly.ts';
import type { WorkerExports } from './pool.ts';

/** What the pool tells its threads. */
export interface WorkerTask {
  readonly code: WasmCode;
  readonly memory: WasmMemory;
  readonly controlBlock: number;
  readonly workspace: number;
  readonly spins: number;
  /** Where to leave a 1 when this thread fails, and where the caller waits: indices into the memory seen as 32-bit integers. */
  readonly failedIndex: number;
  readonly doneIndex: number;
}

const task = workerData as WorkerTask;
const { exports } = new webAssembly!.Instance(task.code, { env: { memory: task.memory } });
const kernels = exports as unknown as WorkerExports;
try {
  kernels.initialize(task.controlBlock, task.workspace);
  kernels.work(task.spins);
} catch (error) {
  const words = new Int32Array(task.memory.buffer);
  Atomics.store(words, task.failedIndex, 1);
  Atomics.notify(words, task.doneIndex);
  throw error;
}
