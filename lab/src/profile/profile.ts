/**
 * @file Where the time goes: what each operation of a piece of work took, what it had to compute and to move, and how near that
 * comes to the machine's roofs (Williams, Waterman and Patterson 2009).
 */
import { currentDevice, tf, wasmHeap, type Device } from '../backend/index.ts';
import { invariant, LabError } from '../base/index.ts';
import { costOf, type KernelCost } from './cost.ts';
import './costs.ts';
import { bandwidthAt, type MachineProfile } from './machine-profile.ts';
import { measureMachine } from './machine.ts';
import { recordKernels, type RecordedCall } from './recorder.ts';
import { ProfileReport, type ProfileRow } from './report.ts';

export interface ProfileOptions {
  /** One row for each operation and shape, not only for each operation (default false). */
  readonly byShape?: boolean;
  /** Runs that are recorded (default 1); the report is that of one run on average. */
  readonly runs?: number;
  /** Runs before those, off the record (default 0): the first ones compile. */
  readonly warmUp?: number;
  /** What the machine can do; null for no shares of it. Unless told it is measured once for each device, in about a second. */
  readonly machine?: MachineProfile | null;
}

let running = false;

/**
 * Runs `work` and says what its operations took. The results are the same as without; the last run's is in `report.result`.
 *
 * On wasm, cpu and tensorflow the clock on the wall measures from a kernel's call to its return (with CUDA TensorFlow returns
 * before the GPU is done). On webgpu the GPU's own clock does; every dispatch then goes to the device alone, so that the wall
 * shows more than an ordinary run takes. What else the program does while `work` waits is recorded, too.
 *
 * @example console.log(String(await profile(() => model.step())))
 * @throws LabError when no backend runs, or another profile is being taken.
 */
export async function profile<T>(work: () => T | Promise<T>, options: ProfileOptions = {}): Promise<ProfileReport<T>> {
  const { byShape = false, runs = 1, warmUp = 0 } = options;
  invariant(Number.isInteger(runs) && runs > 0, () => `profile: runs must be a positive integer, got ${runs}`);
  invariant(Number.isInteger(warmUp) && warmUp >= 0, () => `profile: warmUp must be 0, 1, …, got ${warmUp}`);
  const device = currentDevice();
  if (!device) throw new LabError('There is no device to profile yet: await startBackend() first.');
  if (running) throw new LabError('profile: another profile is being taken; await it first.');
  running = true;
  try {
    for (let run = 0; run < warmUp; run++) await work();
    const { result, calls, wallMs, peakBytes } = await record(work, runs);
    const machine = options.machine === undefined ? await machineOf(device) : options.machine;
    const rows = rowsOf(calls, runs, byShape, machine);
    const overheadMs = (calls.length * recordingMs()) / runs;
    const runsOnGpu = device.name === 'webgpu';
    const about = { device: `${device.name} · ${device.description}`, runsOnGpu, machine };
    return new ProfileReport({ ...about, rows, wallMs: wallMs / runs, peakBytes, overheadMs, result });
  } finally {
    running = false;
  }
}

interface TimedCall extends Omit<RecordedCall, 'milliseconds'> {
  readonly milliseconds: number;
}

interface Recorded<T> {
  readonly result: T;
  readonly calls: readonly TimedCall[];
  /** Of all runs. */
  readonly wallMs: number;
  readonly peakBytes: number;
}

async function record<T>(work: () => T | Promise<T>, runs: number): Promise<Recorded<T>> {
  const heap = currentDevice()?.name === 'wasm' ? wasmHeap().usage : undefined;
  heap?.resetPeak();
  const recording = recordKernels();
  const started = performance.now();
  let result: T;
  let wallMs: number;
  try {
    result = await work();
    for (let run = 1; run < runs; run++) result = await work();
  } finally {
    wallMs = performance.now() - started;
    recording.stop();
  }
  const peakBytes = heap?.peak ?? recording.peakTensorBytes;
  const calls: TimedCall[] = [];
  for (const call of recording.calls) calls.push({ ...call, milliseconds: await call.milliseconds });
  return { result, calls, wallMs, peakBytes };
}

