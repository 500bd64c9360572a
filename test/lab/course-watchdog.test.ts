import { afterAll, describe, expect, it } from 'vitest';
import { Stopped, stopWatchdog, watched } from 'lab';

const wait = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
const forEver = (): never => {
  for (;;);
};
const LIMIT = 150;

afterAll(stopWatchdog);

describe('watched', () => {
  it('returns what the code returns and throws what it throws', async () => {
    expect(await watched(() => 3, LIMIT)).toBe(3);
    expect(await watched(async () => wait(5).then(() => 4), LIMIT)).toBe(4);
    await expect(watched(() => Promise.reject(new Error('mine')), LIMIT)).rejects.toThrow('mine');
  });

  it.each<[string, () => unknown]>([
    ['at once', forEver],
    [
      'that catches everything',
      () => {
        for (;;) {
          try {
            forEver();
          } catch {
            continue;
          } finally {
            forEver();
          }
        }
      },
    ],
    ['after an await', () => Promise.resolve().then(forEver)],
    ['after a timer', () => wait(5).then(forEver)],
    ['inside a timer', () => new Promise(() => setTimeout(forEver, 5))],
    ['inside setImmediate', () => new Promise(() => setImmediate(forEver))],
    ['inside nextTick', () => new Promise(() => process.nextTick(forEver))],
    [
      'of awaits',
      async () => {
        for (;;) await Promise.resolve();
      },
    ],
    [
      'of promises that call each other',
      () => {
        const again = (): unknown => Promise.resolve().then(again);
        again();
        return new Promise(() => undefined);
      },
    ],
    [
      'of turns of the event loop',
      async () => {
        for (;;) await wait(0);
      },
    ],
    ['that just waits', () => new Promise(() => undefined)],
    [
      'that is left behind',
      () => {
        void (async () => {
          for (;;) await Promise.resolve();
        })();
        return 'done';
      },
    ],
  ])('ends a loop %s, and the event loop goes on', async (_, body) => {
    await expect(watched(body, LIMIT)).rejects.toThrow(Stopped);
    await wait(1);
    expect(await watched(async () => wait(1).then(() => 'alive'), LIMIT)).toBe('alive');
  });

  it('says in words what happened', async () => {
    await expect(watched(forEver, LIMIT)).rejects.toThrow('stopped after 0.2 s: is there a loop that never ends?');
  });

  it('ends code that takes more and more memory', async () => {
    const heap = (): never => {
      const rows: number[][] = [];
      for (;;) rows.push(new Array<number>(10_000).fill(Math.random()));
    };
    await expect(watched(heap, 30_000)).rejects.toMatchObject({ reason: 'memory' });
  });

  it('cancels timers that the code leaves behind, and gives the plain ones back', async () => {
    const timers = (): unknown[] => [setTimeout, setInterval, setImmediate, Reflect.get(process, 'nextTick')];
    const plain = timers();
    let late = 0;
    await watched(() => void setTimeout(() => late++, 20), LIMIT);
    await wait(40);
    expect(late).toBe(0);
    expect(timers()).toEqual(plain);
  });

  it('reports what a timer throws', async () => {
    await expect(watched(() => new Promise(() => setTimeout(() => expect.fail('late'), 1)), LIMIT)).rejects.toThrow('late');
  });
});
