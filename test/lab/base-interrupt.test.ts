import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { interruptible, type Interruption } from 'lab';

const interrupt = (): boolean => process.emit('SIGINT', 'SIGINT');
let heardElsewhere = 0;
const other = (): void => void heardElsewhere++;

beforeEach(() => {
  heardElsewhere = 0;
  process.on('SIGINT', other);
  vi.spyOn(process.stderr, 'write').mockReturnValue(true);
});
afterEach(() => {
  process.off('SIGINT', other);
  vi.restoreAllMocks();
});

/** A body that waits until the test lets it go. */
function waiting(): { body: (signal: Interruption) => Promise<boolean>; signal: Promise<Interruption>; finish: () => void } {
  let begin!: (signal: Interruption) => void;
  let finish!: () => void;
  const signal = new Promise<Interruption>((resolve) => (begin = resolve));
  const end = new Promise<void>((resolve) => (finish = resolve));
  const body = async (given: Interruption): Promise<boolean> => {
    begin(given);
    await end;
    return given.stopped;
  };
  return { body, signal, finish: () => finish() };
}

describe('interruption', () => {
  it('asks at the first signal, and nobody else hears it', async () => {
    const { body, signal, finish } = waiting();
    const result = interruptible(body);
    expect((await signal).stopped).toBe(false);
    interrupt();
    expect((await signal).stopped).toBe(true);
    expect(heardElsewhere).toBe(0);
    finish();
    expect(await result).toBe(true);
  });

  it('insists at the second signal: those who listened before hear it', async () => {
    const { body, signal, finish } = waiting();
    const result = interruptible(body);
    await signal;
    interrupt();
    interrupt();
    expect(heardElsewhere).toBe(1);
    finish();
    await result;
  });

  it('does not let a body that hangs for ever stop the next one', async () => {
    const hanging = waiting();
    const hung = interruptible(hanging.body);
    await hanging.signal;
    interrupt();
    interrupt();
    expect(await interruptible((signal) => Promise.resolve(signal.stopped))).toBe(false);
    hanging.finish();
    await hung;
    expect(process.rawListeners('SIGINT')).toContain(other);
  });

  it('leaves the listeners as they were, also after an error, also those added with once', async () => {
    process.once('SIGINT', other);
    const before = process.rawListeners('SIGINT');
    await expect(interruptible(() => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
    expect(process.rawListeners('SIGINT')).toEqual(before);
    interrupt();
    expect(heardElsewhere).toBe(2);
    interrupt();
    expect(heardElsewhere).toBe(3);
  });

  it('stops loops together that run inside one another or side by side', async () => {
    const [one, two] = [waiting(), waiting()];
    const results = [
      interruptible((signal) => interruptible(one.body).then((inner) => inner && signal.stopped)),
      interruptible(two.body),
    ];
    await Promise.all([one.signal, two.signal]);
    interrupt();
    one.finish();
    two.finish();
    expect(await Promise.all(results)).toEqual([true, true]);
    expect(await interruptible((signal) => Promise.resolve(signal.stopped))).toBe(false);
  });

  it('lets the event loop run every 50 ms, and not in every step', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const start = performance.now();
    await interruptible(async (signal) => {
      while (performance.now() - start < 400) await signal.breathe();
    });
    clearInterval(timer);
    expect(turns).toBeGreaterThanOrEqual(2);
    expect(turns).toBeLessThanOrEqual(12);
  });
});

describe('a process in a terminal', () => {
  const program = (stops: boolean): string => `
    import { interruptible } from 'lab';
    const end = performance.now() + 20_000;
    await interruptible(async (signal) => {
      console.log('ready');
      while (performance.now() < end && !(${stops} && signal.stopped)) await signal.breathe();
    });
    console.log('saved');`;

  async function run(stops: boolean, signals: number): Promise<{ output: string; code: number | null; signal: string | null }> {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program(stops)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.on('data', (data: Buffer) => (output += data.toString()));
    const closed = once(child, 'close') as Promise<[code: number | null, signal: string | null]>;
    await once(child.stdout, 'data');
    for (let i = 0; i < signals; i++) {
      if (i > 0) await once(child.stderr, 'data'); // the first one has been heard
      child.kill('SIGINT');
    }
    const [code, signal] = await closed;
    return { output, code, signal };
  }

  // Windows has no signal that a child could catch.
  it.skipIf(process.platform === 'win32')('ends well after one Ctrl-C', async () => {
    expect(await run(true, 1)).toEqual({ output: 'ready\nsaved\n', code: 0, signal: null });
  });

  it.skipIf(process.platform === 'win32')('ends at once after two', async () => {
    expect(await run(false, 2)).toEqual({ output: 'ready\n', code: null, signal: 'SIGINT' });
  });
});