const machines = new Map<string, MachineProfile>();
const QUICKLY = { budgetMs: 20, largestBytes: 2 ** 26 };

async function machineOf({ name, description }: Device): Promise<MachineProfile> {
  const words = `${name} · ${description}`;
  const known = machines.get(words);
  if (known) return known;
  const measured = await measureMachine(name === 'webgpu' || name === 'cpu' ? { budgetMs: QUICKLY.budgetMs } : QUICKLY);
  machines.set(words, measured);
  return measured;
}

function rowsOf(calls: readonly TimedCall[], runs: number, byShape: boolean, machine: MachineProfile | null): ProfileRow[] {
  const groups = new Map<string, TimedCall[]>();
  for (const call of calls) {
    const key = byShape ? `${call.name} ${shapeText(call)}` : call.name;
    const group = groups.get(key);
    if (group) group.push(call);
    else groups.set(key, [call]);
  }
  return [...groups.values()]
    .map((group) => rowOf(group, runs, byShape, machine))
    .sort((a, b) => (b.milliseconds || 0) - (a.milliseconds || 0));
}

function rowOf(group: readonly TimedCall[], runs: number, byShape: boolean, machine: MachineProfile | null): ProfileRow {
  const costs = group.map(costOf);
  const perRun = (numbers: readonly number[]): number => numbers.reduce((sum, n) => sum + n, 0) / runs;
  const milliseconds = perRun(group.map((call) => call.milliseconds));
  const known = costs.every(({ flops }) => flops !== undefined);
  const flops = known ? perRun(costs.map((cost) => cost.flops!)) : undefined;
  const bytes = perRun(costs.map((cost) => cost.bytes));
  const least = machine && perRun(costs.map((cost) => leastMs(cost, machine)));
  return {
    name: group[0]!.name,
    ...(byShape && { shape: shapeText(group[0]!) }),
    calls: group.length / runs,
    milliseconds,
    ...(flops !== undefined && { flops, ...(bytes > 0 && { intensity: flops / bytes }) }),
    bytes,
    ...(least && milliseconds > 0 && { rooflineShare: least / milliseconds }),
  };
}

/** What the roofs allow: the longer of computing and of moving bytes at the machine's speed for a set of that size. */
function leastMs({ flops = 0, bytes }: KernelCost, machine: MachineProfile): number {
  return 1000 * Math.max(flops / machine.flopsPerSecond, bytes > 0 ? bytes / bandwidthAt(machine, bytes) : 0);
}

/** `2048×128 · 512×128 → 2048×512` */
function shapeText({ inputs, outputs }: RecordedCall | TimedCall): string {
  const text = (shape: readonly number[]): string => (shape.length === 0 ? '1' : shape.join('×'));
  const most = 4;
  const listed = (shapes: readonly (readonly number[])[]): string =>
    [...shapes.slice(0, most).map(text), ...(shapes.length > most ? ['…'] : [])].join(' · ');
  return `${listed(Object.values(inputs).map(({ shape }) => shape))} → ${listed(outputs.map(({ shape }) => shape))}`;
}

/** Calls that do nothing, and how often they are timed, to find out what recording costs. */
const EMPTY_CALLS = 200;
const TRIES = 5;

/** What recording one call costs, in milliseconds: the best of some tries, with recording and without. */
function recordingMs(): number {
  const name = 'lab.nothing';
  const backendName = tf.getBackend();
  tf.registerKernel({ kernelName: name, backendName, kernelFunc: () => [] });
  const kernel = tf.getKernel(name, backendName)!;
  const once = { inputs: {}, backend: tf.backend() };
  const best = (): number => {
    const times = Array.from({ length: TRIES }, () => {
      const started = performance.now();
      for (let i = 0; i < EMPTY_CALLS; i++) kernel.kernelFunc(once);
      return performance.now() - started;
    });
    return Math.min(...times);
  };
  const recording = recordKernels();
  const recorded = best();
  recording.stop();
  const bare = best();
  tf.unregisterKernel(name, backendName);
  return Math.max(0, recorded - bare) / EMPTY_CALLS;
}
