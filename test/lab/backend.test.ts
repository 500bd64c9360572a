/**
 * @file Choosing, starting and leaving a backend. What concerns the life of a process is tried in processes of its own.
 */
import { spawnSync } from 'node:child_process';
import { afterEach, describe, expect, it } from 'vitest';
import { currentDevice, inspectBackends, startBackend, stopBackend, tf, wasmHeap } from 'lab';
import { hasTensorFlow } from './tensorflow.ts';

interface Ending {
  readonly status: number | null;
  readonly out: string;
  readonly error: string;
}

/** Runs a program that has `lab` and `tf`, with these environment variables. */
function program(code: string, environment: Record<string, string> = {}, first = ''): Ending {
  const source = `${first}; const lab = await import('lab'); const { tf } = lab; ${code}`;
  const env = { ...process.env, LAB_BACKEND: '', LAB_THREADS: '2', LAB_SOFTWARE_GPU: '', ...environment };
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', source], {
    env,
    encoding: 'utf8',
    timeout: 50_000,
    killSignal: 'SIGKILL',
  });
  return { status, out: stdout.trim(), error: stderr.trim() };
}

const product = `console.log((await tf.matMul(tf.ones([300, 300]), tf.ones([300, 300])).data())[7]);`;
const linuxX64 = process.platform === 'linux' && process.arch === 'x64';

afterEach(() => stopBackend());

describe('startBackend', () => {
  it('starts the backend that is asked for, and again the same one costs nothing', async () => {
    const device = await startBackend({ backend: 'wasm', threads: 2 });
    expect([device.name, device.threads, tf.getBackend()]).toEqual(['wasm', 2, 'wasm']);
    expect(await startBackend()).toBe(device);
    expect(await startBackend({ backend: 'wasm', threads: 2 })).toBe(device);
    expect(currentDevice()).toBe(device);
    expect(device.toString()).toMatch(/^wasm · 2 threads, /);
  });

  it('changes to another one and back', async () => {
    await startBackend({ backend: 'wasm', threads: 2 });
    expect((await startBackend({ backend: 'cpu' })).name).toBe('cpu');
    expect((await startBackend({ backend: 'wasm', threads: 1 })).threads).toBe(1);
    expect((await tf.matMul([[1, 2]], [[3], [4]]).data())[0]).toBe(11);
    await stopBackend();
    expect(currentDevice()).toBeUndefined();
  });

  it('serves calls that come at the same time one after the other', async () => {
    const [a, b] = await Promise.all([startBackend({ backend: 'wasm', threads: 2 }), startBackend()]);
    expect(b).toBe(a);
  });

  it('names the backends when one is unknown, and the limits when the number of threads is none', async () => {
    await expect(startBackend({ backend: 'gpu' as 'cpu' })).rejects.toThrow("There is no backend 'gpu'. Backends: tensorflow, webgpu, wasm, cpu.");
    for (const threads of [0, 1.5, NaN, 1000]) {
      await expect(startBackend({ backend: 'wasm', threads })).rejects.toThrow('whole number from 1 to 64');
    }
  });

  it('says why one cannot start and what to do', () => {
    const { status, error } = program('await lab.startBackend();', { LAB_BACKEND: 'tensorflow', LAB_THREADS: '' });
    if (status === 0) return; // a machine that has TensorFlow
    expect(error).toMatch(/LabError: The backend 'tensorflow' cannot start: .+; npm (run native|install @tensorflow\/tfjs-node-gpu)/);
  });

  it('keeps the running backend when the wish is refused', async () => {
    const device = await startBackend({ backend: 'wasm', threads: 2 });
    await expect(startBackend({ backend: 'gpu' as 'cpu' })).rejects.toThrow("no backend 'gpu'");
    expect(currentDevice()).toBe(device);
  });

  it('chooses by itself, without a word on stderr, and says what it passed over', () => {
    const { status, out, error } = program('console.log(`${await lab.startBackend()}`);');
    expect([status, error]).toEqual([0, '']);
    expect(out).toMatch(/^(tensorflow|webgpu|wasm) · /);
    if (out.startsWith('wasm')) expect(out).toMatch(/; tensorflow: .+; webgpu: .+/);
  });

  it('reads LAB_BACKEND and LAB_THREADS', () => {
    expect(program('console.log(`${await lab.startBackend()}`);', { LAB_BACKEND: 'cpu' }).out).toBe('cpu · plain JavaScript');
    expect(program('console.log((await lab.startBackend()).threads);', { LAB_BACKEND: 'wasm', LAB_THREADS: '3' }).out).toBe('3');
    expect(program('await lab.startBackend();', { LAB_BACKEND: 'nvidia' }).error).toContain("There is no backend 'nvidia'");
    expect(program('await lab.startBackend();', { LAB_THREADS: 'many' }).error).toContain("LAB_THREADS must be a whole number from 1 to 64, got 'many'");
  });
});

