/** @file A key/value cache in few bits gives back what was put on its grid, and takes the memory that it says. */
import { fakeQuantize, generateTokens, QuantizedKVCache, Random, startBackend, tf, Transformer, type Tensor } from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectNear, onEveryBackend, relativeError } from './core-fixture.ts';
import { hasSoftwareGpu } from './ops/software-gpu.ts';

const normal = (seed: number, ...shape: number[]): Tensor =>
  tf.tensor(new Random(seed).normals(shape.reduce((a, b) => a * b, 1)), shape);

onEveryBackend(() => {
  describe('QuantizedKVCache', () => {
    const step = (
      cache: QuantizedKVCache,
      seed: number,
      tokens = 1,
      shape = [2, 3, 8],
    ): { k: Tensor; v: Tensor; floats: Tensor[] } => {
      const [batch, heads, size] = shape as [number, number, number];
      const [k, v] = [
        normal(seed, batch, heads, tokens, size),
        normal(seed + 100, batch, heads, tokens, size),
      ] as tf.Tensor4D[];
      const out = cache.append(0, k!, v!);
      cache.advance(tokens);
      return { ...out, floats: [k!, v!] };
    };
    /** A token's scale is that of all its heads. */
    const quantized = (x: Tensor, bits: number): Tensor => {
      const [B, K, T, S] = x.shape as [number, number, number, number];
      const rows = x.transpose([0, 2, 1, 3]).reshape([B, T, K * S]);
      return fakeQuantize(rows, { bits }).reshape([B, T, K, S]).transpose([0, 2, 1, 3]);
    };

    it.each([
      [4, [2, 3, 8]],
      [8, [2, 3, 8]],
      [4, [1, 1, 5]],
      [8, [3, 2, 7]],
    ] as const)('%i bits, [B, K, S] = %o: gives back what was put on the grid', async (bits, shape) => {
      const cache = new QuantizedKVCache({ bits });
      const steps = [4, 1, 2].map((tokens, i) => step(cache, i, tokens, [...shape]));
      const { k, v } = steps.at(-1)!;
      await expectNear(
        k,
        tf.concat(
          steps.map(({ floats }) => quantized(floats[0]!, bits)),
          2,
        ),
        1e-6,
      );
      await expectNear(
        v,
        tf.concat(
          steps.map(({ floats }) => quantized(floats[1]!, bits)),
          2,
        ),
        1e-6,
      );
      cache.dispose();
    });

    it('takes the bytes that it says, and a fraction of the floats', () => {
      const before = tf.memory().numBytes;
      const cache = new QuantizedKVCache({ bits: 4 });
      tf.tidy(() => void step(cache, 1, 10, [1, 4, 32]));
      expect(tf.memory().numBytes - before).toBe(cache.bytes);
      expect(cache.bytes).toBe(2 * 10 * (128 / 2 + 4)); // codes and a scale for each token's keys and values
      cache.dispose();
      expect([tf.memory().numBytes, cache.bytes, cache.length]).toEqual([before, 0, 0]);
    });

    it('goes back, and over what an unfinished pass left', async () => {
      const cache = new QuantizedKVCache({ bits: 8 });
      step(cache, 1, 5);
      cache.append(0, normal(9, 2, 3, 2, 8) as tf.Tensor4D, normal(9, 2, 3, 2, 8) as tf.Tensor4D);
      const { k } = step(cache, 2);
      expect([cache.length, k.shape[2]]).toEqual([6, 6]);
      cache.truncate(2);
      const third = step(cache, 3);
      const [first, last] = [normal(1, 2, 3, 5, 8).slice([0, 0, 0, 0], [2, 3, 2, 8]), normal(3, 2, 3, 1, 8)];
      expect(relativeError(await third.k.data(), await tf.concat([first, last], 2).data())).toBeLessThan(0.01);
      cache.truncate(0);
      expect(cache.bytes).toBe(0);
    });

    it('refuses what does not belong to it', () => {
      expect(() => new QuantizedKVCache({ bits: 3 as 4 })).toThrow(/4 or 8/);
      const cache = new QuantizedKVCache({ capacity: 3 });
      step(cache, 1, 2);
      expect(() => step(cache, 1, 2)).toThrow(/room for 3/);
      expect(() => step(cache, 1, 1, [2, 2, 8])).toThrow(/heads 3 is kept/);
      expect(() => cache.append(1, normal(1, 2, 3, 1, 8) as tf.Tensor4D, normal(1, 2, 3, 1, 8) as tf.Tensor4D)).toThrow(
        /layer 1/,
      );
      expect(() => cache.advance(1)).toThrow(/layer 0/);
      expect(() => cache.truncate(3)).toThrow(/truncate 2/);
      cache.dispose();
    });

    it('serves generation, which writes nearly the same with 8 bits', async () => {
      const model = new Transformer({
        vocabSize: 11,
        contextLength: 12,
        layers: 2,
        width: 24,
        heads: 3,
        norm: 'rms',
        position: 'rotary',
        mlp: 'swiglu',
        initializerStd: 0.3,
        seed: 4,
      });
      const write = async (cache: boolean | (() => QuantizedKVCache)): Promise<number[]> => {
        const tokens: number[] = [];
        for await (const token of generateTokens(model, [1, 2, 3], { maxTokens: 8, temperature: 0, cache })) tokens.push(token);
        return tokens;
      };
      const made: QuantizedKVCache[] = [];
      const tokens = await write(() => (made[made.length] = new QuantizedKVCache({ bits: 8, capacity: 12 })));
      expect(tokens).toEqual(await write(true));
      expect(made.length).toBe(1);
      expect(made[0]!.length).toBe(0);
      model.dispose();
    });
  });
});

describe.runIf(hasSoftwareGpu)('on webgpu (a GPU made of software)', () => {
  beforeAll(async () => {
    await startBackend({ backend: 'webgpu', softwareGpu: true });
  });

  it('a cache gives back what was put on the grid, bit for bit in each run', async () => {
    const run = async (bits: 4 | 8): Promise<Buffer> => {
      const cache = new QuantizedKVCache({ bits });
      const [k, v] = [normal(1, 1, 2, 3, 5), normal(2, 1, 2, 3, 5)] as [tf.Tensor4D, tf.Tensor4D];
      const { k: keys } = cache.append(0, k, v);
      const rows = fakeQuantize(k.transpose([0, 2, 1, 3]).reshape([3, 10]), { bits });
      await expectNear(keys.transpose([0, 2, 1, 3]).reshape([3, 10]), rows, 1e-5);
      cache.dispose();
      return Buffer.from((await keys.data<'float32'>()).slice().buffer);
    };
    for (const bits of [4, 8] as const) expect(await run(bits)).toEqual(await run(bits));
  });
});
