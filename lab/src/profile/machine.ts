/**
 * @file Measures the running device: each level of its memory, its arithmetic, its matrix product, its shortest call.
 *
 * The best of several short runs counts: roofs are what the machine can do when nobody else is in the way.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { currentDevice, tf } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import { deviceProbes, type Probe, type Probes } from '../ops/probe/index.ts';
import type { BandwidthPoint, MachineProfile, MeasureMachineOptions } from './machine-profile.ts';

const BUDGET_MS = 50;
const MIB = 2 ** 20;
/** Runs within the budget, of which the best counts. */
const RUNS = 5;
/** A run should take so many times as long as the wait for its end. */
const LONGER_THAN_WAIT = 8;
/** Runs to find out how long that is. */
const WAITS = 8;
const MOST_TURNS = 2 ** 26;
/** Products of matrices from this size on are tried, each twice as large as the one before. */
const SMALLEST_MATRIX = 128;
const LARGEST_MATRIX = 4096;
/** Of the peak, and the pauses in which whoever else is at work may finish. */
const TRIES = 5;
const BETWEEN_TRIES_MS = 20;

/** The highest measured speed of each kind on the running device. Takes one or two seconds. */
export async function measureMachine(options: MeasureMachineOptions = {}): Promise<MachineProfile> {
  const { budgetMs = BUDGET_MS, largestBytes } = options;
  invariant(budgetMs > 0, () => `measureMachine: budgetMs must be positive, got ${budgetMs}`);
  const isPower = largestBytes === undefined || Number.isInteger(Math.log2(largestBytes));
  invariant(
    isPower && (largestBytes === undefined || (largestBytes >= MIB && largestBytes <= 1024 * MIB)),
    () => `measureMachine: largestBytes must be a power of two from 1 MiB to 1 GiB, got ${largestBytes}`,
  );
  const probes = deviceProbes(largestBytes);
  try {
    return await measure(probes, budgetMs);
  } finally {
    probes.dispose();
  }
}

/** How long to measure, and what part of a run is waiting. */
interface Pace {
  readonly budgetMs: number;
  readonly waitMs: number;
}

/**
 * How fast the running device computes when nothing but registers is touched, in operations a second; undefined where it can be
 * reached through operations on tensors only.
 */
export async function measurePeak(options: Pick<MeasureMachineOptions, 'budgetMs'> = {}): Promise<number | undefined> {
  const { budgetMs = BUDGET_MS } = options;
  const probes = deviceProbes(MIB);
  try {
    const pace: Pace = { budgetMs, waitMs: await waitOf(probes) };
    return probes.compute && (await flopsOf(probes.compute, pace));
  } finally {
    probes.dispose();
  }
}

async function measure(probes: Probes, budgetMs: number): Promise<MachineProfile> {
  const { name, description } = currentDevice()!;
  const pace: Pace = { budgetMs, waitMs: await waitOf(probes) };
  const matmulFlopsPerSecond = await bestMatmul(pace);
  const computed = probes.compute ? await flopsOf(probes.compute, pace) : 0;
  const bandwidth: BandwidthPoint[] = [];
  for (let bytes = roundUpToPower(probes.smallestBytes); bytes <= probes.largestBytes; bytes *= 2) {
    bandwidth.push({ bytes, bytesPerSecond: await bandwidthOf(probes.read(bytes), pace) });
  }
  const slowBytesPerSecond = bandwidth.at(-1)!.bytesPerSecond;
  const cached = Math.max(...bandwidth.map(({ bytesPerSecond }) => bytesPerSecond));
  const flopsPerSecond = Math.max(computed, matmulFlopsPerSecond);
  return {
    device: `${name} · ${description}`,
    flopsPerSecond,
    matmulFlopsPerSecond,
    bandwidth,
    slowBytesPerSecond,
    fastBytesPerSecond: probes.readWorkgroup ? await bandwidthOf(probes.readWorkgroup, pace) : cached,
    secondsPerCall: await secondsPerTurn(probes.call, pace),
    ridge: flopsPerSecond / slowBytesPerSecond,
  };
}

/** A peak is what every share is measured by: the best of some tries, so that a busy moment does not make all of them too good. */
async function flopsOf(probe: Probe, pace: Pace): Promise<number> {
  let best = 0;
  for (let i = 0; i < TRIES; i++) {
    if (i > 0) await pause(BETWEEN_TRIES_MS);
    best = Math.max(best, probe.flops! / (await secondsPerTurn(probe, pace)));
  }
  return best;
}

async function bandwidthOf(probe: Probe, pace: Pace): Promise<number> {
  return probe.bytes! / (await secondsPerTurn(probe, pace));
}

async function millisecondsOf(probe: Probe, turns: number): Promise<number> {
  const started = performance.now();
  await probe.run(turns);
  return performance.now() - started;
}

/** Makes the runs long enough for the clock and beside the wait at the end of each, then takes the best of some. */
async function secondsPerTurn(probe: Probe, { budgetMs, waitMs }: Pace): Promise<number> {
  const enough = Math.max(budgetMs / (RUNS + 2), LONGER_THAN_WAIT * waitMs);
  const bestOf = async (runs: number, turns: number, untilMs = Infinity): Promise<number> => {
    let best = await millisecondsOf(probe, turns);
    for (let run = 1; run < runs && performance.now() < untilMs; run++) {
      best = Math.min(best, await millisecondsOf(probe, turns));
    }
    return best;
  };
  await probe.run(1); // compiles
  let turns = 1;
  // The better of two: somebody else's turn on the processor must not look like work.
  for (let best = await bestOf(2, 1); best < enough / 2 && turns < MOST_TURNS; best = await bestOf(2, turns)) {
    const missing = (0.75 * enough) / Math.max(best - waitMs, 1e-3);
    turns = Math.min(MOST_TURNS, turns * Math.min(16, Math.max(2, Math.ceil(missing))));
  }
  const best = await bestOf(RUNS, turns, performance.now() + budgetMs);
  return (best - Math.min(waitMs, best / 2)) / turns / 1000;
}

/** What a run takes in which next to nothing is done: on a GPU the way there and back. */
async function waitOf({ call }: Probes): Promise<number> {
  let least = Infinity;
  for (let run = 0; run < WAITS; run++) least = Math.min(least, await millisecondsOf(call, 1));
  return least;
}

/** Products of ever larger square matrices, until one takes long enough. */
async function bestMatmul(pace: Pace): Promise<number> {
  let best = 0;
  for (let n = SMALLEST_MATRIX; n <= LARGEST_MATRIX; n *= 2) {
    const seconds = await secondsPerProduct(n, pace);
    best = Math.max(best, (2 * n ** 3) / seconds);
    if (seconds * 1000 > pace.budgetMs / RUNS) break;
  }
  return best;
}

async function secondsPerProduct(n: number, pace: Pace): Promise<number> {
  const [a, b] = [tf.randomNormal([n, n]), tf.randomNormal([n, n])];
  const probe: Probe = {
    async run(turns) {
      let last = tf.matMul(a, b);
      for (let turn = 1; turn < turns; turn++) {
        last.dispose();
        last = tf.matMul(a, b);
      }
      const one = tf.tidy(() => last.slice([0, 0], [1, 1]));
      await one.data();
      tf.dispose([one, last]);
    },
  };
  try {
    return await secondsPerTurn(probe, pace);
  } finally {
    tf.dispose([a, b]);
  }
}

const roundUpToPower = (n: number): number => 2 ** Math.ceil(Math.log2(n));
