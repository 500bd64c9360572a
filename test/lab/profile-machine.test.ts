/** @file measureMachine: its loops do the work that they are timed for, and its numbers are ones that a machine can have. */
import { attainable, measureMachine, startBackend, stopBackend, tf, wasmHeap, type BackendOptions } from 'lab';
import { afterAll, describe, expect, it } from 'vitest';
import { deviceProbes } from '../../lab/dist/ops/probe/index.js';
import { runningWasm } from '../../lab/dist/ops/wasm/index.js';
import { MULTIPLY_ADD_REPEATEDLY, READ_REPEATEDLY } from '../../lab/dist/ops/wasm/operations.js';

const backends: Record<string, BackendOptions> = {
  wasm: { backend: 'wasm', threads: 2 },
  'wasm, one thread': { backend: 'wasm', threads: 1 },
  cpu: { backend: 'cpu' },
  'webgpu, in software': { backend: 'webgpu', softwareGpu: true },
};

afterAll(stopBackend);

it('asks for a backend first', async () => {
  await stopBackend();
  await expect(measureMachine()).rejects.toThrow(/await startBackend\(\) first/);
});

describe.each(Object.entries(backends))('on %s', (_, options) => {
  it('measures speeds that are positive, and a curve over doubling sizes', async (context) => {
    const device = await startBackend(options).catch(() => context.skip());
    const before = tf.memory().numTensors;
    const machine = await measureMachine({ budgetMs: 4, largestBytes: 2 ** 20 });
    expect(machine.device).toBe(`${device.name} · ${device.description}`);
    const { flopsPerSecond, matmulFlopsPerSecond, slowBytesPerSecond, fastBytesPerSecond, secondsPerCall, ridge } = machine;
    const numbers = { flopsPerSecond, matmulFlopsPerSecond, slowBytesPerSecond, fastBytesPerSecond, secondsPerCall, ridge };
    for (const [what, number] of Object.entries(numbers)) {
      expect(number, what).toBeGreaterThan(0);
      expect(number, what).toBeLessThan(1e15);
    }
    expect(flopsPerSecond).toBeGreaterThanOrEqual(matmulFlopsPerSecond);
    expect(ridge).toBeCloseTo(flopsPerSecond / slowBytesPerSecond, 6);
    const sizes = machine.bandwidth.map(({ bytes }) => bytes);
    expect(sizes.length).toBeGreaterThan(4);
    expect(sizes.slice(1)).toEqual(sizes.slice(0, -1).map((bytes) => 2 * bytes));
    expect(sizes.at(-1)).toBe(2 ** 20);
    expect(machine.bandwidth.every(({ bytesPerSecond }) => bytesPerSecond > 0)).toBe(true);
    expect(slowBytesPerSecond).toBe(machine.bandwidth.at(-1)!.bytesPerSecond);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('refuses what makes no sense', async (context) => {
    await startBackend(options).catch(() => context.skip());
    await expect(measureMachine({ budgetMs: 0 })).rejects.toThrow('budgetMs must be positive, got 0');
    await expect(measureMachine({ largestBytes: 3 * 2 ** 20 })).rejects.toThrow(/power of two from 1 MiB to 1 GiB, got 3145728/);
    await expect(measureMachine({ largestBytes: 2 ** 19 })).rejects.toThrow(/power of two/);
    await expect(measureMachine({ largestBytes: 2 ** 31 })).rejects.toThrow(/power of two/);
  });
});

describe('the loops on wasm', () => {
  it('read every byte as often as they are told', async () => {
    await startBackend({ backend: 'wasm', threads: 2 });
    const { backend, pool } = runningWasm()!;
    const [stretch, chunks, turns] = [1280, 2, 3];
    const start = backend.wasm._malloc(stretch * chunks);
    const to = backend.wasm._malloc(512 * chunks);
    const words = new Int32Array(backend.wasm.HEAPU8.buffer, start, (stretch * chunks) / 4);
    words.forEach((_, i) => (words[i] = i * i + 1));
    pool.run(READ_REPEATEDLY, chunks, [start, stretch, turns, to]);
    const half = words.length / 2;
    for (let chunk = 0; chunk < chunks; chunk++) {
      const sums = new Int32Array(backend.wasm.HEAPU8.buffer, to + 512 * chunk, 32);
      const wanted = words.subarray(chunk * half, (chunk + 1) * half).reduce((sum, word) => sum + word, 0);
      expect(sums.reduce((sum, part) => sum + part, 0)).toBe(turns * wanted);
    }
    backend.wasm._free(start);
    backend.wasm._free(to);
  });

  it('multiply and add once for each number of the register tile', async () => {
    await startBackend({ backend: 'wasm', threads: 2 });
    const { backend, pool } = runningWasm()!;
    const numbers = pool.tile.rows * pool.tile.columns;
    const to = backend.wasm._malloc(512);
    pool.run(MULTIPLY_ADD_REPEATEDLY, 1, [3, to]);
    const results = new Float32Array(backend.wasm.HEAPU8.buffer, to, numbers);
    expect([...results]).toEqual(Array<number>(numbers).fill(1.75)); // 0 → 1 → 1.5 → 1.75
    backend.wasm._free(to);
  });

  it('give their memory back', async () => {
    await startBackend({ backend: 'wasm', threads: 2 });
    const { usage } = wasmHeap();
    const before = usage.live;
    const probes = deviceProbes(2 ** 20);
    expect(usage.live).toBeGreaterThan(before + 2 ** 20);
    probes.dispose();
    expect(usage.live).toBe(before);
  });
});

it('finds the roof over an intensity', () => {
  const machine = { flopsPerSecond: 100, slowBytesPerSecond: 20 };
  expect([1, 5, 50].map((intensity) => attainable(machine, intensity))).toEqual([20, 100, 100]);
});
