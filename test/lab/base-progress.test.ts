import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { formatDuration, Progress } from 'lab';
import { kernel } from './fake-kernel.ts';

let lines: string[] = [];
const wasTTY = process.stderr.isTTY;

beforeEach(() => {
  lines = [];
  vi.useFakeTimers({ toFake: ['performance'] });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => lines.push(String(text)) > 0);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  process.stderr.isTTY = wasTTY;
  kernel.stop();
});

/** A hundred steps of a second each. */
function work(progress: Progress, note = ''): void {
  for (let i = 1; i <= 100; i++) {
    vi.advanceTimersByTime(1000);
    progress.update(i, note);
  }
  progress.done('loss 1.5');
}

describe('progress', () => {
  it('writes a line every ten seconds into a file, with rate and remaining time, and one at the end', () => {
    process.stderr.isTTY = false;
    work(new Progress({ total: 100, label: 'training', unit: 'steps' }), 'loss 2');
    expect(lines).toHaveLength(11);
    expect(lines[0]).toMatch(/^training ▕██ +▏ 10\/100 steps · 1\/s · 1 min 30 s left · loss 2\n$/);
    expect(lines[10]).toBe(`training ▕${'█'.repeat(20)}▏ 100/100 steps in 1 min 40 s · loss 1.5\n`);
  });

  it('redraws one line in a terminal, at most ten times a second, no longer than the window', () => {
    process.stderr.isTTY = true;
    const progress = new Progress({ total: 1000, label: 'x'.repeat(300) });
    for (let i = 1; i <= 1000; i++) {
      vi.advanceTimersByTime(1);
      progress.update(i);
    }
    progress.done();
    progress.done();
    expect(lines.length).toBeLessThanOrEqual(12);
    expect(lines.length).toBeGreaterThanOrEqual(10);
    expect(lines.every((line) => line.startsWith('\r\x1b[K') && line.length < (process.stderr.columns || 80) + 6)).toBe(true);
    expect(lines.filter((line) => line.endsWith('\n'))).toHaveLength(1);
  });

  it('overwrites one output in a notebook', () => {
    const messages = kernel.start();
    work(new Progress({ total: 100 }));
    expect(new Set(messages.map(({ id }) => id)).size).toBe(1);
    expect(messages.map(({ update }) => update)).toEqual([false, ...Array<boolean>(messages.length - 1).fill(true)]);
    expect(messages.at(-1)!.data['text/plain']).toContain('100/100 in 1 min 40 s');
    expect(lines).toEqual([]);
  });

  it('takes the rate from this run when one is resumed', () => {
    process.stderr.isTTY = false;
    const progress = new Progress({ total: 2000, from: 1000 });
    vi.advanceTimersByTime(10_000);
    progress.update(1010);
    expect(lines[0]).toContain('1010/2000 · 1/s · 16 min 30 s left');
  });

  it('forgets a slow start', () => {
    process.stderr.isTTY = false;
    const progress = new Progress({ total: 10_000 });
    vi.advanceTimersByTime(60_000);
    progress.update(1);
    for (let i = 1; i <= 60; i++) {
      vi.advanceTimersByTime(1000);
      progress.update(1 + 100 * i);
    }
    const rate = Number(/ ([\d.]+)\/s/.exec(lines.at(-1)!)![1]);
    expect(rate).toBeGreaterThan(90);
    expect(rate).toBeLessThanOrEqual(100);
  });

  it('says nothing when quiet, and survives a total of zero', () => {
    process.stderr.isTTY = true;
    work(new Progress({ total: 100, quiet: true }));
    expect(lines).toEqual([]);
    new Progress({ total: 0 }).done();
    expect(lines[0]).toContain('0/0');
  });

  it.each([
    [0.04, '0.0 s'],
    [9.94, '9.9 s'],
    [9.96, '10 s'],
    [59.6, '1 min 00 s'],
    [245, '4 min 05 s'],
    [4320, '1 h 12 min'],
    [7199, '2 h 00 min'],
    [Infinity, '?'],
  ])('reads %d seconds as %s', (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text);
  });
});
