/**
 * @file What a student's code finds missing in its process: what could reach other processes or the network. Files, new
 * processes and threads are refused by Node's permission model already; this closes what that leaves open.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { tf } from '../../backend/index.ts';
import { LabError, Random } from '../../base/index.ts';
import { projectRoot } from '../../files/index.ts';
import type { Require } from '../transpile.ts';

const PROCESS =
  'exit reallyExit abort kill _kill binding _linkedBinding dlopen getBuiltinModule chdir umask send disconnect execve ' +
  'openStdin setuid setgid seteuid setegid setgroups initgroups loadEnvFile setUncaughtExceptionCaptureCallback _debugProcess ' +
  '_debugEnd _startProfilerIdleNotifier _stopProfilerIdleNotifier _getActiveHandles _getActiveRequests _tickCallback _rawDebug';

/** Takes away what could reach out of the process. */
export function harden(): void {
  for (const name of PROCESS.split(' ')) {
    const refuse = (): never => {
      throw new Error(`process.${name} is not allowed in an exercise.`);
    };
    Object.defineProperty(process, name, { value: refuse, writable: false, configurable: false });
  }
  Object.defineProperty(process, 'mainModule', { value: undefined });
  const offline = (): never => {
    throw new Error('There is no network in an exercise.');
  };
  for (const name of ['fetch', 'WebSocket', 'EventSource', 'XMLHttpRequest'])
    Object.defineProperty(globalThis, name, { value: offline, writable: false, configurable: false });
  Object.assign((tf.env() as unknown as { platform: object }).platform, { fetch: offline });
}

/** The same "random" numbers in every run, so that the same answers have the same grade. */
export function seedRandom(): void {
  const random = new Random(20_240_101);
  Math.random = () => random.uniform();
}

const BUILT_IN = new Set(
  (
    'assert assert/strict buffer constants crypto events fs fs/promises path path/posix perf_hooks punycode querystring ' +
    'stream stream/promises string_decoder timers timers/promises url util util/types zlib'
  ).split(' '),
);
const PACKAGES = new Set(['mathjs', 'plotly.js-dist-min', '@tensorflow/tfjs', '@tensorflow/tfjs-core']);

/** What a student's cells may import. */
export async function studentRequire(): Promise<Require> {
  const lab = (await import('../../index.ts')) as object;
  const load = createRequire(join(projectRoot(), 'notebooks', 'answers.js'));
  const loadPackage = createRequire(fileURLToPath(import.meta.url));
  return (id) => {
    if (id === 'lab') return lab;
    const name = id.replace(/^node:/, '');
    if (name === 'process') return process;
    if (BUILT_IN.has(name)) return load(`node:${name}`);
    if (PACKAGES.has(id)) return loadPackage(id);
    throw new LabError(`an answer cannot import '${id}' where it is graded`);
  };
}
