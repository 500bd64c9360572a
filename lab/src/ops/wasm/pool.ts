/**
 * @file The threads that run the kernels, seen from JavaScript. To run an operation is to write its number and some thirty
 * arguments into the control block (its layout is in parallel.as.ts) and to call `submit`, which returns when it is done.
 */
import { Worker } from 'node:worker_threads';
import { messageOf } from '../../base/index.ts';
import { DeviceError, webAssembly, wasmHeap, type WasmModule } from '../../backend/index.ts';
import { compileFlavour, type Flavour } from './flavour.ts';
import type { WorkerTask } from './worker.ts';

/** What every thread calls. */
export interface WorkerExports {
  initialize(controlBlock: number, workspace: number): void;
  work(spins: number): void;
}

interface KernelExports extends WorkerExports {
  submit(chunks: number, sequence: number, alone: number): number;
  workspace(): number;
  readonly ROWS: { readonly value: number };
  readonly COLUMNS: { readonly value: number };
}

const CONTROL_BYTES = 1024;
const CACHE_LINE = 64;
const WORD = 4;
const [DONE, GENERATION, STOP, FAILED, OPERATION, ARGUMENTS] = [64, 128, 256, 320, 448, 452].map((bytes) => bytes / WORD) as [
  number, number, number, number, number, number,
];
const MOST_CHUNKS = 0xfffff - 256; // the ticket counts in 20 bits, and idle threads may each run one past the end
const MOST_SEQUENCE = 0x7fffff;
/** How often an idle thread looks for work before it sleeps: about a millisecond, the pause between two operations of a step. */
const WORKER_SPINS = 200_000;

/** A number that is written as a float rather than as an integer. */
export interface FloatArgument {
  readonly float: number;
}

export class KernelPool {
  readonly threads: number;
  readonly flavour: Flavour;
  /** The register tile: rows of A, columns of B. */
  readonly tile: { readonly rows: number; readonly columns: number };
  readonly #kernels: KernelExports;
  readonly #module: WasmModule;
  readonly #words: Int32Array;
  readonly #floats: Float32Array;
  readonly #workers: Worker[] = [];
  readonly #blocks: number[] = [];
  #scratch = { offset: 0, bytes: 0 };
  #sequence = 0;
  #failure: string | undefined;
  #stopping = false;

  /** @param threads 1 needs no shared heap and starts no worker */
  constructor(module: WasmModule, flavour: Flavour, threads: number) {
    const { memory, shared } = wasmHeap();
    const code = compileFlavour(flavour, shared);
    const { exports } = new webAssembly!.Instance(code, { env: { memory } });
    this.#kernels = exports as unknown as KernelExports;
    this.#module = module;
    this.flavour = flavour;
    this.threads = shared ? threads : 1;
    this.tile = { rows: this.#kernels.ROWS.value, columns: this.#kernels.COLUMNS.value };
    const controlBlock = this.#allocate(CONTROL_BYTES);
    this.#words = new Int32Array(memory.buffer, controlBlock, CONTROL_BYTES / WORD).fill(0);
    this.#floats = new Float32Array(memory.buffer, controlBlock, CONTROL_BYTES / WORD);
    const workspace = (): number => this.#allocate(this.#kernels.workspace());
    this.#kernels.initialize(controlBlock, workspace());
    const first = controlBlock / WORD;
    for (let i = 1; i < this.threads; i++) {
      this.#startWorker({
        code,
        memory,
        controlBlock,
        workspace: workspace(),
        spins: WORKER_SPINS,
        failedIndex: first + FAILED,
        doneIndex: first + DONE,
      });
    }
  }

  /** Allocates for the life of the pool, at the start of a cache line. */
  #allocate(bytes: number): number {
    const offset = this.#module._malloc(bytes + CACHE_LINE) >>> 0;
    this.#blocks.push(offset);
    return Math.ceil(offset / CACHE_LINE) * CACHE_LINE;
  }

  #startWorker(task: WorkerTask): void {
    const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: task, execArgv: [], stdout: false });
    worker.on('error', (error: unknown) => (this.#failure ??= messageOf(error)));
    worker.on('exit', (code) => {
      if (!this.#stopping) this.#failure ??= `it ended with code ${code}`;
    });
    worker.unref();
    this.#workers.push(worker);
  }

  /** Working memory for one operation; what was in it before is lost. */
  scratch(bytes: number): number {
    if (bytes > this.#scratch.bytes) {
      if (this.#scratch.offset !== 0) this.#module._free(this.#scratch.offset);
      this.#scratch = { offset: 0, bytes: 0 };
      this.#scratch = { offset: this.#module._malloc(bytes) >>> 0, bytes };
    }
    return this.#scratch.offset;
  }

  /**
   * Runs an operation, cut into chunks, on all threads.
   *
   * @param args offsets in the heap, sizes, and floats, in the order that the kernel documents
   * @throws DeviceError when a thread has died
   */
  run(operation: number, chunks: number, args: readonly (number | FloatArgument)[]): void {
    if (this.#failure !== undefined) throw this.#broken(this.#failure);
    if (chunks > MOST_CHUNKS) throw new RangeError(`wasm kernels: ${chunks} chunks are more than ${MOST_CHUNKS}`);
    this.#words[OPERATION] = operation;
    for (let i = 0; i < args.length; i++) {
      const value = args[i]!;
      if (typeof value === 'number') this.#words[ARGUMENTS + i] = value;
      else this.#floats[ARGUMENTS + i] = value.float;
    }
    this.#sequence = (this.#sequence + 1) & MOST_SEQUENCE;
    const outcome = this.#kernels.submit(chunks, this.#sequence, this.threads === 1 ? 1 : 0);
    if (outcome === 0) return;
    this.#failure = outcome === 1 ? 'a kernel failed in it' : 'it does not answer';
    throw this.#broken(this.#failure);
  }

  #broken(reason: string): DeviceError {
    return new DeviceError(
      'lost',
      `A thread of the wasm backend is lost (${reason}). Start the backend again: await startBackend(), and go on from the ` +
        'last checkpoint; LAB_THREADS=1 does without threads.',
    );
  }

  /** Ends the threads and gives their memory back. */
  async stop(): Promise<void> {
    this.#stopping = true;
    Atomics.store(this.#words, STOP, 1);
    Atomics.add(this.#words, GENERATION, 1);
    Atomics.notify(this.#words, GENERATION);
    // The running process must not end while it waits for unreferenced threads.
    for (const worker of this.#workers) worker.ref();
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
    if (this.#scratch.offset !== 0) this.#module._free(this.#scratch.offset);
    for (const block of this.#blocks) this.#module._free(block);
  }
}
