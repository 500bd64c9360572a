/** @file What the benchmarks compare: competitors in turn, operations that give the same, rows that say what they must. */
import { acceleratedOperations, startBackend, stopBackend, tf, webGpuKernel, withStockWebGpu, type Tensor } from 'lab';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  benchmarks,
  operationPairs,
  passes,
  takeTurns,
  withoutFusedKernels,
  type BenchRow,
  type Competitor,
} from '../../lab/dist/bench/index.js';
import { relativeError } from './core-fixture.ts';

afterAll(stopBackend);

function ownKernels(backend: string): string[] {
  const names = tf.getKernelsForBackend(backend).map(({ kernelName }) => kernelName);
  return names.filter((name) => name.startsWith('lab.'));
}

describe('turns', () => {
  const log: string[] = [];
  const competitor = (name: string, ms: number): Competitor => ({
    step: async () => {
      log.push(name);
      return ms + log.length / 1000;
    },
    peakBytes: async () => 7 * ms,
  });
  afterEach(() => log.splice(0));

  it('warm up, then go round, each with as many steps as it may have', async () => {
    const options = { turns: 2, steps: 3, budgetMs: 1000, warmUp: 1, pauseMs: 0 };
    const [a, b] = await takeTurns([competitor('a', 10), competitor('b', 20)], options);
    expect(log.join('')).toBe('abaaabbbaaabbb');
    expect(a).toMatchObject({ peakBytes: 70, minMs: 10.003, maxMs: 10.011 });
    expect(b!.medianMs).toBeCloseTo(20.012, 9);
  });

  it('have one step at least, however long it takes', async () => {
    await takeTurns([competitor('a', 1), competitor('b', 1)], { turns: 2, steps: 3, budgetMs: 0, warmUp: 0, pauseMs: 0 });
    expect(log.join('')).toBe('abab');
  });
});

describe('on wasm', () => {
  beforeAll(() => startBackend({ backend: 'wasm', threads: 2 }));
  const own = (): string[] => ownKernels('wasm');

  it('hides the kernels of fused operations for a while', async () => {
    const before = own();
    expect(before).toEqual(expect.arrayContaining(acceleratedOperations().filter((name) => name.startsWith('lab.'))));
    expect(await withoutFusedKernels(async () => own())).toEqual([]);
    expect(own().toSorted()).toEqual(before.toSorted());
    await expect(withoutFusedKernels(() => Promise.reject(new Error('no luck')))).rejects.toThrow('no luck');
    expect(own().toSorted()).toEqual(before.toSorted());
  });

  const pairs = operationPairs(true);
  it.each(pairs.map(({ name }, i) => [name, pairs[i]!] as const))('compares the same with the same: %s', async (_, pair) => {
    const inputs = pair.inputs.map((shape, i) => tf.randomNormal([...shape], 0, 1, 'float32', i + 1));
    const [count, below] = pair.ids ?? [1, 2];
    const ids = tf.randomUniform<tf.Rank.R1>([count], 0, below, 'int32', 5);
    for (const [pass, tolerance] of [['forward', 1e-5], ['forward, backward', 1e-4]] as const) {
      const run = (operation: typeof pair.fused): Tensor[] => passes[pass]!(operation, inputs, ids);
      const [fused, plain] = [run(pair.fused), run(pair.plain)];
      expect(fused.map(({ shape }) => shape)).toEqual(plain.map(({ shape }) => shape));
      for (const [i, tensor] of fused.entries()) {
        expect(relativeError(await tensor.data(), await plain[i]!.data()), `${pass}, ${i}`).toBeLessThan(tolerance);
      }
      tf.dispose([fused, plain]);
    }
    tf.dispose([inputs, ids]);
  });

  it('says of decoding what the design wants of every row, and leaves no tensor behind', async () => {
    const before = tf.memory().numTensors;
    const rows: BenchRow[] = await benchmarks['decode']!('a backend', { alone: true, size: 'tiny' });
    expect(tf.memory().numTensors).toBe(before);
    const about = (batch: number): string => `116480 parameters, batch ${batch}, 32 to 64 tokens`;
    const names = ['decode, plain operations', "decode, the lab's model"];
    expect(rows.map(({ name, shape }) => [name, shape])).toEqual([1, 8].flatMap((batch) => names.map((name) => [name, about(batch)])));
    for (const { medianMs, minMs, maxMs, peakBytes, gflops, gbps, tokensPerSecond } of rows) {
      expect(minMs).toBeLessThanOrEqual(medianMs);
      expect(medianMs).toBeLessThanOrEqual(maxMs);
      expect(peakBytes).toBeGreaterThan(4 * 116_480);
      expect(gbps! * medianMs).toBeCloseTo((4 * 116_480) / 1e6, 9);
      expect(gflops! / tokensPerSecond!).toBeCloseTo((2 * 116_480) / 1e9, 9);
    }
    const ratio = rows[0]!.medianMs / rows[1]!.medianMs;
    expect(rows[1]).toMatchObject({ backend: 'a backend', baseline: 'plain operations', ratio });
    const unknown = benchmarks['decode']!('', { alone: true, size: 'vast' });
    await expect(unknown).rejects.toThrow(/bench decode: --size must be one of tiny, .* got 'vast'/);
  });
});

describe('on webgpu, in software', () => {
  it("puts TensorFlow.js's own kernels in the place of the lab's for a while", async (context) => {
    await startBackend({ backend: 'webgpu', softwareGpu: true }).catch(() => context.skip());
    const expected = [...runningKernels(), 'lab.probe'].toSorted();
    webGpuKernel('lab.probe', () => []);
    await stopBackend();
    await startBackend({ backend: 'webgpu', softwareGpu: true });
    expect(runningKernels()).toEqual(expected);
    const meanwhile = await withStockWebGpu(async () => runningKernels());
    expect(meanwhile).toEqual([]);
    expect(runningKernels()).toEqual(expected);
    await expect(withStockWebGpu(() => Promise.reject(new Error('no luck')))).rejects.toThrow('no luck');
    expect(runningKernels()).toEqual(expected);
    await withStockWebGpu(stopBackend); // what has stopped meanwhile stays away
    expect(tf.getKernel('lab.probe', 'webgpu')).toBeUndefined();
  });
  const runningKernels = (): string[] => ownKernels('webgpu').toSorted();
});
