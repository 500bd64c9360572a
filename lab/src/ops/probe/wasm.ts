/** @file Probes of the wasm backend: SIMD loops on all threads of the pool (loops.as.ts). */
import type { WasmContext } from '../wasm/index.ts';
import { MULTIPLY_ADD_REPEATEDLY, READ_REPEATEDLY } from '../wasm/operations.ts';
import type { Probes } from './probe.ts';

/** A thread's stretch is read in pieces of this many bytes, and it begins at a page of memory. */
const PIECE = 128;
const PAGE = 4096;
/** Bytes for the sums of a thread. */
const SUMS = 512;

/** Working sets are cut into one stretch for each thread, so that a small one lies in the caches next to the cores. */
export function wasmProbes({ backend, pool }: WasmContext, largestBytes: number): Probes {
  const { wasm } = backend;
  const { threads, tile } = pool;
  const memory = wasm._malloc(largestBytes + PAGE) >>> 0;
  const start = Math.ceil(memory / PAGE) * PAGE;
  // Memory that nobody has written to is a single page of zeros, which would be read from the fastest cache.
  new Uint8Array(wasm.HEAPU8.buffer, start, largestBytes).fill(1);
  return {
    largestBytes,
    smallestBytes: 8 * 1024 * threads,
    read(bytes) {
      const stretch = Math.floor(bytes / threads / PIECE) * PIECE;
      return {
        bytes: stretch * threads,
        async run(turns) {
          pool.run(READ_REPEATEDLY, threads, [start, stretch, turns, pool.scratch(SUMS * threads)]);
        },
      };
    },
    compute: {
      flops: 2 * tile.rows * tile.columns * threads,
      async run(turns) {
        pool.run(MULTIPLY_ADD_REPEATEDLY, threads, [turns, pool.scratch(SUMS * threads)]);
      },
    },
    call: {
      async run(turns) {
        const to = pool.scratch(SUMS * threads);
        for (let turn = 0; turn < turns; turn++) pool.run(MULTIPLY_ADD_REPEATEDLY, threads, [0, to]);
      },
    },
    dispose: () => wasm._free(memory),
  };
}
