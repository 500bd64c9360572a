/** @file A cache step by step: nothing lies on anything else, everybody gets all tokens, and what is told adds up. */
import { describe, expect, it } from 'vitest';
import { memoryInBlocks, memoryInPieces, Random, type MemoryStep, type MemoryVisit } from 'lab';

const random = new Random(9);
const visits = Array.from({ length: 70 }, (): MemoryVisit => {
  return { prompt: 1 + random.integer(60), output: 1 + random.integer(40) };
});
const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const written = ({ spans }: MemoryStep): number =>
  sum(spans.map(({ kind, from, to }) => (kind === 'tokens' ? to - from : 0)));

describe.each([
  ['in pieces', (given: readonly MemoryVisit[]) => memoryInPieces(given, 300, 40)],
  ['in blocks', (given: readonly MemoryVisit[]) => memoryInBlocks(given, 304, 8)],
])('%s', (_, serve) => {
  const steps = serve(visits);

  it('no slot is given out twice, and none is outside', () => {
    for (const { spans } of steps) {
      const slots = spans.flatMap(({ from, to }) => Array.from({ length: to - from }, (__, i) => from + i));
      expect(new Set(slots).size).toBe(slots.length);
      expect(Math.max(...slots)).toBeLessThan(304);
      expect(Math.min(...slots)).toBeGreaterThanOrEqual(0);
    }
  });

  it('the tokens are those that the spans show', () => {
    for (const step of steps) expect(written(step)).toBe(step.tokens);
  });

  it('everybody writes all tokens: one a step', () => {
    expect(sum(steps.map(({ running }) => running))).toBeGreaterThanOrEqual(sum(visits.map(({ output }) => output)));
    expect(steps.every(({ running }) => running > 0)).toBe(true);
  });

  it('one request alone: its prompt and a token more each step', () => {
    const alone = serve([{ prompt: 13, output: 4 }]);
    expect(alone.map(({ tokens, running }) => [tokens, running])).toEqual([
      [14, 1],
      [15, 1],
      [16, 1],
      [17, 1],
    ]);
  });

  it('nobody is no step', () => {
    expect(serve([])).toEqual([]);
  });
});

describe('what is kept', () => {
  it('in pieces: the longest answer, of which some is written later and the rest never', () => {
    const [step] = memoryInPieces([{ prompt: 5, output: 3 }], 50, 10);
    expect(step!.spans).toEqual([
      { kind: 'tokens', from: 0, to: 6 },
      { kind: 'kept for tokens to come', from: 6, to: 8 },
      { kind: 'kept for nothing', from: 8, to: 15 },
    ]);
  });

  it('in pieces nobody loses a place, and a gap that is too small stays empty', () => {
    const visitors = [
      { prompt: 2, output: 1 },
      { prompt: 8, output: 9 },
      { prompt: 4, output: 2 },
    ];
    const steps = memoryInPieces(visitors, 40, 10);
    // After a step 22 slots are free, 12 before the second and 10 behind it; the third needs 14.
    expect(steps.map(({ running }) => running)).toEqual([2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    expect(steps[1]!.spans[0]).toEqual({ kind: 'tokens', from: 12, to: 22 });
  });

  it('in blocks: less than a block for each request', () => {
    for (const { running, tokens, spans } of memoryInBlocks(visits, 304, 8)) {
      const kept = sum(spans.map(({ from, to }) => to - from)) - tokens;
      expect(kept).toBeLessThan(8 * running);
    }
  });

  it('in blocks: nobody comes in whose prompt would take the last block of those who write', () => {
    const second = (prompt: number): number => {
      const visitors = [
        { prompt: 7, output: 9 },
        { prompt, output: 2 },
      ];
      return memoryInBlocks(visitors, 32, 8)[0]!.running;
    };
    expect([second(16), second(17)]).toEqual([2, 1]);
  });

  it('in blocks more requests run at once', () => {
    const mean = (steps: readonly MemoryStep[]): number => sum(steps.map(({ running }) => running)) / steps.length;
    expect(mean(memoryInBlocks(visits, 304, 8))).toBeGreaterThan(1.3 * mean(memoryInPieces(visits, 304, 40)));
  });
});

describe('refuses', () => {
  it('what never fits', () => {
    expect(() => memoryInPieces([{ prompt: 30, output: 3 }], 50, 40)).toThrow(/piece of 70 slots never fits into 50/);
    expect(() => memoryInPieces([{ prompt: 1, output: 41 }], 50, 40)).toThrow(/41 tokens, at most 40/);
    expect(() => memoryInBlocks([{ prompt: 30, output: 30 }], 48, 8)).toThrow(/needs 8 blocks, there are 6/);
    expect(() => memoryInBlocks([], 50, 8)).toThrow(RangeError);
  });
});
