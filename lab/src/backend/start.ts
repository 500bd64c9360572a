/**
 * @file Which device runs the tensors: tries the backends from the fastest to the surest and says why it chose as it did.
 */
import { availableParallelism } from 'node:os';
import { LabError, messageOf } from '../base/index.ts';
import { cpu } from './cpu.ts';
import {
  BACKEND_NAMES,
  firstLine,
  Unavailable,
  type Backend,
  type BackendAttempt,
  type BackendName,
  type Device,
  type LaunchOptions,
  type RunningBackend,
} from './device.ts';
import { tensorflow } from './tensorflow.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export interface BackendOptions {
  /** This one or an error; otherwise the environment variable LAB_BACKEND; otherwise the best that works. */
  backend?: BackendName;
  /** Threads for wasm; otherwise LAB_THREADS; otherwise one for each processor, eight at most. */
  threads?: number;
  /** Whether a GPU made of software will do; otherwise LAB_SOFTWARE_GPU=1. */
  softwareGpu?: boolean;
}

const backends: Readonly<Record<BackendName, Backend>> = { tensorflow, webgpu, wasm, cpu };
const MOST_THREADS = 64;
const USUAL_THREADS = 8; // beyond that the short operations of a small model gain nothing

interface Running {
  readonly device: Device;
  readonly wishes: string;
  readonly backend: RunningBackend;
}

let running: Running | undefined;
let pending: Promise<unknown> = Promise.resolve();

function threadCount(options: BackendOptions): number {
  const given = options.threads ?? process.env['LAB_THREADS'];
  if (given === undefined || given === '') return Math.min(availableParallelism(), USUAL_THREADS);
  const threads = Number(given);
  if (!Number.isInteger(threads) || threads < 1 || threads > MOST_THREADS) {
    const name = options.threads === undefined ? 'LAB_THREADS' : 'startBackend: threads';
    throw new LabError(`${name} must be a whole number from 1 to ${MOST_THREADS}, got '${given}'.`);
  }
  return threads;
}

function chosenBackend(options: BackendOptions): BackendName | undefined {
  const given = options.backend ?? process.env['LAB_BACKEND'];
  if (given === undefined || given === '') return undefined;
  const name = BACKEND_NAMES.find((known) => known === given);
  if (!name) throw new LabError(`There is no backend '${given}'. Backends: ${BACKEND_NAMES.join(', ')}.`);
  return name;
}

/** Tries one backend; a failure of any kind becomes a sentence. */
async function attempt(name: BackendName, options: LaunchOptions): Promise<{ attempt: BackendAttempt; backend?: RunningBackend }> {
  try {
    const backend = await backends[name].launch(options);
    return { attempt: { name, works: true, device: backend.device, advice: '' }, backend };
  } catch (error) {
    const advice = error instanceof Unavailable ? messageOf(error) : `it failed to start: ${firstLine(messageOf(error))}`;
    return { attempt: { name, works: false, device: '', advice } };
  }
}

/** The advice without what to do about it, which doctor prints. */
const reason = (advice: string): string => advice.split(/; | \(/)[0]!;

/** The device line names what was tried before it and why it was passed over. */
function describe(name: BackendName, backend: RunningBackend, attempts: readonly BackendAttempt[]): Device {
  const others = attempts.filter((a) => a.name !== name && a.advice !== '');
  return {
    name,
    description: backend.device,
    threads: backend.threads,
    attempts,
    toString: () => [`${name} · ${backend.device}`, ...others.map((a) => `${a.name}: ${reason(a.advice)}`)].join('; '),
  };
}

/**
 * TensorFlow with CUDA, then a hardware GPU through WebGPU, then TensorFlow on the processor, then wasm, then cpu.
 * TensorFlow without CUDA is set aside until WebGPU has had its turn.
 */
async function launchBest(options: LaunchOptions): Promise<{ device: Device; backend: RunningBackend }> {
  const attempts: BackendAttempt[] = [];
  let native: BackendAttempt | undefined;
  for (const name of ['tensorflow', 'webgpu', 'tensorflow', 'wasm', 'cpu'] as const) {
    const again = name === 'tensorflow' && attempts.length > 1;
    if (again && !native) continue;
    const { attempt: result, backend } = await attempt(name, options);
    if (backend && name === 'tensorflow' && !again && !backend.accelerated) {
      native = result;
      await backend.stop();
      attempts.push({ ...result, advice: 'TensorFlow sees no CUDA GPU' });
      continue;
    }
    if (!again) attempts.push(result);
    if (backend) return { device: describe(name, backend, attempts), backend };
  }
  throw new LabError('No backend works here. `npm run lab -- doctor` says why.');
}

async function launchOne(name: BackendName, options: LaunchOptions): Promise<{ device: Device; backend: RunningBackend }> {
  const { attempt: result, backend } = await attempt(name, options);
  if (!backend) throw new LabError(`The backend '${name}' cannot start: ${result.advice}.`);
  return { device: describe(name, backend, [result]), backend };
}

async function stopRunning(): Promise<void> {
  const going = running;
  running = undefined;
  await going?.backend.stop();
}

/** Start and stop run one after the other, in the order in which they were called. */
function enqueue<T>(step: () => Promise<T>): Promise<T> {
  const result = pending.then(step);
  pending = result.catch(() => {});
  return result;
}

/**
 * Starts the backend that runs the tensors from here on, or returns the one that already runs when it is what is asked for;
 * one whose device was lost is started anew.
 * Asking for another one stops the first, and the tensors that live there are lost.
 *
 * @throws LabError when the backend that was asked for is unknown or cannot start, with what to do about it
 */
export function startBackend(options: BackendOptions = {}): Promise<Device> {
  return enqueue(async () => {
    if (running?.backend.lost) await stopRunning();
    const unspecific = Object.values(options).every((value) => value === undefined);
    if (running && unspecific) return running.device;
    const name = chosenBackend(options);
    const launch: LaunchOptions = {
      threads: threadCount(options),
      softwareGpu: options.softwareGpu ?? process.env['LAB_SOFTWARE_GPU'] === '1',
    };
    const wishes = JSON.stringify([name, launch]);
    if (running?.wishes === wishes) return running.device;
    await stopRunning();
    const { device, backend } = await (name ? launchOne(name, launch) : launchBest(launch));
    running = { device, wishes, backend };
    return device;
  });
}

/** The backend that runs, if one was started and its device was not lost. */
export function currentDevice(): Device | undefined {
  return running?.backend.lost ? undefined : running?.device;
}

/** Stops the backend and gives its threads and memory back; tensors that live there are lost. A program may end without it. */
export function stopBackend(): Promise<void> {
  return enqueue(stopRunning);
}
