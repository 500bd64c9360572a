/** @file What `npm run bench -- quantize` measures, at the size that slow devices get. */
import { startBackend } from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { benchmarks } from '../../lab/dist/bench/index.js';

describe('bench quantize', () => {
  beforeAll(() => startBackend({ backend: 'cpu' }));
  const bench = (size?: string) => benchmarks['quantize']!('cpu', { alone: true, ...(size !== undefined && { size }) });

  it('measures GPTQ and decoding; packed weights of 4 bits take at most a sixth', async () => {
    const rows = await bench();
    expect(rows[0]!.name).toBe('GPTQ');
    expect(rows[0]!.shape).toMatch(/^1 blocks of width 64, 2 × 32 tokens/);
    const decoding = rows.filter(({ name }) => name.startsWith('decode'));
    expect(decoding.map(({ name }) => name)).toContain('decode, float32');
    for (const { name, tokensPerSecond, baseline, shape } of decoding) {
      expect(tokensPerSecond).toBeGreaterThan(0);
      expect(baseline).toBe(name.endsWith('float32') ? undefined : 'float32');
      if (name.includes('int4')) expect(Number(/1\/([\d.]+)$/.exec(shape)![1])).toBeGreaterThan(6);
    }
  });

  it('takes a number of blocks', async () => {
    for (const size of ['0', '13', 'small', '1.5']) {
      await expect(bench(size)).rejects.toThrow(`--size is a number of blocks from 1 to 12, got '${size}'`);
    }
  });
});
