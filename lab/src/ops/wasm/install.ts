/**
 * @file Starts the pool and registers the kernels when the wasm backend starts.
 */
import { LabError } from '../../base/index.ts';
import { onBackendStart, tf, wasmHeap, type WasmBackend } from '../../backend/index.ts';
import { FLAVOURS, flavourWords, runnableFlavours, type Flavour } from './flavour.ts';
import { wasmKernels, type WasmContext } from './kernels.ts';
import { KernelPool } from './pool.ts';

/** LAB_WASM_FLAVOUR=stock keeps TensorFlow.js's own kernels wherever it has one, as a baseline to measure against. */
const STOCK = 'stock';

/** The best flavour that runs here, or the one that LAB_WASM_FLAVOUR asks for (to compare them). */
function chooseFlavour(shared: boolean): Flavour | undefined {
  const runnable = runnableFlavours(shared);
  const wanted = process.env['LAB_WASM_FLAVOUR'];
  if (!wanted || wanted === STOCK) return runnable[0];
  const found = runnable.find((flavour) => flavour === wanted);
  if (found) return found;
  const known = (FLAVOURS as readonly string[]).includes(wanted);
  throw new LabError(`LAB_WASM_FLAVOUR: ${wanted} ${known ? 'does not run here' : 'is not a flavour'}. Here run: ${runnable.join(', ')}.`);
}

let running: WasmContext | undefined;

/** What the lab's kernels on wasm work with, while they are in force. */
export function runningWasm(): WasmContext | undefined {
  return running;
}

onBackendStart('wasm', async ({ threads }) => {
  const { shared } = wasmHeap();
  const flavour = chooseFlavour(shared);
  if (!flavour) return { description: 'no SIMD, stock kernels', operations: [], remove: async () => {} };
  const backend = tf.backend() as unknown as WasmBackend;
  const pool = new KernelPool(backend.wasm, flavour, threads);
  const stock = process.env['LAB_WASM_FLAVOUR'] === STOCK;
  const unregister = wasmKernels.register({ backend, pool }, stock);
  running = stock ? undefined : { backend, pool };
  return {
    description: stock ? "TensorFlow.js's own kernels" : flavourWords[flavour],
    threads: pool.threads,
    operations: stock ? [] : wasmKernels.names(),
    async remove() {
      running = undefined;
      unregister();
      await pool.stop();
    },
  };
});
