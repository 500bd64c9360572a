/** @file What `npm run bench` prints: medians, baselines, and the yardstick's text. */
import { describe, expect, it } from 'vitest';
import {
  benchTrain,
  compare,
  formatTable,
  shareOf,
  SIZES,
  timesOf,
  yardstickTokens,
  type BenchRow,
} from '../../lab/dist/bench/index.js';

const row = (name: string, medianMs: number, more: Partial<BenchRow> = {}): BenchRow => ({
  name,
  backend: 'wasm',
  shape: '2 × 3',
  ...timesOf([medianMs], 2 ** 21),
  ...more,
});

describe('bench', () => {
  it('takes the median, the least and the most', () => {
    expect(timesOf([9, 1, 5, 7, 3], 12)).toEqual({ medianMs: 5, minMs: 1, maxMs: 9, peakBytes: 12 });
  });

  it('compares rows of the same name with the baseline, and leaves alone those that bring their own', () => {
    const rows = [row('a', 10), row('b', 10, { baseline: 'PyTorch', ratio: 2 }), row('c', 10)];
    const compared = compare(rows, 'stock wasm', [row('a', 35), row('b', 70)]);
    expect(compared.map(({ baseline, ratio }) => [baseline, ratio])).toEqual([['stock wasm', 3.5], ['PyTorch', 2], [undefined, undefined]]);
    const [peak] = compare([row('a', 10, { peakShare: 1 })], 'stock wasm', [row('a', 35)]);
    expect(peak).not.toHaveProperty('baseline');
    expect(formatTable(compared)).toMatch(/a .* 2 +3\.50 × stock wasm\nb .* 2\.00 × PyTorch\nc /);
  });

  it('has a column only for what some row has to say', () => {
    const plain = formatTable([row('a', 10)]).split('\n')[0]!.trim().split(/  +/);
    expect(plain).toEqual(['shape', 'median ms', 'min', 'max', 'GFLOP/s', 'peak MiB']);
    const full = [row('a', 10), row('b', 10, { gflops: 2, gbps: 30.4, tokensPerSecond: 5, peakShare: 0.256, roofShare: 0.5 })];
    const [head, first, second] = formatTable(full).split('\n');
    expect(head).toMatch(/max +tokens\/s +GFLOP\/s +GB\/s +of the peak +of the roof +peak MiB$/);
    expect(second).toMatch(/10 +10 +10 +5\.0 +2\.0 +30 +26% +50% +2$/);
    expect(first).toMatch(/10 +10 +10 +2$/);
  });

  it('knows the share of a peak only where there is one', () => {
    expect(shareOf(2, 8e9)).toEqual({ peakShare: 0.25 });
    expect(shareOf(2, undefined)).toEqual({});
  });

  it('makes targets that are the inputs one token later', () => {
    const size = { ...SIZES['small']!, batch: 3, tokens: 7, vocabulary: 11 };
    const { inputs, targets } = yardstickTokens(size, 4);
    expect(inputs).toHaveLength(21);
    for (let b = 0; b < 3; b++) expect(targets.subarray(7 * b, 7 * b + 6)).toEqual(inputs.subarray(7 * b + 1, 7 * b + 7));
    expect([...inputs, ...targets].every((token) => token >= 0 && token < 11)).toBe(true);
    expect(yardstickTokens(size, 5).inputs).not.toEqual(inputs);
  });

  it('names the sizes there are', async () => {
    const unknown = benchTrain('wasm', { size: 'huge' });
    await expect(unknown).rejects.toThrow(/must be one of tiny, small, medium, gpt2-small, got 'huge'/);
  });
});