describe('the process ends by itself', () => {
  const backends: [string, Record<string, string>][] = [
    ['wasm', {}],
    ['cpu', {}],
    ...(hasTensorFlow() ? [['tensorflow', {}] as [string, Record<string, string>]] : []),
    ...(linuxX64 ? [['webgpu', { LAB_SOFTWARE_GPU: '1' }] as [string, Record<string, string>]] : []),
  ];

  it.each(backends)('with 0 after the last line, on %s', (backend, environment) => {
    const { status, out, error } = program(`await lab.startBackend(); ${product}`, { LAB_BACKEND: backend, ...environment });
    expect([status, out, error]).toEqual([0, '300', '']);
  });

  it.each(backends)('with 1 after an error that nobody catches, on %s', (backend, environment) => {
    const code = `await lab.startBackend(); ${product} tf.ones([3]).data(); setTimeout(() => { throw new Error('boom'); });`;
    const { status, error } = program(code, { LAB_BACKEND: backend, ...environment });
    expect(status).toBe(1);
    expect(error).toContain('boom');
  });

  it.each(backends)('with 0 after stopBackend, on %s', (backend, environment) => {
    const { status } = program(`await lab.startBackend(); ${product} await lab.stopBackend();`, { LAB_BACKEND: backend, ...environment });
    expect(status).toBe(0);
  });
});

describe('wasm', () => {
  it('does without shared memory, on one thread', () => {
    const code = `const device = await lab.startBackend(); console.log(device.threads); ${product}`;
    const { status, out } = program(code, { LAB_BACKEND: 'wasm' }, 'delete globalThis.SharedArrayBuffer');
    expect([status, out]).toEqual([0, '1\n300']);
  });

  it('refuses an allocation that does not fit, and works on', async () => {
    await startBackend({ backend: 'wasm', threads: 2 });
    expect(() => tf.zeros([2 ** 30])).toThrow(/The wasm heap is full: \d+ MiB of at most 4096 are taken and 4096 more were asked for/);
    expect((await tf.matMul([[1, 2]], [[3], [4]]).data())[0]).toBe(11);
  });

  it('knows how much of its heap is taken', async () => {
    await startBackend({ backend: 'wasm', threads: 2 });
    const { usage } = wasmHeap();
    const before = usage.live;
    usage.resetPeak();
    const x = tf.zeros([1000]);
    expect(usage.live - before).toBe(4000);
    x.dispose();
    expect([usage.live - before, usage.peak - before]).toEqual([0, 4000]);
  });

  it('says that a thread has died, and starts again', () => {
    const first = [
      `import threads from 'node:worker_threads'; import { syncBuiltinESMExports } from 'node:module'; const started = [];`,
      `threads.Worker = class extends threads.Worker { constructor(...all) { super(...all); started.push(this); } }; syncBuiltinESMExports()`,
    ].join('\n');
    const code = `await lab.startBackend(); await started[0].terminate();
      try { ${product} } catch (error) { console.log(error.name, error.message); }
      await lab.startBackend(); ${product}`;
    const { status, out } = program(code, { LAB_BACKEND: 'wasm' }, first);
    expect(status).toBe(0);
    expect(out).toMatch(/^LabError A thread of the wasm backend is lost \(.+\)\. Start the backend again: .+\n300$/);
  });
});

describe.runIf(linuxX64)('webgpu on a software GPU', () => {
  it('is not taken unless asked for', () => {
    const { status, error } = program('await lab.startBackend();', { LAB_BACKEND: 'webgpu' });
    if (status === 0) return; // a machine with a real GPU
    expect(error).toMatch(/LabError: The backend 'webgpu' cannot start: .*GPU/);
  });

  it('turns an error of the device into an exception where it is made, and the process lives on', () => {
    const code = `await lab.startBackend(); const { device } = tf.backend();
      try { device.createShaderModule({ code: 'this is no shader', label: 'mine' }); } catch (error) { console.log(error.name, error.message); }
      await device.queue.onSubmittedWorkDone(); await new Promise((r) => setTimeout(r, 200)); ${product}`;
    const { status, out } = program(code, { LAB_BACKEND: 'webgpu', LAB_SOFTWARE_GPU: '1' });
    expect(status).toBe(0);
    expect(out).toMatch(/^LabError The GPU refused the shader 'mine', and there is no result: .*unexpected token.*300$/s);
  });
});

describe('inspectBackends', () => {
  it('tries all of them, and gives advice for each that does not work', async () => {
    const reports = await inspectBackends();
    expect(reports.map((report) => report.name)).toEqual(['tensorflow', 'webgpu', 'wasm', 'cpu']);
    for (const { works, device, advice } of reports) {
      expect(works ? device : advice).not.toBe('');
      expect(advice).not.toContain('\n');
    }
    const wasm = reports.find((report) => report.name === 'wasm')!;
    expect([wasm.works, wasm.operations.includes('BatchMatMul')]).toEqual([true, true]);
  });
});
